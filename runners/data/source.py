"""The file behind a data set's name: a module with `load`, and what it says of its images."""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from runners.data import arrays, image_check
from runners.data.arrays import Arrays
from runners.errors import nearest, suggest
from runners.output import watched
from runners.plan.catalogue import FOLDER, LISTS, names
from runners.plan.kinds import DATASET

SLOW_S = 2.0  # from here on, decoded pixels are kept
# the settings that a file may have at its top level, beside `load`, and their defaults
SETTINGS: dict[str, Any] = {
    "CLASSES": 0,  # 0: as many as the labels have
    "IMAGE": (),  # (c, h, w), where it is known without the data
    "PAD": 0,  # pixels of padding for the random crop
    "FLIP": False,  # mirror every second image while training
    "MEAN": (),  # per channel, of pixels scaled to 0..1; (): measured
    "STD": (),
    "SIZE": 224,  # the side to which image files are cropped
}


@dataclass(frozen=True)
class Source:
    """A data set's file, with the options that a sweep gives it.

    Attributes:
        own: it is not the package's.
        folder: of the data's root, which its files are in.
    """

    name: str
    module: ModuleType
    options: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False
    folder: str = ""

    def setting(self, key: str) -> Any:
        """What the file says of itself, or the default.

        Raises:
            ValueError: not of the default's type.
        """
        default = SETTINGS[key]
        value = getattr(self.module, key, default)
        if key == "SIZE" and not self.own:
            value = self.options.get("size") or value
        if type(value) is list:
            value = tuple(value)
        if type(value) is not type(default) or (type(value) is int and value < 0):
            kind = {int: "a whole number from 0 on", bool: "True or False", tuple: "three numbers"}
            raise ValueError(
                f"dataset '{self.name}': {key} must be {kind[type(default)]}, got {value!r}"
            )
        return value

    def files(self, root: Path) -> list[Path] | None:
        """The files that `load` reads, where the module can say; None where it cannot."""
        if not hasattr(self.module, "files"):
            return None
        options = {} if self.folder else self.options
        return [Path(file) for file in self.module.files(root / self.folder, **options)]

    def held(self, root: Path) -> int:
        """How many of the training images, the last ones, are a validation split of the data's."""
        if self.own or not hasattr(self.module, "held"):
            return 0
        return self.module.held(root / self.folder)

    def checked(self, root: Path) -> bool:
        """Whether what is read there has published checksums, which are compared."""
        return not self.own and hasattr(self.module, "checked") and self.module.checked(root)

    def read(self, root: Path, cache: Path | None) -> Arrays:
        """The four arrays; decoded once, where the files are known and decoding takes long.

        Raises:
            ValueError: they are not there, cannot be read, or are not of the form they must have.
        """
        kept = self._kept(root, cache)
        if kept and (found := arrays.kept(kept)):
            return found
        given, seconds = self._load(root)
        found = arrays.checked(given, self.name, self.setting("CLASSES"))
        if kept and seconds > SLOW_S:
            arrays.keep(kept, found)
        return found

    def digests(self, found: Arrays) -> tuple[str, str]:
        """(digest of everything, digest of the training images and their labels alone).

        Of every pixel and label; of image files, of every name and size.
        """
        if found[0].ndim == 1:
            return image_check.names_and_sizes(found[0].tolist(), found[2].tolist())
        return arrays.digests(found, shapes=self.own)

    def _load(self, root: Path) -> tuple[Any, float]:
        """What `load` returns, and the seconds that it took."""
        start = time.monotonic()
        try:
            with watched(f"reading dataset '{self.name}' in {root}"):
                given = self.module.load(root / self.folder, **self.options)
        except Exception as error:  # a user's file may raise anything
            if not self.own:
                raise
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ValueError(
                f"dataset '{self.name}': load({str(root)!r}) of {self.module.__file__} failed "
                f"({what}); --data names the folder that it is given"
            ) from error
        return given, time.monotonic() - start

    def _kept(self, root: Path, cache: Path | None) -> Path | None:
        files = self.files(root)
        return cache / f"{self.name}-{self.stamp(files)}.npz" if cache and files else None

    def stamp(self, files: list[Path]) -> str:
        """A name that changes with the files, the data set's own file and its options."""
        code = Path(str(self.module.__file__)).read_bytes()
        return arrays.stamp(files, hashlib.sha256(code).hexdigest(), dict(self.options))


def find(name: str, path: str = "", options: Mapping[str, Any] | None = None) -> Source:
    """The file behind a name: the user's at `path`, else the package's own.

    Raises:
        ValueError: no data set of that name, or the file cannot be imported.
    """
    if path:
        from scconv import loading  # and torch with it, which the package's own files do not need

        functions = dict(DATASET.functions)
        module = loading.named(DATASET.key, name, path, DATASET.room, functions)
        return Source(name, module, options or {}, own=True)
    if name not in names(DATASET):
        if nearest(name, names(DATASET)) or not FOLDER.fullmatch(name):
            raise ValueError(f"unknown dataset '{name}'{suggest(name, names(DATASET))}")
        module = importlib.import_module(f"{DATASET.room}.{LISTS}")
        return Source(name, module, options or {}, folder=name)
    return Source(name, importlib.import_module(f"{DATASET.room}.{name}"), options or {})


def root_of(root: str | Path | None) -> Path:
    """The folder that data sets are looked for in: as given, else DATA_ROOT, else `data`."""
    return Path(root or os.environ.get("DATA_ROOT") or "data")
