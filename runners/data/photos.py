"""Tiles of ten photographs that ship inside scikit-learn and scikit-image: which one is a tile of?

A question about texture and colour that needs no download. Seven of the photographs are CC0 or in
the public domain by scikit-image's notes, `china` and `flower` are CC BY 2.0, and `motorcycle_left`
is of the Middlebury 2014 stereo benchmark. Each is reduced to a short side of 256 pixels by means
of blocks of whole pixels, in whole numbers, and cut into tiles of 16x16 that do not overlap, of
which every fifth is for testing: 2,642 tiles to train on, 205 to 308 of a photograph, and 654 to
test on.
"""

from pathlib import Path

import numpy as np

from runners.data import packaged
from runners.data.arrays import Arrays

# class by class: the package, and where the file is in it
PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/retina.jpg"),
)
SHORT, TILE = 256, 16
CLASSES, IMAGE, PAD, FLIP = len(PHOTOGRAPHS), (3, TILE, TILE), 2, True
# of the tiles in any order; another decoder of JPEG may make others, which are then other data
CONTENT = "f31e97b3fdd35a37"


def files(root: Path) -> list[Path]:
    """The pictures, where both packages are installed."""
    found = [packaged.find(*photograph) for photograph in PHOTOGRAPHS]
    return [file for file in found if file] if all(found) else []


def load(root: Path) -> Arrays:
    """
    Raises:
        ValueError: scikit-image is not installed, or has not the photographs.
    """
    halves: dict[bool, list[np.ndarray]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for label, (package, place) in enumerate(PHOTOGRAPHS):
        tiles = cut(reduced(_pixels(package, place)))
        fifth = np.arange(len(tiles)) % 5 == 4
        for test in (False, True):
            halves[test].append(tiles[fifth == test])
            labels[test] += [label] * int((fifth == test).sum())
    train, test_tiles = np.concatenate(halves[False]), np.concatenate(halves[True])
    return train, np.array(labels[False]), test_tiles, np.array(labels[True])


def reduced(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) bytes to a short side of 256, the shape kept: means of blocks of whole pixels."""
    h, w, _ = pixels.shape
    scale = min(h, w)
    sums: np.ndarray = pixels.astype(np.int64)
    areas: np.ndarray = np.ones((1, 1, 1), np.int64)
    for axis, side in enumerate((h, w)):
        starts = np.arange(side * SHORT // scale) * scale // SHORT
        lengths: np.ndarray = np.diff(np.append(starts, side))
        sums = np.add.reduceat(sums, starts, axis)
        areas = areas * lengths.reshape([-1 if i == axis else 1 for i in range(3)])
    # rounded half up, in whole numbers
    return ((2 * sums + areas) // (2 * areas)).astype(np.uint8)


def cut(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) -> (n, 16, 16, 3), row by row; what is left at the right and below is left out."""
    rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
    grid = pixels[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3)
    return grid.swapaxes(1, 2).reshape(-1, TILE, TILE, 3)


def _pixels(package: str, place: str) -> np.ndarray:
    from PIL import Image

    file = packaged.find(package, place)
    if file is None:
        pip = {"sklearn": "scikit-learn", "skimage": "scikit-image"}[package]
        raise ValueError(
            f"dataset 'photos' is made of pictures inside {pip}, and {place} is not there: "
            f"pip install {pip}"
        )
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))
