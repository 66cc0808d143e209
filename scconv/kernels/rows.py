"""How the kernels see a feature map: as rows of channels, in blocks of images that fit the cache.

A map (n, c, h, w) in channels_last is (n, h * w, c) in memory. In this view a 1x1 convolution is a
matrix product, a slice of the channels needs no copy, and a number per image and channel is
broadcast along contiguous channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

# One thread's share of a block. Of 32K to 1M elements, 64K and 128K were the fastest on a CPU with
# 2 MB of second-level cache: three such maps fit, and torch's cost per operation is still small.
BLOCK_BYTES = 1 << 19
ENOUGH = 256  # channels; more make no difference


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def rows(x: Tensor) -> Tensor:
    """(n, c, h, w) in channels_last, as a view (n, h * w, c)."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).view(n, h * w, c)


def image(v: Tensor, size: tuple[int, ...]) -> Tensor:
    """(n, h * w, c) as a view (n, c, h, w)."""
    return v.unflatten(1, size).permute(0, 3, 1, 2)


def matrix(v: Tensor) -> Tensor:
    """(n, h * w, c) as a view (n * h * w, c); the channels may be a slice of a wider map."""
    return v.flatten(0, 1)


def blocks(v: Tensor) -> Iterator[slice]:
    """Slices of the images of a map (n, h * w, c), each so large that it stays in the cache."""
    n = len(v)
    fit = BLOCK_BYTES * torch.get_num_threads() // (v[0].numel() * v.element_size())
    count = -(-n // max(1, fit))
    step = -(-n // count)  # blocks of nearly one size
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def pool(v: Tensor, size: tuple[int, ...]) -> Tensor:
    """2x2 averages of the rows of a map of this size (h, w), as the module's pool makes them."""
    x = channels_last(image(v, size))
    return rows(channels_last(F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)))


def unpool(g: Tensor, size: tuple[int, ...]) -> Tensor:
    """The gradient of `pool`'s input, for the gradient `g` of its output."""
    small = tuple(-(-side // 2) for side in size)
    like = g.new_empty(len(g), size[0] * size[1], g.shape[2])
    dx = torch.ops.aten.avg_pool2d_backward(
        image(g, small), image(like, size), [2, 2], [2, 2], [0, 0], True, False, None
    )
    return rows(channels_last(dx))


def side_by_side(v: Tensor) -> int:
    """How many positions of a map (n, hw, c) to see as one of so many channels more.

    An operation with a number per channel runs over the channels of one position at a time, and 4
    or 16 of them are too few to be fast: the statistics of 4 channels took 15 times as long as of
    the same values seen as 64.
    """
    return math.gcd(v.shape[1], max(1, ENOUGH // v.shape[2]))


def widen(v: Tensor, k: int) -> Tensor:
    """(n, hw, c) as a view (n, hw / k, k c)."""
    return v.view(v.shape[0], v.shape[1] // k, k * v.shape[2])


def tile(numbers: Tensor, k: int) -> Tensor:
    """Numbers per channel, (..., c), for a map that is seen so."""
    return numbers.repeat(*(1,) * (numbers.dim() - 1), k) if k > 1 else numbers


def scaled(v: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """shift + scale * v, with a number per channel each."""
    k = side_by_side(v)
    return torch.addcmul(tile(shift, k), widen(v, k), tile(scale, k)).view_as(v)


def statistics(v: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over a batch of rows (n, hw, c), in two passes: a sum of
    squares less the square of the mean would lose digits where the mean is large.
    """
    k, c = side_by_side(v), v.shape[2]
    x = widen(v, k).permute(0, 2, 1)[..., None]
    mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
    if k == 1:
        return mean, variance
    means = mean.view(k, c)
    mean = means.mean(0)
    return mean, (variance.view(k, c) + (means - mean).square()).mean(0)
