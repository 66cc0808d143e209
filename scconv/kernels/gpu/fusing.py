"""The forward passes of fuse.py, as Triton programs.

Maps are (n, hw, c); y2 is `point`, of `made` channels, and `low`, of the others. `seen` is
(2, 2, n, parts, c): of y1, then of y2, the means of the parts of images and their squared
differences. A norm is (4, c): mean, 1 / deviation, gain and shift; `norms` has two.
"""

from __future__ import annotations

import triton.language as tl

from scconv.kernels.gpu.moments import block_of, positions_in
from scconv.kernels.gpu.programs import inlined, program


@inlined
def parts_of(numbers, start, rows, c, columns, READ: tl.constexpr):
    """The numbers (READ, columns) of parts of images from `start` on; 0 behind the last."""
    read = start + tl.arange(0, READ)
    there = (read < rows)[:, None] & (columns < c)[None, :]
    return tl.load(numbers + read[:, None] * c + columns[None, :], there, 0.0)


@inlined
def counts_of(start, rows, per, hw, PARTS: tl.constexpr, READ: tl.constexpr):
    """The positions (READ, 1) in parts of images from `start` on."""
    read = start + tl.arange(0, READ)
    return tl.where(read < rows, positions_in(read % PARTS, per, hw), 0.0)[:, None]


@program
def of_batch(
    seen,
    norm,
    running_mean,
    running_var,
    tracked,
    gain,
    shift,
    bias,
    momentum,
    eps,
    rows,
    hw,
    c,
    biased,
    per,
    PARTS: tl.constexpr,
    READ: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Writes a map's norm over the batch, from what was `seen` of its `rows` parts of images, and
    moves the running statistics; the first `biased` channels lack a bias, which the mean gets.
    """
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    wide = columns < c
    positions = rows // PARTS * hw
    m = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, rows, READ):
        count = counts_of(start, rows, per, hw, PARTS, READ)
        m += tl.sum(count * parts_of(seen, start, rows, c, columns, READ), 0)
    m /= positions
    s = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, rows, READ):
        d = parts_of(seen, start, rows, c, columns, READ) - m[None, :]
        inside = parts_of(seen + rows * c, start, rows, c, columns, READ)
        s += tl.sum(inside + counts_of(start, rows, per, hw, PARTS, READ) * d * d, 0)
    tl.store(norm + columns, m, wide)
    tl.store(norm + c + columns, 1.0 / tl.sqrt(s / positions + eps), wide)
    tl.store(norm + 2 * c + columns, tl.load(gain + columns, wide, 0.0), wide)
    tl.store(norm + 3 * c + columns, tl.load(shift + columns, wide, 0.0), wide)

    m += tl.load(bias + columns, columns < biased, 0.0)
    old = tl.load(running_mean + columns, wide, 0.0)
    tl.store(running_mean + columns, old + momentum * (m - old), wide)
    old = tl.load(running_var + columns, wide, 0.0)
    tl.store(running_var + columns, old + momentum * (s / (positions - 1) - old), wide)
    if tl.program_id(0) == 0:
        tl.store(tracked, tl.load(tracked) + 1)


@inlined
def of_channels(numbers, columns, wide):
    """A number for each channel, (1, columns)."""
    return tl.load(numbers + columns, wide, 0.0)[None, :]


@inlined
def line_of(norm, c, columns, wide):
    """Mean, gain / deviation and shift of a norm, (1, columns) each."""
    k = of_channels(norm + c, columns, wide) * of_channels(norm + 2 * c, columns, wide)
    return of_channels(norm, columns, wide), k, of_channels(norm + 3 * c, columns, wide)


@inlined
def normalised(v, norm, c, columns, wide):
    """A map's values (rows, columns) after its norm."""
    m, k, b = line_of(norm, c, columns, wide)
    return (v - m) * k + b


@inlined
def second(point, low, row, columns, there, c, made):
    """The values of y2 at these rows of all images, (rows, 1), and columns."""
    first, others = (columns < made)[None, :], (columns >= made)[None, :]
    at_low = row * (c - made) + (columns - made)[None, :]
    here = tl.load(point + row * made + columns[None, :], there & first, 0.0).to(tl.float32)
    return here + tl.load(low + at_low, there & others, 0.0).to(tl.float32)


@inlined
def average(means, n, c, columns, wide, per, hw, PARTS: tl.constexpr):
    """An image's averages from those of its parts, (1, columns)."""
    parts = tl.arange(0, PARTS)
    at = (n * PARTS + parts)[:, None] * c + columns[None, :]
    count = positions_in(parts, per, hw)[:, None]
    return (tl.sum(count * tl.load(means + at, wide[None, :], 0.0), 0) / hw)[None, :]


@program
def output(
    y1,
    point,
    low,
    seen,
    norms,
    out,
    images,
    hw,
    c,
    made,
    per,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Writes p z1 + (1 - p) z2."""
    n, rows = block_of(hw, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    wide = columns < c
    of_second = seen + 2 * images * PARTS * c
    a1 = average(seen, n, c, columns, wide, per, hw, PARTS)
    a2 = average(of_second, n, c, columns, wide, per, hw, PARTS)
    a1 = normalised(a1, norms, c, columns, wide)
    p = tl.sigmoid(a1 - normalised(a2, norms + 4 * c, c, columns, wide))
    there = (rows < hw)[:, None] & wide[None, :]
    row = n.to(tl.int64) * hw + rows[:, None]
    at = row * c + columns[None, :]
    z1 = tl.load(y1 + at, there, 0.0).to(tl.float32)
    z1 = normalised(z1, norms, c, columns, wide)
    z2 = second(point, low, row, columns, there, c, made)
    z2 = normalised(z2, norms + 4 * c, c, columns, wide)
    tl.store(out + at, p * z1 + (1.0 - p) * z2, there)
