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
import torch
from torch import Tensor

from scconv.kernels import loops, numbers
from scconv.kernels.rows import wide

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


def output(y1: Tensor, y2: Tensor, fusion: Fusion) -> Tensor:
    out = torch.empty_like(y1)
    seen, (of_y1, of_y2, rest) = wide(y1), fusion[5:]
    maps = seen, of_y1, wide(y2), of_y2, rest, wide(out)
    loops.combined.over_images(len(seen), seen.size, *maps)
    return out


class Lines(NamedTuple):
    """The gradients of y1 and y2 for the gradient g of the output: of_g * g + of_y * y + rest,
    (2, n, c) each.
    """

    of_g: Array
    of_y: Array
    rest: Array

    def along(self, which: int, g: Tensor, y: Tensor, out: Tensor) -> None:
        """Writes that of y1 (0) or of y2 (1)."""
        of_g, of_y, rest = (part[which] for part in self)
        seen = wide(g)
        maps = seen, of_g, wide(y), of_y, rest, wide(out)
        loops.combined.over_images(len(seen), seen.size, *maps)


def gradients(g: Tensor, y1: Tensor, y2: Tensor, fusion: Sequence[Array]) -> tuple[Lines, Array]:
    """Those of the maps, and of each norm (2, 3, c): of its gain and its shift, and of the gain
    without 1 / deviation. `fusion`: its averages, norms and p.
    """
    n, hw, c = g.shape
    dtype = fusion[0].dtype
    sums, found = np.empty((3, n, c), dtype), Lines(*np.empty((3, 2, n, c), dtype))
    grads = np.empty((2, 3, c), dtype)
    seen = wide(g)
    loops.products_of_two.over_images(n, seen.size, seen, wide(y1), wide(y2), *sums)
    numbers.lines(sums, *fusion, hw, *found, grads)
    return found, grads
