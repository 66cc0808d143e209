"""The SRU with a hard gate (equations 1 to 4): statistics, one comparison, one selection.

Under the hard gate a position is informative where its normalised value is above a threshold. That
is a comparison of the value itself with one number per image and channel, its level:

    sigmoid(importance * (weight * (x - mean) / deviation + bias)) > threshold
    <=>  x > mean + deviation * t,

and at the paper's threshold of 0.5, with GroupNorm's first weights, t = 0: no deviation is needed.
The mask has no gradient and its values are 0 and 1, so it is not kept: the backward compares again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from scconv.kernels import gating, numbers
from scconv.kernels.rows import array, wide
from scconv.kernels.views import channels_last, empty_map, image, rows


@dataclass(frozen=True)
class Gate:
    """What decides which positions are informative."""

    groups: int
    eps: float
    t: np.ndarray  # (c,)

    @classmethod
    def of(cls, norm: nn.GroupNorm, threshold: float) -> Gate | None:
        """None where the comparison is another one: the weights do not sum to a positive number."""
        weight, bias = array(norm.weight), array(norm.bias)
        t = np.empty_like(weight)
        total = numbers.thresholds(weight, bias, math.log(threshold / (1 - threshold)), t)
        return cls(norm.num_groups, norm.eps, t) if total > 0 else None


class Select(torch.autograd.Function):
    """apply(x, gate, weight, bias) -> the SRU of x (n, c, h, w) in channels_last."""

    @staticmethod
    def forward(ctx, x, gate, *affine):  # type: ignore[override]
        v = rows(x)
        y, level = empty_map(v, x.shape[2:]), np.empty((len(v), v.shape[2]), gate.t.dtype)
        seen = wide(v)
        how = gate.groups, gate.t, gate.eps, level
        gating.gated.over_images(len(v), seen.size, seen, *how, wide(rows(y)))
        ctx.save_for_backward(x, torch.from_numpy(level), *affine)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, g):  # type: ignore[override]
        x, level, *affine = ctx.saved_tensors
        # DDP waits for a gradient of every parameter that requires one
        zeros = [torch.zeros_like(parameter) for parameter in affine]
        if not ctx.needs_input_grad[0]:
            return None, None, *zeros
        v, g = rows(channels_last(x)), rows(channels_last(g))
        dx = torch.empty_like(v)
        maps = wide(g), wide(v), array(level), wide(dx)
        gating.gated_backward.over_images(len(v), v.numel(), *maps)
        return image(dx, x.shape[2:]), None, *zeros
