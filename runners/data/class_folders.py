"""A folder with train/CLASS/ and val/CLASS/: which files are its images, and which are nobody's
data.

The order is that of torchvision's ImageFolder: classes by name, a class's files by folder and name.
"""

from __future__ import annotations

import os
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
    raise ValueError(
        f"dataset '{name}' is not in {root}: train/CLASS/*.JPEG and val/CLASS/*.JPEG are expected "
        f"there or in {root / name}; it cannot be downloaded without an account; "
        "name another folder by --data or DATA_ROOT"
    )


def read(tree: Path, name: str, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paths and class numbers of the training images, then of the test images in val/.

    Raises:
        ValueError: the two halves have different classes, more than `most`, or one without images.
    """
    found = {half: _half(tree / half, name) for half in ("train", "val")}
    classes = {half: list(images) for half, images in found.items()}
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
    for place, _, files in sorted(os.walk(folder, followlinks=True)):
        if any(is_litter(part) for part in Path(place).relative_to(folder).parts):
            continue
        for file in sorted(files):
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
            f"dataset '{name}': {len(others)} images of {folder} have a format that is not read "
            f"here, such as {others[0]}; convert them to JPEG or PNG, or remove them"
        )
