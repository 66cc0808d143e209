"""A feature map as rows of channels, without a copy.

A map (n, c, h, w) in channels_last is (n, h * w, c) in memory. In this view a 1x1 convolution is a
matrix product, a slice of the channels needs no copy, and a number per image and channel is
broadcast along contiguous channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def empty_map(v: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map of this size (h, w) for rows (n, h * w, c) such as v, (n, c, h, w) in channels_last.

    It is no view, so that a function that returns it allows what works in place, as a layer does.
    """
    shape = len(v), v.shape[2], *size
    like = {"dtype": v.dtype, "device": v.device}
    return torch.empty(shape, memory_format=torch.channels_last, **like)


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


def in_layout_of(x: Tensor, y: Tensor) -> Tensor:
    """y, which is in channels_last, in the memory layout of x."""
    return y if x.is_contiguous(memory_format=torch.channels_last) else y.contiguous()
