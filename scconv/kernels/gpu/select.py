"""The SRU with a hard gate (equations 1 to 4) on a GPU: an image's statistics, then one pass that
compares and selects.

    score = importance * (weight * (x - mean) / deviation + bias)

is of_x * x + rest with numbers per image and channel, which are kept: the backward compares again.
The masks multiply by 0 and 1, as the layers do, so that what is not finite spreads as there.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from scconv.kernels.gpu.moments import Blocks, block_of, moments, positions_in
from scconv.kernels.gpu.programs import inlined, program
from scconv.kernels.views import channels_last, empty_map, image, rows


class Select(torch.autograd.Function):
    """apply(x, weight, bias, groups, eps, threshold) -> the SRU of x (n, c, h, w), which is in
    channels_last. `weight` and `bias` are those of GroupNorm.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps, threshold):  # type: ignore[override]
        v = rows(x)
        blocks = Blocks.of(*v.shape)
        seen = blocks.empty(v, 2)
        moments(v, blocks, *seen)
        line = torch.empty(2, len(v), v.shape[2], dtype=torch.float32, device=v.device)
        n, c = line.shape[1:]
        lines[n, -(-c // 16)](
            *(*seen, weight, bias, *line),
            *(blocks.hw, c, blocks.per, c // groups, eps),
            PARTS=blocks.parts,
            ALL=triton.next_power_of_2(c),
        )
        y, limit = empty_map(v, x.shape[2:]), math.log(threshold / (1 - threshold))
        of = Blocks.of(n, blocks.hw, c // 2)
        select[of.by_rows](v, *line, rows(y), limit, of.hw, of.c, ROWS=of.rows, COLUMNS=of.columns)
        ctx.limit = limit
        ctx.affine = weight, bias
        ctx.save_for_backward(x, line)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, g):  # type: ignore[override]
        x, line = ctx.saved_tensors
        # DDP waits for a gradient of every parameter that requires one
        zeros = [torch.zeros_like(t) if t.requires_grad else None for t in ctx.affine]
        if not ctx.needs_input_grad[0]:
            return None, *zeros, None, None, None
        # whoever packs saved tensors may return them in another layout
        v, d = rows(channels_last(x)), rows(channels_last(g))
        dx, n, c = torch.empty_like(v), len(v), v.shape[2]
        of = Blocks.of(n, v.shape[1], c // 2)
        sizes = {"ROWS": of.rows, "COLUMNS": of.columns}
        select_backward[of.by_rows](d, v, *line, dx, ctx.limit, of.hw, of.c, **sizes)
        return image(dx, x.shape[2:]), *zeros, None, None, None


@program
def lines(
    mean,
    squares,
    weight,
    bias,
    of_x,
    rest,
    hw,
    c,
    per,
    deep,
    eps,
    PARTS: tl.constexpr,
    ALL: tl.constexpr,
):
    """Writes of_x and rest of 16 channels of one image; a group has `deep` channels."""
    n = tl.program_id(0)
    columns = tl.program_id(1) * 16 + tl.arange(0, 16)
    there = columns < c
    parts = tl.arange(0, PARTS)
    counts = positions_in(parts, per, hw)[:, None]
    group = columns // deep * deep
    at = (n * PARTS + parts)[:, None] * c + group[None, :]
    m = tl.zeros([16], tl.float32)
    for i in range(deep):
        m += tl.sum(counts * tl.load(mean + at + i, there[None, :], 0.0), 0)
    m /= hw * deep
    s = tl.zeros([16], tl.float32)
    for i in range(deep):
        d = tl.load(mean + at + i, there[None, :], 0.0) - m[None, :]
        s += tl.sum(tl.load(squares + at + i, there[None, :], 0.0) + counts * d * d, 0)
    deviation = tl.sqrt(s / (hw * deep) + eps)

    every = tl.arange(0, ALL)
    total = tl.sum(tl.load(weight + every, every < c, 0.0).to(tl.float32), 0)
    gain = tl.load(weight + columns, there, 0.0).to(tl.float32)
    shift = tl.load(bias + columns, there, 0.0).to(tl.float32)
    importance = gain / tl.where(total == 0, 1.0, total)  # equation 1
    scale = gain / deviation
    tl.store(of_x + n * c + columns, scale * importance, there)
    tl.store(rest + n * c + columns, (shift - m * scale) * importance, there)


@inlined
def informative(x, of_x, rest, at, limit, there):
    """1 where a value is informative, else 0; `at` is each channel's place in of_x and rest."""
    a = tl.load(of_x + at, there, 0.0)[None, :]
    b = tl.load(rest + at, there, 0.0)[None, :]
    return (x * a + b > limit).to(tl.float32)


@inlined
def halves(x, of_x, rest, limit, hw, half, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Where a program's values of the first half of the channels are and whether they exist, those
    values and their masks, and those of the other half; `half` channels are half of all.
    """
    n, rows = block_of(hw, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    wide = columns < half
    there = (rows < hw)[:, None] & wide[None, :]
    at = n.to(tl.int64) * hw * half * 2 + rows[:, None] * half * 2 + columns[None, :]
    x1 = tl.load(x + at, there, 0.0).to(tl.float32)
    x2 = tl.load(x + at + half, there, 0.0).to(tl.float32)
    w1 = informative(x1, of_x, rest, n * half * 2 + columns, limit, wide)
    w2 = informative(x2, of_x, rest, n * half * 2 + half + columns, limit, wide)
    return at, there, x1, w1, x2, w2


@program
def select(x, of_x, rest, y, limit, hw, half, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Writes the informative values plus those of the other half that are not."""
    at, there, x1, w1, x2, w2 = halves(x, of_x, rest, limit, hw, half, ROWS, COLUMNS)
    tl.store(y + at, w1 * x1 + (1 - w2) * x2, there)
    tl.store(y + at + half, (1 - w1) * x1 + w2 * x2, there)


@program
def select_backward(
    g, x, of_x, rest, dx, limit, hw, half, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Writes the gradient of x for that of the output."""
    at, there, _, w1, _, w2 = halves(x, of_x, rest, limit, hw, half, ROWS, COLUMNS)
    g1 = tl.load(g + at, there, 0.0).to(tl.float32)
    g2 = tl.load(g + at + half, there, 0.0).to(tl.float32)
    tl.store(dx + at, w1 * g1 + (1 - w1) * g2, there)
    tl.store(dx + at + half, (1 - w2) * g1 + w2 * g2, there)
