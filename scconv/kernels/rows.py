"""What the kernels on a CPU do with a map's rows (views.py).

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
from scconv.kernels.views import channels_last, image, rows

WIDE = 256  # channels; more make no difference


def array(t: Tensor) -> np.ndarray:
    return t.detach().numpy()


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
