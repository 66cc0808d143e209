"""Whose something is that a sweep has made: a report, an experiment, a run.

Two people may have a sweep of one name, and so may two folders of one person. Only what the same
store and the same sweep file made is overwritten or deleted.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from runners.store.trials import Store


@dataclass(frozen=True)
class Origin:
    """A sweep file and a store.

    `file` is relative to `root`, the store's folder, so that both may move together; it is
    absolute where the store is a bucket (then `root` is None).
    """

    sweep: str
    store: str
    file: str
    root: Path | None = None

    @classmethod
    def of(cls, path: str | Path, store: Store, identity: str | None = None) -> Origin:
        """The origin of what a sweep file's trials in this store make.

        Args:
            identity: the store's, where it is not to be made if there is none.
        """
        full, root = Path(path).resolve(), None
        file = str(full)
        if isinstance(store.root, Path):
            root = store.root
            file = os.path.relpath(full, root)
        return cls(Path(path).stem, store.identity if identity is None else identity, file, root)

    def is_mine(self, store: str, file: str) -> bool:
        """Whether something that names this store and file was made by this sweep.

        Another path is the same sweep's where nothing else is there any more (the file was moved,
        or is on another machine), or the same text (a second checkout).
        """
        if store != self.store:
            return False
        if file == self.file:
            return True
        ours, theirs = self._path(self.file), self._path(file)
        with contextlib.suppress(OSError):
            return theirs.samefile(ours) or theirs.read_bytes() == ours.read_bytes()
        return True

    def exists(self, file: str) -> bool:
        """Whether a sweep file that something names is still there."""
        return self._path(file).is_file()

    def _path(self, file: str) -> Path:
        return Path(os.path.normpath((self.root or Path("/")) / file))
