"""The CRU's end, from the two maps to their weighted sum (equation 8), by sums per channel.

A norm makes k (y - mean) + shift of a map y, with k = gain / deviation, and the average of that
over an image follows from the average of y. So the output,

    p (k1 (y1 - mean1) + shift1) + (1 - p) (k2 (y2 - mean2) + shift2),
    p = sigmoid(the average of the first - the average of the second),  per image and channel,

is a y1 + b y2 + d with numbers per image and channel, and the gradients are of that form too.

Maps are (n, hw, c), numbers per image and channel (n, c), norms as in numbers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from scconv.kernels import loops, numbers
from scconv.kernels.rows import wide
from scconv.kernels.views import empty_map, rows

Array = np.ndarray


class Fusion(NamedTuple):
    """The maps' averages over an image, the norms, p; and the output is of_y1 * y1 + of_y2 * y2 +
    rest.
    """

    average1: Array
    average2: Array
    norm1: Array
    norm2: Array
    p: Array
    of_y1: Array
    of_y2: Array
    rest: Array


def empty(average1: Array, average2: Array) -> Fusion:
    """To be written."""
    norm1, norm2 = np.empty((2, 4, average1.shape[1]), average1.dtype)
    # p is kept for the backward: in memory of its own
    p = np.empty_like(average1)
    of_y1, of_y2, rest = np.empty((3, *p.shape), p.dtype)
    return Fusion(average1, average2, norm1, norm2, p, of_y1, of_y2, rest)


def output(y1: Tensor, y2: Tensor, fusion: Fusion, size: tuple[int, ...]) -> Tensor:
    """The output as a map of this size, (n, c, h, w)."""
    out = empty_map(y1, size)
    seen, (of_y1, of_y2, rest) = wide(y1), fusion[5:]
    maps = seen, of_y1, wide(y2), of_y2, rest, wide(rows(out))
    loops.combined.over_images(len(seen), seen.size, *maps)
    return out


def gradients(
    g: Tensor, y1: Tensor, y2: Tensor, fusion: Sequence[Array], d_y1: Tensor, d_y2: Tensor
) -> Array:
    """Writes those of the maps for the gradient g of the output: of_g * g + of_y * y + rest, with
    numbers per image and channel. Those of each norm, (2, 3, c): of its gain, of its shift, and of
    the gain without 1 / deviation. `fusion`: its averages, norms and p.
    """
    n, hw, c = g.shape
    dtype = fusion[0].dtype
    sums, grads = np.empty((3, n, c), dtype), np.empty((2, 3, c), dtype)
    of_g, of_y, rest = np.empty((3, 2, n, c), dtype)
    seen, seen1, seen2 = wide(g), wide(y1), wide(y2)
    loops.products_of_two.over_images(n, seen.size, seen, seen1, seen2, *sums)
    numbers.lines(sums, *fusion, hw, of_g, of_y, rest, grads)
    first = of_g[0], seen1, of_y[0], rest[0], wide(d_y1)
    second = of_g[1], seen2, of_y[1], rest[1], wide(d_y2)
    loops.combined_twice.over_images(n, seen.size, seen, *first, *second)
    return grads
