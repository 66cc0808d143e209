"""A folder of image files with lists of them: train.txt, test.txt and perhaps validation.txt (or
val.txt).

A list has one `relative/path LABEL` a line; the last space separates them, and blank lines are
skipped. Labels are class numbers from 0 on. A sweep names the folder: `dataset: mini50` is the
folder mini50 of --data.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners.data import faults, image_check
from runners.data.arrays import Arrays
from runners.errors import suggest
from runners.plan.catalogue import LISTS, names
from runners.plan.kinds import DATASET

VALIDATION = ("validation.txt", "val.txt")
MEMORY = 4 * 10**9  # bytes of decoded images that are kept in memory
LINE = "a line is `relative/path LABEL`, such as `images/red1.jpg 0`"


@dataclass(frozen=True)
class List:
    """One list: its file, and of every image the line, the path and the class number."""

    file: Path
    lines: list[int]
    paths: list[Path]
    labels: list[int]

    def place(self, i: int) -> str:
        return f"{self.file}, line {self.lines[i]}"


def files(root: Path) -> list[Path]:
    """The lists, and all images in them.

    Raises:
        ValueError: as `load`.
    """
    found = _lists(root)
    return [part.file for part in found] + [path for part in found for path in part.paths]


def held(root: Path) -> int:
    """How many images are for validation by a list of their own; the last ones to train on."""
    found = _lists(root)
    return len(found[1].paths) if len(found) == 3 else 0


def load(root: Path, *, size: int = 0) -> Arrays:
    """Images and labels of training and validation lists, one after the other; then of test.txt.

    Args:
        size: the side that images are brought to, by their centre and antialiased bilinear; 0
            leaves them as they are, and all have one size.

    Returns:
        Bytes (n, h, w, 3) in RGB; paths, where bytes would not fit in memory.

    Raises:
        ValueError: a list or an image is not as it must be; names file and line.
    """
    if size < 0:
        raise ValueError(f"dataset_options.size: must be at least 1, or 0 for theirs, got {size}")
    found = _lists(root)
    _check_labels(found)
    _check_paths(found)
    paths = [[str(path) for path in part.paths] for part in found]
    labels = [np.array(part.labels, np.int64) for part in found]
    side = size or max(_shape(found[0], 0))
    if sum(map(len, paths)) * side * side * 3 > MEMORY:
        if not size:
            raise ValueError(
                f"{found[0].file}: the images do not fit in memory, and are cropped while training;"
                " set dataset_options.size, such as 224"
            )
        images = [np.array(part) for part in paths]
    else:
        images = _decoded(found, size)
        _check_pixels(found, images)
    train, train_labels = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    return train, train_labels, images[-1], labels[-1]


def _lists(root: Path) -> list[List]:
    """Of training, of validation if there is one, and of test."""
    if not (root / "train.txt").exists():
        way = suggest(root.name, [name for name in names(DATASET) if name != LISTS])
        raise ValueError(
            f"dataset '{root.name}': {root / 'train.txt'} is not there. A folder of images has "
            f"train.txt and test.txt, its lists; --data names the folder around it{way}"
        )
    both = [root / name for name in VALIDATION if (root / name).exists()]
    if len(both) > 1:
        raise ValueError(f"{root} has both {' and '.join(VALIDATION)}; remove one")
    return [_read(file) for file in (root / "train.txt", *both, root / "test.txt")]


def _read(file: Path) -> List:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); {LINE}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: must be text in UTF-8; {LINE}") from None
    found, seen = List(file, [], [], []), dict[Path, int]()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        path, label = _entry(file, line.strip(), f"{file}, line {number}")
        if path in seen:
            raise ValueError(f"{file}, line {number}: {path} stands in line {seen[path]} as well")
        seen[path] = number
        found.lines.append(number)
        found.paths.append(path)
        found.labels.append(label)
    if not found.paths:
        raise ValueError(f"{file}: names no image; {LINE}")
    return found


def _entry(file: Path, line: str, place: str) -> tuple[Path, int]:
    name, space, label = line.rpartition(" ")
    if not space or not name.strip():
        raise ValueError(f"{place}: {LINE}, separated by a space, got {line!r:.80}")
    if not (label.isascii() and label.isdigit()):
        header = "; remove the header" if place.endswith("line 1") else ""
        raise ValueError(
            f"{place}: the label must be a whole number from 0 on, got {label!r}{header}"
        )
    path = Path(name.strip())
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(
            f"{place}: a path must lie inside {file.parent}, relative to it, got {name!r}"
        )
    return file.parent / path, int(label)


def _check_labels(found: list[List]) -> None:
    """Labels are 0 to k - 1, and each has a training image."""
    train = found[0]
    classes = {*train.labels}
    if missing := sorted({*range(max(classes) + 1)} - classes):
        raise ValueError(
            f"{train.file}: labels are numbered from 0 without gaps, and none is {missing[0]} "
            f"(the highest is {max(classes)})"
        )
    for part in found[1:]:
        for i, label in enumerate(part.labels):
            if label not in classes:
                raise ValueError(
                    f"{part.place(i)}: label {label} has no image in {train.file.name}, whose "
                    f"labels go up to {max(classes)}"
                )


def _check_paths(found: list[List]) -> None:
    """No image stands in two lists: it would be trained on and tested on."""
    seen: dict[Path, str] = {}
    for part in found:
        for i, path in enumerate(part.paths):
            if path in seen:
                raise ValueError(f"{part.place(i)}: {path} stands in {seen[path]} as well")
        seen |= {path: part.place(i) for i, path in enumerate(part.paths)}


def _check_pixels(found: list[List], images: list[np.ndarray]) -> None:
    """As `_check_paths`, for copies under another name."""
    seen: dict[bytes, tuple[List, int]] = {}
    for part, pixels in zip(found, images, strict=True):
        digests = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
        for i, digest in enumerate(digests):
            if other := seen.get(digest):
                raise ValueError(
                    f"{part.place(i)}: {part.paths[i]} has the pixels of "
                    f"{other[0].paths[other[1]]} ({other[0].place(other[1])}); an image must stand "
                    "in one list alone"
                )
        seen |= {digest: (part, i) for i, digest in enumerate(digests)}


def _shape(part: List, i: int) -> tuple[int, int]:
    """(w, h) of an image, which is not decoded."""
    from PIL import Image

    path = part.paths[i]
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{part.place(i)}: {_fault(path, error)}") from None


def _fault(path: Path, error: Exception) -> str:
    return faults.reason(path, "no file" if not path.is_file() else error)


def _decoded(found: list[List], size: int) -> list[np.ndarray]:
    """Every list's images as bytes (n, h, w, 3)."""
    first = _shape(found[0], 0)
    made = []
    for part in found:

        def one(i: int, part: List = part) -> np.ndarray:
            return _pixels(part, i, size, first)

        with ThreadPoolExecutor(4) as pool:
            made.append(np.stack([*pool.map(one, range(len(part.paths)))]))
    return made


def _pixels(part: List, i: int, size: int, first: tuple[int, int]) -> np.ndarray:
    """One image in RGB, the only place where colours have an order; grey is three channels."""
    from PIL import Image

    path = part.paths[i]
    try:
        with Image.open(path) as image:
            image_check.check_depth(image)
            pixels = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{part.place(i)}: {_fault(path, error)}") from None
    if size:
        side = min(pixels.size)
        left, top = (pixels.width - side) // 2, (pixels.height - side) // 2
        box = left, top, left + side, top + side
        # antialiased: Pillow's filter widens with the reduction
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR, box)
    elif pixels.size != first:
        raise ValueError(
            f"{part.place(i)}: {path} is {pixels.width}x{pixels.height}, and the first image "
            f"{first[0]}x{first[1]}; set dataset_options.size, such as {min(first)}"
        )
    return np.asarray(pixels)
