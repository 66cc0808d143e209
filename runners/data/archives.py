"""CIFAR through torchvision, which checks each file's checksum before it reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runners.data import faults
from runners.data.arrays import Arrays


def read(kind: type, name: str, root: Path, also: str = "") -> Arrays:
    """Read, or download, the data set.

    Args:
        also: another form that it may have, for the message.

    Raises:
        ValueError: it is neither there nor can it be downloaded.
    """
    try:
        train, test = (kind(root=str(root), train=t, download=True) for t in (True, False))
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"dataset '{name}' is neither in {root} nor could it be downloaded ({reason}); "
            f"put torchvision's archive{also} there, or name another folder by --data or DATA_ROOT"
            + _damaged(kind, root)
        ) from None
    labels = [np.asarray(half.targets, np.int64) for half in (train, test)]
    return train.data, labels[0], test.data, labels[1]


def _lists(kind: type) -> list[list[str]]:
    return [*kind.train_list, *kind.test_list]


def _damaged(kind: type, root: Path) -> str:
    """What is wrong with the files that are there: they were not taken."""
    folder = root / str(kind.base_folder)
    there = [root / str(kind.filename), *(folder / name for name, _ in _lists(kind))]
    found = [file for file in there if file.is_file() or file.is_symlink()]
    wrong = "it is not as it was published: its checksum is wrong"
    phrases = [
        faults.reason(file, wrong, "data")
        for file, md5 in zip(there, [kind.tgz_md5, *(m for _, m in _lists(kind))], strict=True)
        if file in found and not _right(file, md5)
    ]
    return f". {faults.several(phrases, len(found))}" if phrases else ""


def _right(file: Path, md5: str) -> bool:
    from torchvision.datasets.utils import check_integrity

    return check_integrity(str(file), md5)
