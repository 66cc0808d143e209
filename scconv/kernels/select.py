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

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from scconv.kernels.rows import blocks, channels_last, image, rows


@dataclass(frozen=True)
class Gate:
    """What decides which positions are informative; `t` is None where it is 0 in every channel."""

    groups: int
    eps: float
    t: Tensor | None  # (c,)

    @classmethod
    def of(cls, norm: nn.GroupNorm, threshold: float) -> Gate | None:
        """None where the comparison is another one: the weights do not sum to a positive number."""
        with torch.no_grad():
            weight, bias = norm.weight, norm.bias
            if threshold == 0.5 and not bias.any() and (weight > 0).all():
                return cls(norm.num_groups, norm.eps, None)
            total = weight.sum()
            if not total > 0:
                return None
            score = math.log(threshold / (1 - threshold)) * total
            t = (score - bias * weight) / weight.square()
            # a weight of 0 makes every score of the channel 0
            t.masked_fill_(weight == 0, -math.inf if score < 0 else math.inf)
        return cls(norm.num_groups, norm.eps, t if bool(t.any()) else None)

    def level(self, v: Tensor) -> Tensor:
        """mean + deviation * t of each group of v (n, hw, c), for each channel: (n, 1, c)."""
        hw = v.shape[1]
        mean = self._over_groups(v.sum(1)) / hw
        if self.t is None:
            return mean
        squares = (v - mean).square_().sum(1)
        return torch.addcmul(mean, (self._over_groups(squares) / hw + self.eps).sqrt_(), self.t)

    def _over_groups(self, sums: Tensor) -> Tensor:
        """The average of (n, c) over each group's channels, for each of them: (n, 1, c)."""
        n, c = sums.shape
        average = sums.view(n, self.groups, -1).mean(2, keepdim=True)
        return average.expand(n, self.groups, c // self.groups).reshape(n, 1, c)


def recombine(v: Tensor, level: Tensor, out: Tensor, scratch: tuple[Tensor, Tensor]) -> None:
    """Writes the halves of v (n, hw, c), crosswise: what is informative of one, and not of the
    other.
    """
    half = v.shape[2] // 2
    first, second = (memory[: len(v)] for memory in scratch)
    torch.gt(v, level, out=first).mul_(v)
    torch.sub(v, first, out=second)
    torch.add(first[..., :half], second[..., half:], out=out[..., :half])
    torch.add(first[..., half:], second[..., :half], out=out[..., half:])


def recombine_backward(g: Tensor, v: Tensor, level: Tensor, out: Tensor, scratch: Tensor) -> None:
    """Writes the gradient of v."""
    half = v.shape[2] // 2
    mask = torch.gt(v, level, out=scratch[: len(v)])
    a, b = g[..., :half], g[..., half:]
    torch.lerp(b, a, mask[..., :half], out=out[..., :half])
    torch.lerp(a, b, mask[..., half:], out=out[..., half:])


class Select(torch.autograd.Function):
    """apply(x, gate, weight, bias) -> the SRU of x (n, c, h, w) in channels_last."""

    @staticmethod
    def forward(ctx, x, gate, *affine):  # type: ignore[override]
        v = rows(x)
        y, level = torch.empty_like(v), v.new_empty(len(v), 1, v.shape[2])
        scratch = None
        for i in blocks(v):
            # the same memory for each block, so that it stays in the cache
            scratch = scratch or (torch.empty_like(v[i]), torch.empty_like(v[i]))
            level[i] = gate.level(v[i])
            recombine(v[i], level[i], y[i], scratch)
        ctx.save_for_backward(x, level, *affine)
        return image(y, x.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx, g):  # type: ignore[override]
        x, level, *affine = ctx.saved_tensors
        # DDP waits for a gradient of every parameter that requires one
        zeros = [torch.zeros_like(parameter) for parameter in affine]
        if not ctx.needs_input_grad[0]:
            return None, None, *zeros
        v, g = rows(x), rows(channels_last(g))
        dx = torch.empty_like(v)
        scratch = None
        for i in blocks(v):
            scratch = torch.empty_like(v[i]) if scratch is None else scratch
            recombine_backward(g[i], v[i], level[i], dx[i], scratch)
        return image(dx, x.shape[2:]), None, *zeros
