"""BatchNorm, an addition and ReLU as one function: act(norm(x) + side), the side being optional.

In the layers each of the three reads a map and writes one, in the backward too. Here the map is
read for its statistics and read once more to write the output. The backward has to know what ReLU
let through: behind an addition it sees that from the output, which is kept; else from x.

Maps are (n, hw, c) with k positions side by side (rows.py), numbers per channel (c,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.kernels import numbers
from scconv.kernels.compiled import compiled
from scconv.kernels.conditions import as_built, plain, possible
from scconv.kernels.layers import BUFFERS, usual
from scconv.kernels.loops import ROWS, fold, tile
from scconv.kernels.rows import array, moments, wide
from scconv.kernels.views import channels_last, image, rows


def norm_act(norm: Any, act: Any, x: Tensor, side: Tensor | None) -> Tensor | None:
    """act(norm(x) + side) for a possible x; None where the layers have to be run."""
    if not _fits(norm, act, x, side):
        return None
    gain, shift = norm.weight, norm.bias
    if norm.training:
        return NormAct.apply(x, side, norm, gain, shift)
    scale = array(gain) / np.sqrt(array(norm.running_var) + norm.eps)
    return _output(x, side, scale, array(shift) - scale * array(norm.running_mean))


def _fits(norm: Any, act: Any, x: Tensor, side: Tensor | None) -> bool:
    """Whether the kernel computes what the layers would."""
    if type(norm) is not nn.BatchNorm2d or not usual(norm):
        return False
    if act is not F.relu and not (type(act) is nn.ReLU and as_built([act], x)):
        return False
    own, c = norm._parameters | norm._buffers, (x.shape[1],)
    shapes = [None if t is None else t.shape for t in own.values()]
    if [*own] != ["weight", "bias", *BUFFERS] or shapes != [c, c, c, c, ()]:
        return False
    maps = [x] if side is None else [x, side]
    if not as_built([norm], x) or not all(_is_map(t, x) for t in maps):
        return False
    if norm.training:
        return x.shape[0] * x.shape[2] * x.shape[3] > 1
    learned = (*maps, norm.weight, norm.bias)
    return not (torch.is_grad_enabled() and any(t.requires_grad for t in learned))


def _is_map(t: Any, like: Tensor) -> bool:
    """Of the same shape and type, in channels_last: other layouts would have to be copied."""
    alike = t is like or (possible(t) and t.shape == like.shape and t.dtype == like.dtype)
    return alike and t.is_contiguous(memory_format=torch.channels_last)


class NormAct(torch.autograd.Function):
    """apply(x, side, norm, gain, shift) -> ReLU of the norm over the batch of x, plus the side."""

    @staticmethod
    def forward(ctx, x, side, norm, gain, shift):  # type: ignore[override]
        v = rows(x)
        n, hw, c = v.shape
        seen, line = np.empty((2, 2, c), array(gain).dtype)
        numbers.normalised(moments(v), hw, norm.eps, array(gain), array(shift), *seen, *line)
        buffers = [norm._buffers[name] for name in BUFFERS]
        no_bias = np.zeros_like(seen[0])
        numbers.track(*map(array, buffers), *seen, no_bias, norm.momentum, n * hw)
        torch.autograd.graph.increment_version(buffers[2:])
        out = _output(x, side, *line)
        ctx.eps, ctx.seen, ctx.line = norm.eps, seen, line
        # behind a sum, the output says what passed ReLU
        ctx.save_for_backward(x, gain, *(() if side is None else (out,)))
        return out

    @staticmethod
    def backward(ctx, g):  # type: ignore[override]
        x, gain, *of_sum = ctx.saved_tensors
        if torch.is_grad_enabled() or not possible(g):
            return _by_layers(ctx, x, gain, *of_sum, g=g)
        # whoever packs saved tensors may return them in another layout
        v, d = rows(channels_last(x)), rows(channels_last(g))
        n, hw, c = v.shape
        sums, coefficients = np.empty((2, n, c), ctx.seen.dtype), np.empty((3, c), ctx.seen.dtype)
        grads, line, seen_v = np.empty((2, c), ctx.seen.dtype), ctx.line, wide(v)
        to_sums = ctx.seen[0], *sums
        if of_sum:
            passed = torch.empty_like(v, memory_format=torch.contiguous_format)
            maps = wide(d), seen_v, wide(rows(channels_last(of_sum[0]))), wide(passed)
            passed_products.over_images(n, seen_v.size, *maps, *to_sums)
            d, line = passed, line[:, :0]
        else:
            rectified_products.over_images(n, seen_v.size, wide(d), seen_v, *line, *to_sums)
        numbers.through_a_norm(sums, hw, *ctx.seen, array(gain), ctx.eps, *coefficients, grads)
        dx = torch.empty_like(v, memory_format=torch.contiguous_format)
        maps = wide(d), seen_v, *line, *coefficients, wide(dx)
        rectified_gradient.over_images(n, seen_v.size, *maps)
        of_side = image(d, x.shape[2:]) if of_sum else None
        return image(dx, x.shape[2:]), of_side, None, *map(torch.from_numpy, grads)


def _by_layers(
    ctx: Any, x: Tensor, gain: Tensor, out: Tensor | None = None, *, g: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients by torch's own: with a graph, for a second derivative; or of many at once."""
    with torch.enable_grad(), plain():
        if out is None:
            scale, shift = (torch.from_numpy(t)[:, None, None] for t in ctx.line)
            out = scale * x.detach() + shift
        y = F.batch_norm(x, None, None, gain, None, True, 0.0, ctx.eps)
        wanted = [i for i in (0, 3) if ctx.needs_input_grad[i]]
    # chosen, not multiplied: an infinite gradient that does not pass is none
    passed = torch.where(out.detach() <= 0, torch.zeros((), dtype=x.dtype), g)
    found: dict[int, Tensor | None] = {1: passed, 4: passed.sum((0, 2, 3))}
    if wanted:
        inputs, graph = [{0: x, 3: gain}[i] for i in wanted], torch.is_grad_enabled()
        of_y = torch.autograd.grad(y, inputs, passed, create_graph=graph)
        found |= dict(zip(wanted, of_y, strict=True))
    return tuple(found.get(i) if ctx.needs_input_grad[i] else None for i in range(5))


def _output(x: Tensor, side: Tensor | None, scale: np.ndarray, shift: np.ndarray) -> Tensor:
    out = torch.empty_like(x)
    seen = wide(rows(x))
    beside = seen[:0] if side is None else wide(rows(side))
    maps = seen, beside, scale, shift, wide(rows(out))
    rectified.over_images(len(seen), seen.size, *maps)
    return out


@compiled
def rectified(start, stop, v, side, scale, shift, out):
    """Writes what is positive of scale * v + shift + side; `side` may be empty."""
    rows, width, zero = v.shape[1], v.shape[2], v.dtype.type(0)
    a, b = np.empty(width, v.dtype), np.empty(width, v.dtype)
    tile(scale, a)
    tile(shift, b)
    for n in range(start, stop):
        for row in range(rows):
            if len(side):
                for j in range(width):
                    y = a[j] * v[n, row, j] + b[j] + side[n, row, j]
                    out[n, row, j] = zero if y <= zero else y
            else:
                for j in range(width):
                    y = a[j] * v[n, row, j] + b[j]
                    out[n, row, j] = zero if y <= zero else y


@compiled
def rectified_products(start, stop, g, v, scale, shift, mean, of_d, of_both):
    """Each image's sums of d and of d * (v - mean) of each channel; d is g where scale * v + shift
    passes ReLU.
    """
    rows, width, zero = v.shape[1], v.shape[2], v.dtype.type(0)
    a, b, centre = np.empty(width, v.dtype), np.empty(width, v.dtype), np.empty(width, v.dtype)
    tile(scale, a)
    tile(shift, b)
    tile(mean, centre)
    part1, part2 = np.empty(width, v.dtype), np.empty(width, v.dtype)
    total1, total2 = np.empty(width, np.float64), np.empty(width, np.float64)
    for n in range(start, stop):
        total1[:] = 0
        total2[:] = 0
        for first in range(0, rows, ROWS):
            part1[:] = 0
            part2[:] = 0
            for row in range(first, min(first + ROWS, rows)):
                for j in range(width):
                    d = zero if a[j] * v[n, row, j] + b[j] <= zero else g[n, row, j]
                    part1[j] += d
                    part2[j] += d * (v[n, row, j] - centre[j])
            for j in range(width):
                total1[j] += part1[j]
                total2[j] += part2[j]
        fold(total1, of_d[n])
        fold(total2, of_both[n])


@compiled
def passed_products(start, stop, g, v, out, d, mean, of_d, of_both):
    """Writes d, which is g where the output passed ReLU, and its sums as `rectified_products`."""
    rows, width, zero = v.shape[1], v.shape[2], v.dtype.type(0)
    centre = np.empty(width, v.dtype)
    tile(mean, centre)
    part1, part2 = np.empty(width, v.dtype), np.empty(width, v.dtype)
    total1, total2 = np.empty(width, np.float64), np.empty(width, np.float64)
    for n in range(start, stop):
        total1[:] = 0
        total2[:] = 0
        for first in range(0, rows, ROWS):
            part1[:] = 0
            part2[:] = 0
            for row in range(first, min(first + ROWS, rows)):
                for j in range(width):
                    passed = zero if out[n, row, j] <= zero else g[n, row, j]
                    d[n, row, j] = passed
                    part1[j] += passed
                    part2[j] += passed * (v[n, row, j] - centre[j])
            for j in range(width):
                total1[j] += part1[j]
                total2[j] += part2[j]
        fold(total1, of_d[n])
        fold(total2, of_both[n])


@compiled
def rectified_gradient(start, stop, d, v, scale, shift, of_d, of_v, rest, out):
    """Writes of_d * d + of_v * v + rest; d is 0 where scale * v + shift does not pass ReLU, unless
    both are empty.
    """
    rows, width, zero = v.shape[1], v.shape[2], v.dtype.type(0)
    a, b = np.empty(width, v.dtype), np.empty(width, v.dtype)
    e, f, h = np.empty(width, v.dtype), np.empty(width, v.dtype), np.empty(width, v.dtype)
    masks = len(scale) > 0
    if masks:
        tile(scale, a)
        tile(shift, b)
    tile(of_d, e)
    tile(of_v, f)
    tile(rest, h)
    for n in range(start, stop):
        for row in range(rows):
            if masks:
                for j in range(width):
                    passed = zero if a[j] * v[n, row, j] + b[j] <= zero else d[n, row, j]
                    out[n, row, j] = e[j] * passed + f[j] * v[n, row, j] + h[j]
            else:
                for j in range(width):
                    out[n, row, j] = e[j] * d[n, row, j] + f[j] * v[n, row, j] + h[j]
