"""Copies of users' files, so that an edit while a sweep runs does not change its later trials.

A file and the local files that it imports stand together in `code/<name>-<digest>/`; beside that,
`code/<name>-<digest>.json` has all of them, from which another machine makes its copy.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from runners.errors import SweepError
from runners.plan import Config, Own
from runners.plan.imports import digest_of, files_of
from runners.store.disk import Disk
from runners.store.place import Place


def keep_own(files: Place, own: Own, config: Config) -> Own:
    """Copy a trial's user files into the store; returns their copies here.

    Raises:
        SweepError: a file was edited after the sweep was planned.
    """
    return replace(
        own,
        conv=keep(files, own.conv, config.conv_digest),
        backbone=keep(files, own.backbone, config.backbone_digest),
        dataset=keep(files, own.dataset, config.dataset_digest),
    )


def fetch_own(files: Place, own: Own) -> Own:
    """The copies that `keep_own` made, here or on another machine, on this machine."""
    return replace(
        own,
        conv=fetch(files, own.conv),
        backbone=fetch(files, own.backbone),
        dataset=fetch(files, own.dataset),
    )


def keep(files: Place, path: str, digest: str) -> str:
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
    return fetch(files, f"{name}/{main.name}")


def fetch(files: Place, path: str) -> str:
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
