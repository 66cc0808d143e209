"""The CRU's rich transform: a group-wise k x k and a point-wise convolution of one map, added.

Both are linear in the map, so the point-wise one is a matrix product that adds to the group-wise
one's output in place, and so it is in the backward.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from scconv.kernels.compiled import compiled
from scconv.kernels.rows import array
from scconv.kernels.views import channels_last, rows

# With no more channels than this the group-wise convolution leaves most of a vector register empty,
# and one full convolution with the point-wise weights in its centre costs less than the two. With
# 16 it costs more, since it has twice the multiply-adds.
NARROW = 8


@dataclass(frozen=True)
class Geometry:
    """The group-wise convolution's settings; at stride 2 the point-wise one reads 2x2 averages."""

    stride: int
    padding: int
    dilation: int
    groups: int

    def merges(self, pwc: Tensor) -> bool:
        """Whether one convolution stands for both."""
        return self.stride == 1 and pwc.shape[1] <= NARROW


def convolve(up: Tensor, gwc: Tensor, pwc: Tensor, form: Geometry) -> Tensor:
    """Of a map (n, c, h, w), (n, c2, h2, w2) in channels_last; without the point-wise part where
    the two are not merged.
    """
    weight, groups = _weight(gwc, pwc, form)
    y = F.conv2d(up, weight, None, form.stride, form.padding, form.dilation, groups)
    return channels_last(y)


def convolve_backward(
    g: Tensor, up: Tensor, gwc: Tensor, pwc: Tensor, form: Geometry
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of the rows of `up`, of `gwc` and, where the two are merged, of `pwc`."""
    weight, groups = _weight(gwc, pwc, form)
    geometry = ([form.stride] * 2, [form.padding] * 2, [form.dilation] * 2, False, [0, 0], groups)
    d_up, d_weight, _ = torch.ops.aten.convolution_backward(
        g, up, weight, None, *geometry, (True, True, False)
    )
    d_up = rows(channels_last(d_up))
    return (d_up, *_apart(d_weight, gwc, form)) if form.merges(pwc) else (d_up, d_weight, None)


def _weight(gwc: Tensor, pwc: Tensor, form: Geometry) -> tuple[Tensor, int]:
    """The weight and the groups of the convolution that is computed."""
    if not form.merges(pwc):
        return gwc, form.groups
    c2, c, *_ = pwc.shape
    merged = gwc.new_zeros(c2, *gwc.shape[2:], c)
    _merge(array(gwc), array(pwc), form.groups, array(merged))
    return merged.permute(0, 3, 1, 2), 1


def _apart(d_merged: Tensor, gwc: Tensor, form: Geometry) -> tuple[Tensor, Tensor]:
    """The gradients of both weights, for that of the one that stands for them."""
    d = d_merged.permute(0, 2, 3, 1).contiguous()
    d_gwc, d_pwc = torch.empty_like(gwc), gwc.new_empty(*d_merged.shape[:2], 1, 1)
    _take_apart(array(d), form.groups, array(d_gwc), array(d_pwc))
    return d_gwc, d_pwc


@compiled
def _merge(group_wise, point_wise, groups, merged):
    """Writes, into zeros (c2, k, k, c), the weight of one convolution that does what a group-wise
    (c2, c / groups, k, k) and a point-wise one (c2, c, 1, 1) of the same map do together.
    """
    c2, k, _, c = merged.shape
    deep, high = c // groups, c2 // groups
    for i in range(c2):
        first = i // high * deep
        for row in range(k):
            for column in range(k):
                for j in range(deep):
                    merged[i, row, column, first + j] = group_wise[i, j, row, column]
        for j in range(c):
            merged[i, k // 2, k // 2, j] += point_wise[i, j, 0, 0]


@compiled
def _take_apart(d_merged, groups, d_group_wise, d_point_wise):
    """Writes the gradients of both, for that of the weight that `_merge` writes."""
    c2, k, _, c = d_merged.shape
    deep, high = c // groups, c2 // groups
    for i in range(c2):
        first = i // high * deep
        for row in range(k):
            for column in range(k):
                for j in range(deep):
                    d_group_wise[i, j, row, column] = d_merged[i, row, column, first + j]
        for j in range(c):
            d_point_wise[i, j, 0, 0] = d_merged[i, k // 2, k // 2, j]
