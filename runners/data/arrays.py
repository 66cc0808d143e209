"""The four arrays of a data set: checked, hashed, and kept where decoding them takes long."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# training images, their class numbers, test images, theirs. Images are bytes (n, h, w, 3) in
# memory, or the paths (n,) of image files
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def checked(given: Any, name: str, classes: int = 0) -> Arrays:
    """What a data set's `load` returned, as four arrays of the one form that training reads.

    Args:
        classes: how many there are; 0: as many as the labels have, and each has a training image.

    Raises:
        ValueError: another form; says which, and the way out.
    """
    if not isinstance(given, tuple | list) or len(given) != 4:
        got = f"{len(given)} things" if isinstance(given, tuple | list) else type(given).__name__
        raise ValueError(
            f"dataset '{name}': load must return four arrays (training images, their labels, "
            f"test images, their labels), got {got}"
        )
    halves = []
    for images, labels, half in ((*given[:2], "training"), (*given[2:], "test")):
        x, y = _images(images, f"dataset '{name}': the {half} images"), np.asarray(labels)
        if y.ndim != 1 or y.dtype.kind not in "iu":
            way = "; use argmax(1) of them" if y.ndim == 2 else ""
            raise ValueError(
                f"dataset '{name}': the {half} labels must be whole numbers (n,), "
                f"got {y.dtype} {y.shape}{way}"
            )
        if len(x) != len(y) or not len(y):
            raise ValueError(
                f"dataset '{name}': there must be a label for each {half} image, and one at least; "
                f"got {len(x)} images and {len(y)} labels"
            )
        halves.append((x, y.astype(np.int64)))
    (train, y), (test, z) = halves
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"dataset '{name}': training and test images must have one form, "
            f"got {train.shape[1:]} and {test.shape[1:]}"
        )
    _check_classes(y, z, name, classes)
    return train, y, test, z


def _images(given: Any, what: str) -> np.ndarray:
    array = np.asarray(given)
    if array.ndim == 1 and array.dtype.kind in "UO":
        return np.array([os.path.abspath(path) for path in array])
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] == 3:
        return np.ascontiguousarray(array)
    way = ""
    if array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == 1):
        way = "; repeat grey images: np.repeat(images.reshape(n, h, w, 1), 3, axis=-1)"
    elif array.ndim == 4 and array.shape[1] == 3:
        way = "; put the channels last: images.transpose(0, 2, 3, 1)"
    elif array.ndim == 4 and array.dtype.kind == "f":
        way = "; scale them to bytes: (255 * images).round().astype(np.uint8)"
    raise ValueError(
        f"{what} must be bytes (n, h, w, 3) or the paths of image files, "
        f"got {array.dtype} {array.shape}{way}"
    )


def _check_classes(train: np.ndarray, test: np.ndarray, name: str, classes: int) -> None:
    present = np.unique(train)
    if classes:
        if present[0] < 0 or max(present[-1], test.max()) >= classes or test.min() < 0:
            low, high = min(present[0], test.min()), max(present[-1], test.max())
            raise ValueError(
                f"dataset '{name}': labels must be 0 to {classes - 1}, they go from {low} to {high}"
            )
        return
    if not np.array_equal(present, np.arange(len(present))):
        missing = sorted({*range(int(present[-1]) + 1)} - {*present.tolist()})
        seen = f"class {missing[0]} has none" if missing else f"there is class {present[0]}"
        raise ValueError(
            f"dataset '{name}': classes are numbered from 0, and each has a training image; {seen}"
        )
    if strange := sorted({*np.unique(test).tolist()} - {*present.tolist()}):
        raise ValueError(
            f"dataset '{name}': every test image's class has training images; "
            f"class {strange[0]} has none"
        )


def digests(arrays: Arrays, *, shapes: bool) -> tuple[str, str]:
    """(of all four arrays, of the training arrays alone): every pixel and label.

    Args:
        shapes: hash the shapes, too: without them images of 8x4 pixels are those of 4x8.
    """
    whole = hashlib.sha256()
    train = ""
    for i, array in enumerate(arrays):
        if shapes:
            whole.update(repr(array.shape).encode())
        whole.update(np.ascontiguousarray(array).data)
        if i == 1:
            train = whole.hexdigest()[:16]
    return whole.hexdigest()[:16], train


def in_any_order(arrays: Arrays) -> str:
    """A digest that stays the same when the rows of a split are put in another order."""
    whole = hashlib.sha256()
    for images, labels in (arrays[:2], arrays[2:]):
        rows = (
            hashlib.sha256(bytes(image) + int(label).to_bytes(8, "little")).digest()
            for image, label in zip(images, labels, strict=True)
        )
        whole.update(b"".join(sorted(rows)))
    return whole.hexdigest()[:16]


def stamp(files: Sequence[Path], *others: Any) -> str:
    """A name that changes when one of these files does."""
    stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(repr([stats, *others]).encode()).hexdigest()[:12]


def keep(path: Path, arrays: Arrays) -> None:
    """Write arrays to a file of the cache, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **{f"a{i}": a for i, a in enumerate(arrays)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def kept(path: Path) -> Arrays | None:
    """What `keep` wrote; None where it is not there, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["a0"], stored["a1"], stored["a2"], stored["a3"]
    except FileNotFoundError:
        return None
    except Exception:  # whatever a damaged archive raises: the files are decoded again
        path.unlink(missing_ok=True)
        return None
