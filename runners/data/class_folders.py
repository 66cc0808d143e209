"""A folder with train/CLASS/ and val/CLASS/: which files are its images, and which are nobody's
data.

The order is that of torchvision's ImageFolder: classes by name, a class's files by folder and name.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# photographs in formats that are not read here; to leave them out would be to lose someone's data
OTHER_IMAGES = (".heic", ".heif", ".avif", ".jfif", ".jp2", ".gif", ".dng", ".cr2", ".nef", ".arw")
# what systems and tools put beside the data; so do all names that begin with a dot
LITTER = {"@eadir", "__macosx", "thumbs.db", "desktop.ini", "lost+found", "__pycache__"}
LITTER |= {"$recycle.bin", "system volume information", "#recycle"}


def find(root: Path, name: str) -> Path:
    """The folder that has train/ and val/: `root`, or the folder `name` in it.

    Raises:
        ValueError: neither has them.
    """
    for tree in (root, root / name):
        if (tree / "train").is_dir() and (tree / "val").is_dir():
            return tree
    _check_names(root, name)
    raise ValueError(
        f"dataset '{name}' is not in {root}: train/CLASS/*.JPEG and val/CLASS/*.JPEG are expected "
        f"there or in {root / name}; it cannot be downloaded without an account; "
        "name another folder by --data or DATA_ROOT"
    )


def _check_names(root: Path, name: str) -> None:
    """Refuse a tree whose half for testing has one of the other names that it has elsewhere."""
    for tree in (root, root / name):
        for half in ("valid", "validation", "test", "testing", "eval"):
            if (tree / "train").is_dir() and (tree / half).is_dir():
                raise ValueError(
                    f"dataset '{name}': {tree} has train and {half}; the images to test on are "
                    f"expected in val: rename {half}, or make a link to it"
                )


def read(tree: Path, name: str, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paths and class numbers of the training images, then of the test images in val/.

    Raises:
        ValueError: the two halves have different classes, more than `most`, or one without images.
    """
    found = {half: _half(tree / half, name) for half in ("train", "val")}
    classes = {half: list(images) for half, images in found.items()}
    _check_spelling(tree, name, classes)
    if classes["train"] != classes["val"] or len(classes["train"]) > most:
        odd = ", ".join(sorted({*classes["train"]} ^ {*classes["val"]})[:3])
        seen = f"they differ in {odd}" if odd else f"there are {len(classes['train'])}"
        raise ValueError(
            f"dataset '{name}': {tree}/train and {tree}/val must have the same classes, "
            f"at most {most}; {seen}"
        )
    arrays: list[np.ndarray] = []
    for images in found.values():
        counts = [len(paths) for paths in images.values()]
        arrays.append(np.array([path for paths in images.values() for path in paths]))
        arrays.append(np.repeat(np.arange(len(counts)), counts))
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _check_spelling(tree: Path, name: str, classes: dict[str, list[str]]) -> None:
    """Refuse names that look alike and differ: macOS and some archives decompose an accent."""
    seen: dict[str, str] = {}
    for half, names in classes.items():
        for found in names:
            one = seen.setdefault(unicodedata.normalize("NFC", found), found)
            if one != found:
                raise ValueError(
                    f"dataset '{name}': {tree / half / found} is the name of another class folder "
                    f"in other Unicode characters ({found!a}, elsewhere {one!a}); give "
                    "it one spelling in both train and val"
                )


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is nobody's data."""
    return name.startswith(".") or name.lower() in LITTER


def _half(folder: Path, name: str) -> dict[str, list[str]]:
    """class -> the paths of its images, both in order."""
    classes = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not is_litter(e.name))
    found = {c: [*_images(folder / c, name)] for c in classes}
    empty = [c for c, paths in found.items() if not paths]
    if empty or not classes:
        what = f"no image for {', '.join(empty[:3])}" if empty else "no class"
        raise ValueError(
            f"dataset '{name}': {folder} has {what}; each class is a folder of images "
            f"({', '.join(IMAGES)})"
        )
    return found


def _images(folder: Path, name: str) -> Iterator[str]:
    others = []
    for place, files in sorted(_walk(str(folder), name, frozenset())):
        for file in files:
            path = os.path.join(place, file)
            if file.startswith(".") and file.endswith(".icloud"):
                raise ValueError(
                    f"dataset '{name}': {path} stands for an image that iCloud has not downloaded "
                    "to this machine; download it, or remove the placeholder"
                )
            if is_litter(file):
                continue
            if file.lower().endswith(IMAGES):
                yield path
            elif file.lower().endswith(OTHER_IMAGES):
                others.append(path)
    if others:
        raise ValueError(
            f"dataset '{name}': {folder} has images of a format that is not read here "
            f"({len(others)}, such as {others[0]}); convert them to JPEG or PNG, or remove them"
        )


def _walk(folder: str, name: str, above: frozenset[str]) -> Iterator[tuple[str, list[str]]]:
    """Every folder in `folder`, links among them, and its files in order.

    Args:
        above: the real paths of the folders that it is in.

    Raises:
        ValueError: a link leads back to a folder that it is in.
        OSError: a folder cannot be read.
    """
    real = os.path.realpath(folder)
    # os.walk would go round until the system's limit of 40 links, and count each image 40 times
    if real in above:
        raise ValueError(
            f"dataset '{name}': {folder} leads back by a link to {real}, which it is in; remove "
            "the link"
        )
    files = []
    for entry in os.scandir(folder):
        if not entry.is_dir():
            files.append(entry.name)
        elif not is_litter(entry.name):
            yield from _walk(entry.path, name, above | {real})
    yield folder, sorted(files)
