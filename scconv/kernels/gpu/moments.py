"""Means and squared differences of a map's parts, by a Triton program for each part.

Maps are (n, hw, c) in memory. An image's positions are in `parts` parts of `per` each, so that few
images keep a GPU busy too; the last part may be shorter or empty. No sum is by atomic additions, so
that a run repeated has the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from scconv.kernels.gpu.programs import inlined, program

PROGRAMS = 512  # enough for a large GPU's multiprocessors
MOST_PARTS = 32


class Blocks(NamedTuple):
    """How a map of n images, hw positions and c channels is shared out among programs."""

    n: int
    hw: int
    c: int
    rows: int  # positions that a program has at a time
    columns: int  # channels that a program has
    per: int  # positions in a part
    parts: int

    @classmethod
    def of(cls, n: int, hw: int, c: int) -> Blocks:
        columns = min(triton.next_power_of_2(c), 64)
        rows = max(2048 // columns, 16)
        wanted = -(-PROGRAMS // (n * -(-c // columns)))
        parts = triton.next_power_of_2(max(1, min(wanted, -(-hw // rows), MOST_PARTS)))
        per = -(-hw // (parts * rows)) * rows
        return cls(n, hw, c, rows, columns, per, parts)

    @property
    def by_part(self) -> tuple[int, int, int]:
        """Programs where each has a part."""
        return self.n, self.parts, -(-self.c // self.columns)

    @property
    def by_rows(self) -> tuple[int, int]:
        """Programs where each has a block of positions; all blocks are in the first number, since
        others end at 65,535.
        """
        return self.n * -(-self.hw // self.rows), -(-self.c // self.columns)

    def empty(self, like: Tensor, *first: int) -> Tensor:
        """For a number for each part and channel, (*first, n, parts, c)."""
        shape = (*first, self.n, self.parts, self.c)
        return torch.empty(shape, dtype=torch.float32, device=like.device)


def moments(v: Tensor, blocks: Blocks, mean: Tensor, squares: Tensor) -> None:
    """Writes the mean of each part and channel, and the sum of squared differences from it.

    Shapes: v (n, hw, c); mean and squares (n, parts, c), which may be slices of wider ones.
    """
    of = Blocks(*blocks[:2], v.shape[2], *blocks[3:])
    of_parts[of.by_part](
        v, mean, squares, of.hw, of.c, mean.stride(1), of.per, ROWS=of.rows, COLUMNS=of.columns
    )


@inlined
def positions_in(part, per, hw):
    """How many positions are in a part, as a float."""
    return tl.minimum(tl.maximum(hw - part * per, 0), per).to(tl.float32)


@inlined
def block_of(hw, ROWS: tl.constexpr):
    """The image and the positions of a program of `Blocks.by_rows`."""
    blocks = tl.cdiv(hw, ROWS)
    n = tl.program_id(0) // blocks
    return n, (tl.program_id(0) - n * blocks) * ROWS + tl.arange(0, ROWS)


@program
def of_parts(v, mean, squares, hw, c, width, per, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """`mean` and `squares` have `width` numbers for each part."""
    n, part = tl.program_id(0), tl.program_id(1)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    first = part * per
    last = tl.minimum(first + per, hw)
    v += n.to(tl.int64) * hw * c
    count = 0.0
    m = tl.zeros([COLUMNS], tl.float32)
    s = tl.zeros([COLUMNS], tl.float32)
    for start in range(first, last, ROWS):
        rows = start + tl.arange(0, ROWS)
        there = (rows < last)[:, None] & (columns < c)[None, :]
        read = tl.load(v + rows[:, None] * c + columns[None, :], there, 0.0).to(tl.float32)
        new = tl.minimum(last - start, ROWS).to(tl.float32)
        mean_of_new = tl.sum(read, 0) / new
        d = tl.where(there, read - mean_of_new[None, :], 0.0)
        step = mean_of_new - m
        s += tl.sum(d * d, 0) + step * step * (count * new / (count + new))
        m += step * (new / (count + new))
        count += new
    to = (n * tl.num_programs(1) + part) * width + columns
    tl.store(mean + to, m, columns < c)
    tl.store(squares + to, s, columns < c)
