"""The backward passes of fuse.py, as Triton programs; maps and norms as in fusing.py.

With d the gradient of the output, the first map's norm gets p d + step and the second one's
(1 - p) d - step, where step is the gradient of the difference of both averages over the positions.
`sums` is (3, n, parts, c): of d, d (y1 - its mean) and d (y2 - its mean). `weights` is (2, n, c): p
and step. `grads` is (4, c): of gain and shift of the first norm, and of the second.
"""

from __future__ import annotations

import triton.language as tl

from scconv.kernels.gpu.fusing import line_of, of_channels, second
from scconv.kernels.gpu.moments import block_of, positions_in
from scconv.kernels.gpu.programs import inlined, program


@program
def products(
    g,
    y1,
    point,
    low,
    norms,
    sums,
    hw,
    c,
    made,
    per,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Writes the sums of each part."""
    n, part = tl.program_id(0), tl.program_id(1)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    wide = columns < c
    m1, m2 = of_channels(norms, columns, wide), of_channels(norms + 4 * c, columns, wide)
    s0 = tl.zeros([COLUMNS], tl.float32)
    s1 = tl.zeros([COLUMNS], tl.float32)
    s2 = tl.zeros([COLUMNS], tl.float32)
    last = tl.minimum(part * per + per, hw)
    for start in range(part * per, last, ROWS):
        rows = start + tl.arange(0, ROWS)
        there = (rows < last)[:, None] & wide[None, :]
        row = n.to(tl.int64) * hw + rows[:, None]
        at = row * c + columns[None, :]
        d = tl.load(g + at, there, 0.0).to(tl.float32)
        v1 = tl.load(y1 + at, there, 0.0).to(tl.float32)
        v2 = second(point, low, row, columns, there, c, made)
        s0 += tl.sum(d, 0)
        s1 += tl.sum(d * (v1 - m1), 0)
        s2 += tl.sum(d * (v2 - m2), 0)
    apart = tl.num_programs(0) * tl.num_programs(1) * c
    to = sums + (n * tl.num_programs(1) + part) * c + columns
    tl.store(to, s0, wide)
    tl.store(to + apart, s1, wide)
    tl.store(to + 2 * apart, s2, wide)


@inlined
def over_parts(numbers, at, read, count):
    """Sums over the parts of images, (images, columns); `at` and `read` have the parts between."""
    return tl.sum(count * tl.load(numbers + at, read, 0.0), 1)


@program
def finish(
    seen,
    sums,
    norms,
    weights,
    grads,
    images,
    hw,
    c,
    per,
    PARTS: tl.constexpr,
    IMAGES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Writes weights and grads."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    wide, apart = columns < c, images * PARTS * c
    m1, k1, b1 = line_of(norms, c, columns, wide)
    m2, k2, b2 = line_of(norms + 4 * c, c, columns, wide)
    gain1 = tl.zeros([1, COLUMNS], tl.float32)
    shift1, gain2, shift2 = gain1, gain1, gain1
    parts = tl.arange(0, PARTS)
    share = positions_in(parts, per, hw)[None, :, None] / hw
    for start in range(0, images, IMAGES):
        n = start + tl.arange(0, IMAGES)
        there = (n < images)[:, None] & wide[None, :]
        read = (n < images)[:, None, None] & (parts >= 0)[None, :, None] & wide[None, None, :]
        at = (n[:, None] * PARTS + parts[None, :])[:, :, None] * c + columns[None, None, :]
        a1 = over_parts(seen, at, read, share) - m1
        a2 = over_parts(seen + 2 * apart, at, read, share) - m2
        # 0 where there is no image, and so is all that is summed
        g0 = over_parts(sums, at, read, 1.0)
        g1 = over_parts(sums + apart, at, read, 1.0)
        g2 = over_parts(sums + 2 * apart, at, read, 1.0)
        p = tl.sigmoid((k1 * a1 + b1) - (k2 * a2 + b2))
        d = p * (1.0 - p) * ((k1 * g1 + b1 * g0) - (k2 * g2 + b2 * g0))
        gain1 += tl.sum(p * g1 + d * a1, 0, keep_dims=True)
        shift1 += tl.sum(p * g0 + d, 0, keep_dims=True)
        gain2 += tl.sum((1.0 - p) * g2 - d * a2, 0, keep_dims=True)
        shift2 += tl.sum((1.0 - p) * g0 - d, 0, keep_dims=True)
        to = weights + n[:, None] * c + columns[None, :]
        tl.store(to, p, there)
        tl.store(to + images * c, d / hw, there)
    to, here = grads + columns[None, :], wide[None, :]
    tl.store(to, gain1 * of_channels(norms + c, columns, wide), here)
    tl.store(to + c, shift1, here)
    tl.store(to + 2 * c, gain2 * of_channels(norms + 5 * c, columns, wide), here)
    tl.store(to + 3 * c, shift2, here)


@inlined
def through_norm(d, v, norm, grads, positions, c, columns, wide):
    """The gradient of a map for that of its norm's output, d."""
    r = of_channels(norm + c, columns, wide)
    centred = (v - of_channels(norm, columns, wide)) * r
    of_gain = of_channels(grads, columns, wide) / positions
    of_shift = of_channels(grads + c, columns, wide) / positions
    return r * of_channels(norm + 2 * c, columns, wide) * (d - of_shift - centred * of_gain)


@program
def gradients(
    g,
    y1,
    point,
    low,
    norms,
    weights,
    grads,
    d_y1,
    d_point,
    d_low,
    images,
    hw,
    c,
    made,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Writes the gradients of y1 and y2."""
    n, rows = block_of(hw, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    wide = columns < c
    there = (rows < hw)[:, None] & wide[None, :]
    row, positions = n.to(tl.int64) * hw + rows[:, None], images * hw
    at = row * c + columns[None, :]
    d = tl.load(g + at, there, 0.0).to(tl.float32)
    v1 = tl.load(y1 + at, there, 0.0).to(tl.float32)
    v2 = second(point, low, row, columns, there, c, made)
    p = of_channels(weights + n * c, columns, wide)
    step = of_channels(weights + (images + n) * c, columns, wide)
    d1, d2 = p * d + step, (1.0 - p) * d - step
    d1 = through_norm(d1, v1, norms, grads, positions, c, columns, wide)
    d2 = through_norm(d2, v2, norms + 4 * c, grads + 2 * c, positions, c, columns, wide)
    tl.store(d_y1 + at, d1, there)
    first, others = (columns < made)[None, :], (columns >= made)[None, :]
    tl.store(d_point + row * made + columns[None, :], d2, there & first)
    tl.store(d_low + row * (c - made) + (columns - made)[None, :], d2, there & others)
