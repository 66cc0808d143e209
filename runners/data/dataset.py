"""Image data sets as uint8 tensors in memory, and batches of them, augmented on the device they are on.

The function's name is the data set's name. CIFAR fits in memory whole: no worker processes, no decoding while training. What does not
fit (imagenet) is read from its files by runners/folder.py.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from runners.data import image_files as folder
from runners.data.image_files import Files

Arrays = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # train images (n, h, w, 3), train labels, test images, test labels


@dataclass(frozen=True)
class Split:
    """Images as channels-last bytes, and their class numbers."""

    images: UInt8[Tensor, "n h w 3"]
    labels: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)"""
        return self.images.shape[1], self.images.shape[2]

    def to(self, device: torch.device | str) -> Split:
        return Split(self.images.to(device), self.labels.to(device))

    def subset(self, rows: Tensor) -> Split:
        return Split(self.images[rows], self.labels[rows])

    def read(self, rows: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of these images in this order."""
        for part in rows.to(self.images.device).split(batch_size):
            yield self.images[part], self.labels[part]


@dataclass(frozen=True)
class Dataset:
    """`mean` and `std` per channel, of pixels scaled to 0..1; `pad` and `flip` are the augmentation that suits it.

    `digest` is the hash of every pixel and label (of files, every name and size): two trials with one digest saw the same data.
    """

    name: str
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pad: int
    flip: bool
    train: Split | Files
    val: Split | Files
    test: Split | Files
    digest: str

    @property
    def image(self) -> tuple[int, int, int]:
        """(c, h, w)"""
        h, w = self.train.size
        return 3, h, w

    def hold_out(self, fraction: float) -> Dataset:
        """The same data with this fraction of the training set as `val`: the same images for every seed and variant."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))
        n = round(fraction * len(self.train))
        val, train = order[:n].sort().values, order[n:].sort().values
        return replace(self, train=self.train.subset(train), val=self.train.subset(val))

    def to(self, device: torch.device | str) -> Dataset:
        return replace(
            self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device)
        )

    def normalise(self, images: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
        """Bytes to zero mean and unit deviation per channel; channels stay last in memory."""
        mean = torch.tensor(self.mean, device=images.device) * 255
        std = torch.tensor(self.std, device=images.device) * 255
        return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def in_order(data: Dataset, split: Split | Files) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches ((n, 3, h, w), (n,)) of a split as it stands."""
    for images, labels in split.read(
        torch.arange(len(split)), 100 if isinstance(split, Files) else 500
    ):
        yield data.normalise(images), labels


def batches(
    data: Dataset, batch_size: int, generator: torch.Generator, *, augment: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented training batches ((n, 3, h, w), (n,)); a last batch of one image is left out.

    All randomness comes from `generator`, which lives on the CPU, so that order and augmentation are the same on every device.
    """
    n = len(data.train)
    order = torch.randperm(n, generator=generator)
    if isinstance(data.train, Files):
        seeds = torch.randint(0, 2**62, (n,), generator=generator) if augment else None
        last = n - (n % batch_size == 1)  # batch norm has no variance of one
        for images, labels in data.train.read(
            order[:last], batch_size, seeds[:last] if seeds is not None else None
        ):
            yield data.normalise(images), labels
        return
    device = data.train.images.device
    shift = torch.randint(0, 2 * data.pad + 1, (n, 2), generator=generator)
    flip = torch.rand(n, generator=generator) < (0.5 if data.flip else 0)
    order, shift, flip = order.to(device), shift.to(device), flip.to(device)
    for i in range(0, n, batch_size):
        rows = order[i : i + batch_size]
        if len(rows) < 2:  # batch norm has no variance of one
            break
        images = data.train.images[rows]
        if augment:
            images = _shift_and_flip(images, shift[rows], flip[rows], data.pad)
        yield data.normalise(images), data.train.labels[rows]


def _shift_and_flip(images: Tensor, shift: Tensor, flip: Tensor, pad: int) -> Tensor:
    """Pad with black, crop at `shift` and mirror, each image its own way: (n, h, w, 3) -> (n, h, w, 3)."""
    n, h, w, _ = images.shape
    padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
    columns = torch.arange(w, device=images.device).expand(n, w)
    columns = torch.where(flip[:, None], w - 1 - columns, columns) + shift[:, 1:]
    lines = torch.arange(h, device=images.device) + shift[:, :1]
    return padded[
        torch.arange(n, device=images.device)[:, None, None], lines[:, :, None], columns[:, None, :]
    ]


def load(name: str, root: str | Path | None = None, cache: str | Path | None = None) -> Dataset:
    """The data set called `name`, without a validation split.

    Args:
        root: where its files are, or are downloaded to; default: the variable DATA_ROOT, else `data`.
        cache: a folder for the decoded pixels of data sets that are slow to decode.

    Raises:
        ValueError: no data set of that name, or it is neither there nor can it be downloaded; says what to do.
    """
    if name not in SETS:
        close = difflib.get_close_matches(name, SETS, n=1)
        raise ValueError(
            f"unknown dataset '{name}'"
            + (f": did you mean '{close[0]}'?" if close else f"; use one of {', '.join(SETS)}")
        )
    classes, _, pad, flip = SETS[name]
    if name == "imagenet":
        train, test, digest = folder.find(Path(root or os.environ.get("DATA_ROOT") or "data"))
        return Dataset(
            name,
            classes,
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
            pad,
            flip,
            train,
            train.subset(torch.arange(0)),
            test,
            digest,
        )
    arrays = globals()[name](
        Path(root or os.environ.get("DATA_ROOT") or "data"), Path(cache) if cache else None
    )
    train_x, train_y, test_x, test_y = (np.ascontiguousarray(a) for a in arrays)
    digest = hashlib.sha256()
    for array in (train_x, train_y, test_x, test_y):
        digest.update(array.data)
    pixels = train_x.reshape(-1, 3)
    # in pieces: a float copy of the whole training set would take four times its memory
    sums = [
        (p.sum(0, dtype=np.float64), (p.astype(np.float32) ** 2).sum(0, dtype=np.float64))
        for p in np.array_split(pixels, 64)
    ]
    mean = np.sum([s for s, _ in sums], axis=0) / len(pixels)
    std = np.sqrt(np.sum([q for _, q in sums], axis=0) / len(pixels) - mean**2)
    train, test = (
        Split(torch.from_numpy(x), torch.from_numpy(y))
        for x, y in ((train_x, train_y), (test_x, test_y))
    )
    none = Split(train.images[:0], train.labels[:0])
    return Dataset(
        name, classes, _rgb(mean), _rgb(std), pad, flip, train, none, test, digest.hexdigest()[:16]
    )


def _rgb(bytes_: np.ndarray) -> tuple[float, float, float]:
    r, g, b = (round(float(x) / 255, 5) for x in bytes_)
    return r, g, b


# name -> classes, (c, h, w), pixels of padding for the random crop, horizontal flip
SETS: dict[str, tuple[int, tuple[int, int, int], int, bool]] = {
    "cifar10": (10, (3, 32, 32), 4, True),
    "cifar100": (100, (3, 32, 32), 4, True),
    "digits": (10, (3, 8, 8), 1, False),
    "imagenet": (
        1000,
        (3, folder.SIZE, folder.SIZE),
        0,
        True,
    ),  # a tree of files; a subset of the classes keeps the head of 1000
    "synthetic": (10, (3, 8, 8), 1, False),
}


def cifar10(root: Path, cache: Path | None = None) -> Arrays:
    """CIFAR-10 (Krizhevsky 2009) through torchvision, which checks each file's checksum before it reads it."""
    from torchvision.datasets import CIFAR10

    return _torchvision(CIFAR10, "cifar10", root)


def cifar100(root: Path, cache: Path | None = None) -> Arrays:
    """CIFAR-100 (Krizhevsky 2009): a folder of Parquet files as the Hugging Face hub has it, else through torchvision."""
    for place in (root, root / "cifar100"):
        train, test = sorted(place.glob("train-*.parquet")), sorted(place.glob("test-*.parquet"))
        if train and test:
            return _cached(train, test, cache)
    from torchvision.datasets import CIFAR100

    return _torchvision(CIFAR100, "cifar100", root)


def digits(root: Path, cache: Path | None = None) -> Arrays:
    """The 1,797 handwritten digits that ship inside scikit-learn (Alpaydin and Kaynak 1998), grey in three channels; every fifth is for testing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError(
            "dataset 'digits' ships inside scikit-learn, which is not installed: pip install scikit-learn"
        ) from None
    pixels, target = load_digits(return_X_y=True)
    images = np.repeat(
        (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)[..., None], 3, axis=-1
    )
    labels = np.asarray(target, np.int64)
    test = np.arange(len(labels)) % 5 == 4
    return images[~test], labels[~test], images[test], labels[test]


def synthetic(root: Path, cache: Path | None = None) -> Arrays:
    """A fixed pattern per class under noise, for tests: 320 images to train on and 160 to test on."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (10, 8, 8, 3))
    labels = np.tile(np.arange(10), 48)
    noisy = (0.5 * patterns[labels] + 0.5 * random.integers(0, 256, (480, 8, 8, 3))).astype(
        np.uint8
    )
    return noisy[:320], labels[:320], noisy[320:], labels[320:]


def _torchvision(kind: type, name: str, root: Path) -> Arrays:
    try:
        train, test = (kind(root=str(root), train=t, download=True) for t in (True, False))
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"dataset '{name}' is neither in {root} nor could it be downloaded ({reason}); put torchvision's archive"
            f"{' or the Parquet files of the Hugging Face hub' if name == 'cifar100' else ''} there, or name another folder by --data or DATA_ROOT"
        ) from None
    return (
        train.data,
        np.asarray(train.targets, np.int64),
        test.data,
        np.asarray(test.targets, np.int64),
    )


def _parquet(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images and fine labels of Parquet files whose `img` column holds encoded images; nothing in them is unpickled."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError(
            "reading Parquet files needs pyarrow, which is not installed: pip install pyarrow"
        ) from None
    from PIL import Image

    images, labels = [], []
    for file in files:
        if missing := {"img", "fine_label"} - {*pq.read_schema(file).names}:
            raise ValueError(
                f"{file}: has no column {' and '.join(sorted(missing))}; CIFAR-100 as the Hugging Face hub has it is expected"
            )
        table = pq.read_table(file, columns=["img", "fine_label"])
        labels.append(table["fine_label"].to_numpy())
        images += [
            np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB"))
            for row in table["img"].to_pylist()
        ]
    return np.stack(images), np.concatenate(labels).astype(np.int64)


def _cached(train: list[Path], test: list[Path], cache: Path | None) -> Arrays:
    """The decoded files, kept in `cache` under a name that changes with them."""
    if cache is None:
        return (*_parquet(train), *_parquet(test))
    stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in train + test]
    path = (
        cache
        / f"{train[0].parent.name}-{hashlib.sha256(repr(stats).encode()).hexdigest()[:12]}.npz"
    )
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            return stored["a0"], stored["a1"], stored["a2"], stored["a3"]
    arrays = (*_parquet(train), *_parquet(test))
    cache.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **{f"a{i}": a for i, a in enumerate(arrays)})
    os.replace(temporary, path)
    return arrays
