"""How the kernels see a feature map: as rows of channels.

A map (n, c, h, w) in channels_last is (n, h * w, c) in memory. In this view a 1x1 convolution is a
matrix product, a slice of the channels needs no copy, and a number per image and channel is
broadcast along contiguous channels.

Maps are tensors, since torch multiplies and convolves them; numbers per channel, (c,), and per
image and channel, (n, c), are arrays.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scconv.kernels import loops

WIDE = 256  # channels; more make no difference


def array(t: Tensor) -> np.ndarray:
    return t.detach().numpy()


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def rows(x: Tensor) -> Tensor:
    """(n, c, h, w) in channels_last, as a view (n, h * w, c)."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).view(n, h * w, c)


def image(v: Tensor, size: tuple[int, ...]) -> Tensor:
    """(n, h * w, c) as a view (n, c, h, w)."""
    return v.view(len(v), *size, v.shape[2]).permute(0, 3, 1, 2)


def matrix(v: Tensor) -> Tensor:
    """(n, h * w, c) as a view (n * h * w, c); the channels may be a slice of a wider map."""
    return v.view(-1, v.shape[2])


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


def wide(v: Tensor) -> np.ndarray:
    """A map (n, hw, c) with k positions side by side, as an array (n, hw / k, k c).

    A loop over the 4 or 16 channels of one position is too short to be fast: the statistics of 4
    channels took 15 times as long as of the same values seen as 64.
    """
    n, hw, c = v.shape
    k = math.gcd(hw, max(1, WIDE // c))
    # a view or an error: what is written to a copy would be lost
    return v.detach().view(n, hw // k, k * c).numpy()


def moments(v: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Of each image, each channel's average and the sum of squared differences from it; (n, c).

    In two passes over an image: a sum of squares less the square of the mean would lose digits
    where the mean is large.
    """
    seen = wide(v)
    average = np.empty((v.shape[0], v.shape[2]), seen.dtype)
    squares = np.empty_like(average)
    loops.moments.over_images(len(seen), seen.size, seen, average, squares)
    return average, squares


def scaled(v: Tensor, scale: np.ndarray, shift: np.ndarray) -> Tensor:
    """scale * v + shift, with a number per channel each."""
    out = torch.empty_like(v)
    seen = wide(v)
    loops.scaled.over_images(len(seen), seen.size, seen, scale, shift, wide(out))
    return out
