"""The CRU's end, from the two maps to their weighted sum (equation 8), by sums per channel.

A norm makes k (y - mean) + shift of a map y, with k = gain / deviation, and the average of that
over an image follows from the average of y. So the output,

    p (k1 (y1 - mean1) + shift1) + (1 - p) (k2 (y2 - mean2) + shift2),
    p = sigmoid(the average of the first - the average of the second),  per image and channel,

is a y1 + b y2 + d with numbers per image and channel, and the gradients are of that form too.

Maps are (n, hw, c), numbers per image and channel (n, 1, c), and numbers per channel (c,).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from scconv.kernels.rows import blocks, side_by_side, tile, widen


@dataclass(frozen=True)
class Norm:
    """A norm: gain * r * (y - mean) + shift; r is 1 / deviation. All (c,)."""

    mean: Tensor
    r: Tensor
    gain: Tensor
    shift: Tensor

    def average(self, of_map: Tensor) -> Tensor:
        """The average of the normalised map over an image, from that of the map."""
        return self.gain * self.r * (of_map - self.mean) + self.shift


@dataclass(frozen=True)
class Line:
    """The gradient of a map y for the gradient g of the output, p * g + q * y + r, and what goes to
    its norm. p and r are per image and channel, the others per channel.
    """

    p: Tensor
    q: Tensor
    r: Tensor
    centred: Tensor  # the sum of (gradient of the norm's output) * (y - mean)
    shift: Tensor
    positions: int  # in the batch

    def steeper(self, first: int, q: Tensor) -> Line:
        """With q * y more, in the channels from `first` on."""
        return replace(self, q=self.q + F.pad(q, (first, 0)))

    def along(self, i: slice, g: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
        """The gradient for the images i of the maps."""
        k, p, q, r = self._tiled
        out = torch.empty_like(y[i]) if out is None else out
        torch.addcmul(r[i], widen(g[i], k), p[i], out=widen(out, k)).addcmul_(widen(y[i], k), q)
        return out

    @cached_property
    def _tiled(self) -> tuple[int, Tensor, Tensor, Tensor]:
        """p, q and r for maps that are seen with so many positions side by side."""
        k = side_by_side(self.p.expand(-1, self.positions // len(self.p), -1))
        return k, tile(self.p, k), tile(self.q, k), tile(self.r, k)


def output(y1: Tensor, y2: Tensor, p: Tensor, norm1: Norm, norm2: Norm) -> Tensor:
    a, b = p * (norm1.gain * norm1.r), (1 - p) * (norm2.gain * norm2.r)
    d = p * norm1.shift + (1 - p) * norm2.shift - a * norm1.mean - b * norm2.mean
    k = side_by_side(y1)
    a, b, d = tile(a, k), tile(b, k), tile(d, k)
    y1, y2 = widen(y1, k), widen(y2, k)
    out = torch.empty_like(y1)
    for i in blocks(y1):
        torch.addcmul(d[i], y1[i], a[i], out=out[i]).addcmul_(y2[i], b[i])
    return out.view(len(out), -1, a.shape[2] // k)


def gradients(
    g: Tensor,
    maps: tuple[Tensor, Tensor],
    averages: tuple[Tensor, Tensor],
    p: Tensor,
    norms: tuple[Norm, Norm],
) -> tuple[Line, Line]:
    """Those of y1 and of y2. `averages` are theirs over an image."""
    n, hw, c = g.shape
    sums = g.new_empty(3, n, 1, c)
    for i in blocks(g):
        sums[0, i] = g[i].sum(1, keepdim=True)
        sums[1, i] = (g[i] * maps[0][i]).sum(1, keepdim=True)
        sums[2, i] = (g[i] * maps[1][i]).sum(1, keepdim=True)
    centred = [sums[j + 1] - norm.mean * sums[0] for j, norm in enumerate(norms)]

    (by_1, by_2), (shift1, shift2) = (
        [norm.gain * norm.r * of for norm, of in zip(norms, centred, strict=True)],
        [norm.shift for norm in norms],
    )
    s = p * (1 - p) * (by_1 - by_2 + (shift1 - shift2) * sums[0])
    first = _line(p, s, sums[0], centred[0], averages[0], norms[0], hw)
    return first, _line(1 - p, -s, sums[0], centred[1], averages[1], norms[1], hw)


def _line(
    share: Tensor, s: Tensor, sum_g: Tensor, centred: Tensor, average: Tensor, norm: Norm, hw: int
) -> Line:
    """Through a norm whose output's gradient is share * g + s / hw: the second part is what comes
    through the average of an image.
    """
    positions, k = len(share) * hw, norm.gain * norm.r
    shift = (share * sum_g + s).sum((0, 1))
    of_centred = (share * centred + s * (average - norm.mean)).sum((0, 1))
    q = -k * norm.r.square() * of_centred / positions
    r = k * (s / hw - shift / positions) - q * norm.mean
    return Line(k * share, q, r, of_centred, shift, positions)
