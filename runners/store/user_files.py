"""Copies of users' files, so that an edit while a sweep runs does not change its later trials.

A sweep file is kept as `sweeps/<name>-<digest>.yaml`. A file of code and the local files that it
imports stand together in `code/<name>-<digest>/`; beside that, `code/<name>-<digest>.json` has all
of them, from which another machine makes its copy.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from runners.errors import SweepError
from runners.plan import Config, Own, Sweep
from runners.plan.imports import digest_of, files_of
from runners.store.disk import Disk
from runners.store.place import Place


class UserFiles:
    """The part of a store that keeps what users wrote: sweep files, and code beside them."""

    files: Place

    def keep(self, key: str, content: bytes) -> None:
        """Write a file whose name has its content's digest, unless it is there."""
        if not self.files.exists(key):
            self.files.create(key, content)

    def keep_sweep(self, sweep: Sweep) -> None:
        """Keep the sweep file as it was planned: the file itself may be edited while trials run."""
        self.keep(_sweep_key(sweep.name, sweep.digest), sweep.text.encode())

    def sweep_file(self, name: str, digest: str) -> str | None:
        """The text of the sweep file that `keep_sweep` kept; None where there is none."""
        try:
            return self.files.read(_sweep_key(name, digest)).decode()
        except FileNotFoundError:
            return None

    def keep_own(self, own: Own, config: Config) -> Own:
        """The same trial's user files as copies in the store, which no edit changes.

        Raises:
            SweepError: a file was edited after the sweep was planned.
        """
        return replace(
            own,
            conv=self.keep_file(own.conv, config.conv_digest),
            backbone=self.keep_file(own.backbone, config.backbone_digest),
            dataset=self.keep_file(own.dataset, config.dataset_digest),
            stem=self.keep_file(own.stem, config.stem_digest),
        )

    def keep_file(self, path: str, digest: str) -> str:
        """The path of a copy of a user's file, and of what it imports; "" is "".

        Raises:
            SweepError: it was edited after the sweep was planned.
        """
        return _keep(self.files, path, digest)

    def fetch_own(self, own: Own) -> Own:
        """The copies that `keep_own` made, here or on another machine, on this machine."""
        return replace(
            own,
            conv=_fetch(self.files, own.conv),
            backbone=_fetch(self.files, own.backbone),
            dataset=_fetch(self.files, own.dataset),
            stem=_fetch(self.files, own.stem),
        )


def _sweep_key(name: str, digest: str) -> str:
    return f"sweeps/{name}-{digest}.yaml"


def _keep(files: Place, path: str, digest: str) -> str:
    """Copy a user's file with what it imports into the store; returns the copy's path here.

    Raises:
        SweepError: it is not the one with this digest any more.
    """
    if not path:
        return ""
    main = Path(path)
    if digest_of(main) != digest:
        raise SweepError(f"{path}: was edited after the sweep was planned; start the sweep again")
    name = f"{main.stem}-{digest}"
    if not files.exists(f"code/{name}.json"):
        sources = {
            # whatever its encoding is, the copy has the same bytes
            file.relative_to(main.parent).as_posix(): file.read_bytes().decode(
                "utf-8", "surrogateescape"
            )
            for file in files_of(main)
        }
        files.create(f"code/{name}.json", json.dumps(sources, indent=1).encode())
    return _fetch(files, f"{name}/{main.name}")


def _fetch(files: Place, path: str) -> str:
    """Where the copy is on this machine, made here or on another; "" is ""."""
    if not path:
        return ""
    name, file = Path(path).parent.name, Path(path).name
    main = files.local / "code" / name / file
    if not main.exists():
        sources = json.loads(files.read(f"code/{name}.json"))
        # the main file last, so that it is never there without those it imports
        for part in sorted(sources, key=lambda part: part == file):
            content = sources[part].encode("utf-8", "surrogateescape")
            Disk(files.local).write(f"code/{name}/{part}", content)
    return str(main)
