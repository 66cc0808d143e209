"""Image data sets as uint8 tensors in memory, and batches of them, augmented on their device.

CIFAR fits in memory whole: no worker processes, no decoding while training. A data set that does
not fit is read from its files by runners/data/image_files.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from runners.data import imagenet
from runners.data.arrays import Arrays
from runners.data.image_files import Files
from runners.data.source import Source


@dataclass(frozen=True)
class Split:
    """Images as channels-last bytes, and their class numbers.

    `rows`: which images of `stock` these are, in order; None: all. So the parts of a set share its
    memory.
    """

    stock: UInt8[Tensor, "m h w 3"]
    labels: Int[Tensor, " n"]
    rows: Int[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> UInt8[Tensor, "n h w 3"]:
        """All of them: the stock itself, or a copy of a part of it."""
        return self.stock if self.rows is None else self.stock[self.rows]

    def at(self, rows: Int[Tensor, " k"]) -> UInt8[Tensor, "k h w 3"]:
        """A copy of the images at these places of the split; `rows` is on its device."""
        return self.stock[rows if self.rows is None else self.rows[rows]]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)"""
        return self.stock.shape[1], self.stock.shape[2]

    def to(self, device: torch.device | str) -> Split:
        if torch.device(device) == self.stock.device:
            return self
        return Split(self.images.to(device), self.labels.to(device))

    def subset(self, rows: Int[Tensor, " k"]) -> Split:
        rows = rows.to(self.stock.device)
        own = rows if self.rows is None else self.rows[rows]
        if len(own):
            return replace(self, labels=self.labels[rows], rows=own)
        # whoever gets no images, such as a search of the test set, holds none
        return Split(self.stock[:0].clone(), self.labels[:0].clone())

    def read(self, rows: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of these images in this order."""
        for part in rows.to(self.stock.device).split(batch_size):
            yield self.at(part), self.labels[part]


@dataclass(frozen=True)
class Dataset:
    """`mean` and `std` per channel, of pixels scaled to 0..1; `pad` and `flip` augment it.

    `digest` is the hash of every pixel and label (of image files, every name and size): two trials
    with one digest saw the same data. `train_digest` is the training images' and their labels'
    alone.
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
    train_digest: str
    held: int = 0  # of the training images, the last ones: a validation split of the data's own

    @property
    def image(self) -> tuple[int, int, int]:
        """(c, h, w)"""
        h, w = self.train.size
        return 3, h, w

    def hold_out(self, fraction: float) -> Dataset:
        """The same data with this fraction of the training set as `val`: the same images for every
        seed and variant; the data's own validation split, where it has one.
        """
        if self.held:
            rows = torch.arange(len(self.train))
            val, train = rows[-self.held :], rows[: -self.held]
            return replace(self, train=self.train.subset(train), val=self.train.subset(val))
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))
        n = round(fraction * len(self.train))
        val, train = order[:n].sort().values, order[n:].sort().values
        return replace(self, train=self.train.subset(train), val=self.train.subset(val))

    def to(self, device: torch.device | str) -> Dataset:
        return replace(
            self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device)
        )

    def normalise(
        self, images: UInt8[Tensor, "n h w 3"] | Float[Tensor, "n h w 3"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Pixels, 0 to 255, to mean 0 and deviation 1 per channel; channels stay last in memory."""
        mean, std = _on_device(self.mean, self.std, images.device)
        return ((images.float() - mean) / std).permute(0, 3, 1, 2)


@functools.lru_cache(8)
def _on_device(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Both in the scale of bytes; kept, since a copy to a GPU waits for all that it is doing."""
    return torch.tensor(mean, device=device) * 255, torch.tensor(std, device=device) * 255


def in_order(data: Dataset, split: Split | Files) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches ((n, 3, h, w), (n,)) of a split as it stands."""
    for images, labels in bytes_in_order(split):
        yield data.normalise(images), labels


def bytes_in_order(split: Split | Files) -> Iterator[tuple[Tensor, Tensor]]:
    """The same batches before they are normalised: bytes (n, h, w, 3) and (n,)."""
    yield from split.read(torch.arange(len(split)), 100 if isinstance(split, Files) else 500)


def batches(
    data: Dataset, batch_size: int, generator: torch.Generator, *, augment: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented training batches ((n, 3, h, w), (n,)); a last batch of one
    image is left out.

    All randomness comes from `generator`, which lives on the CPU, so that order and augmentation
    are the same on every device.
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
    device = data.train.stock.device
    shift = torch.randint(0, 2 * data.pad + 1, (n, 2), generator=generator)
    flip = torch.rand(n, generator=generator) < (0.5 if data.flip else 0)
    order, shift, flip = order.to(device), shift.to(device), flip.to(device)
    for i in range(0, n, batch_size):
        rows = order[i : i + batch_size]
        if len(rows) < 2:  # batch norm has no variance of one
            break
        images = data.train.at(rows)
        if augment:
            images = shift_and_flip(images, shift[rows], flip[rows], data.pad)
        yield data.normalise(images), data.train.labels[rows]


def shift_and_flip(images: Tensor, shift: Tensor, flip: Tensor, pad: int) -> Tensor:
    """Pad with black, crop at `shift` and mirror, each image its own way: (n, h, w, 3) -> (n, h, w,
    3).
    """
    n, h, w, _ = images.shape
    padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
    columns = torch.arange(w, device=images.device).expand(n, w)
    columns = torch.where(flip[:, None], w - 1 - columns, columns) + shift[:, 1:]
    lines = torch.arange(h, device=images.device) + shift[:, :1]
    return padded[
        torch.arange(n, device=images.device)[:, None, None], lines[:, :, None], columns[:, None, :]
    ]


def prepare(source: Source, arrays: Arrays, held: int = 0) -> Dataset:
    """A data set without a validation split from its four arrays.

    Args:
        held: how many of the training images, the last ones, are to validate on.
    """
    train_x, train_y, test_x, test_y = arrays
    labels = torch.from_numpy(train_y), torch.from_numpy(test_y)
    mean, std = source.setting("MEAN"), source.setting("STD")
    digest, train_digest = source.digests(arrays)
    train: Split | Files
    test: Split | Files
    if train_x.ndim == 1:
        side = source.setting("SIZE")
        train, test = Files(train_x, labels[0], side), Files(test_x, labels[1], side)
        mean, std = mean or imagenet.MEAN, std or imagenet.STD
    else:
        train = Split(torch.from_numpy(train_x), labels[0])
        test = Split(torch.from_numpy(test_x), labels[1])
        if not (mean and std):
            mean, std = _moments(train_x)
    return Dataset(
        name=source.name,
        classes=source.setting("CLASSES") or int(train_y.max()) + 1,
        mean=mean,
        std=std,
        pad=source.setting("PAD"),
        flip=source.setting("FLIP"),
        train=train,
        val=train.subset(torch.arange(0)),
        test=test,
        digest=digest,
        train_digest=train_digest,
        held=held,
    )


def _moments(images: np.ndarray) -> tuple[tuple, tuple]:
    """Mean and deviation of each channel, of pixels scaled to 0..1."""
    pixels = images.reshape(-1, 3)
    sums = np.zeros(3), np.zeros(3)
    # in pieces: a float copy of the whole training set would take four times its memory
    for piece in np.array_split(pixels, 64):
        sums[0][:] += piece.sum(0, dtype=np.float64)
        sums[1][:] += (piece.astype(np.float32) ** 2).sum(0, dtype=np.float64)
    mean = sums[0] / len(pixels)
    std = np.sqrt(np.maximum(sums[1] / len(pixels) - mean**2, 0))
    # a channel that never changes carries nothing, whatever it is divided by
    return _rgb(mean), _rgb(np.where(std > 0, std, 255))


def _rgb(bytes_: np.ndarray) -> tuple[float, float, float]:
    r, g, b = (round(float(x) / 255, 5) for x in bytes_)
    return r, g, b
