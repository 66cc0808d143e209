"""The CRU's end on a GPU (equation 8): both norms, both averages, the softmax and the sum.

The output is p z1 + (1 - p) z2, where z = gain (y - mean) / deviation + shift of each map and
p = sigmoid(the average of z1 - the average of z2) per image and channel. The averages follow from
the maps' own, so both maps are read once for their moments and once more to write the output; the
backward reads them and the gradient twice.

The second map is in two places, what `pwc2` made and the squeezed lower part, which is kept:
nothing is concatenated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scconv.kernels.gpu import fusing, fusing_backward
from scconv.kernels.gpu.moments import Blocks, moments
from scconv.kernels.layers import BUFFERS
from scconv.kernels.views import channels_last, empty_map, image, rows

PARTS = 64  # parts of images that a program reads at a time where it reads those of all images
CHANNELS = 16  # that it reads them of


class Maps(NamedTuple):
    """Rows of y1, (n, hw, c), and of the second map's channels; `low` is `point` if it has all."""

    y1: Tensor
    point: Tensor
    low: Tensor

    @classmethod
    def of(cls, y1: Tensor, point: Tensor, low: Tensor | None) -> Maps:
        # whoever packs saved tensors may return them in another layout
        seen = (rows(channels_last(t)) for t in (y1, point, point if low is None else low))
        return cls(*seen)

    def moments(self) -> tuple[Blocks, Tensor]:
        """Means and squared differences of y1 and of the second map, (2, 2, n, parts, c)."""
        y1, point, low = self
        blocks = Blocks.of(*y1.shape)
        seen, made = blocks.empty(y1, 2, 2), point.shape[2]
        moments(y1, blocks, *seen[0])
        moments(point, blocks, *seen[1, ..., :made])
        if made < blocks.c:
            moments(low, blocks, *seen[1, ..., made:])
        return blocks, seen


class Fuse(torch.autograd.Function):
    """apply(y1, point, low, norms, bias, *affine, *cancelled) -> the output.

    Shapes: y1 and the output (n, c, h, w); point and low are the second map's channels, or point
    has all and low is None; all in channels_last. `norms`: the two nn.BatchNorm2d, whose running
    statistics move. `bias` is what was left out of `point`. `affine`: gain and shift of the one,
    gain and shift of the other. `cancelled`: parameters that change nothing.
    """

    @staticmethod
    def forward(ctx, y1, point, low, norms, bias, *parameters):  # type: ignore[override]
        maps = Maps.of(y1, point, low)
        blocks, seen = maps.moments()
        made = seen.new_empty(2, 4, blocks.c)
        for i, left_out in enumerate((bias[:0], bias)):
            _of_batch(blocks, seen[i], made[i], norms[i], left_out)
        ctx.blocks = blocks
        ctx.cancelled = parameters[4:]
        ctx.save_for_backward(y1, point, low, seen, made)
        return _output(maps, blocks, seen, made, y1.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx, g):  # type: ignore[override]
        y1, point, low, seen, norms = ctx.saved_tensors
        maps, d, of, size = Maps.of(y1, point, low), rows(channels_last(g)), ctx.blocks, g.shape[2:]
        counts, blocks = (
            (of.hw, of.c, maps.point.shape[2]),
            {"ROWS": of.rows, "COLUMNS": of.columns},
        )
        sums, grads = of.empty(d, 3), seen.new_empty(4, of.c)
        weights = seen.new_empty(2, of.n, of.c)
        fusing_backward.products[of.by_part](d, *maps, norms, sums, *counts, of.per, **blocks)
        fusing_backward.finish[-(-of.c // CHANNELS),](
            *(seen, sums, norms, weights, grads, of.n, of.hw, of.c, of.per),
            PARTS=of.parts,
            IMAGES=max(1, PARTS // of.parts),
            COLUMNS=CHANNELS,
        )
        d_maps = [torch.empty_like(t) for t in maps[: 2 if low is None else 3]]
        fusing_backward.gradients[of.by_rows](
            *(d, *maps, norms, weights, grads, *d_maps[:2], d_maps[-1]),
            *(of.n, *counts),
            **blocks,
        )
        of_maps = [image(t, size) for t in d_maps]
        of_maps += [None] * (3 - len(of_maps))
        cancelled = (torch.zeros_like(t) for t in ctx.cancelled)
        return (*of_maps, None, None, *grads, *cancelled)


def infer(y1: Tensor, point: Tensor, low: Tensor | None, norms: tuple[Any, ...]) -> Tensor:
    """The output by the running statistics, without gradients."""
    maps = Maps.of(y1, point, low)
    of_both = [
        t
        for norm in norms
        for t in (norm.running_mean, (norm.running_var + norm.eps).rsqrt(), norm.weight, norm.bias)
    ]
    return _output(maps, *maps.moments(), torch.stack(of_both), y1.shape[2:])


def _of_batch(blocks: Blocks, seen: Tensor, made: Tensor, norm: Any, bias: Tensor) -> None:
    """Writes a map's norm over the batch, (4, c); the running statistics move."""
    buffers = [norm._buffers[name] for name in BUFFERS]
    fusing.of_batch[-(-blocks.c // CHANNELS),](
        *(seen, made, *buffers, norm.weight, norm.bias, bias, norm.momentum, norm.eps),
        *(blocks.n * blocks.parts, blocks.hw, blocks.c, len(bias), blocks.per),
        PARTS=blocks.parts,
        READ=PARTS,
        COLUMNS=CHANNELS,
    )
    # of this one alone, as torch does
    torch.autograd.graph.increment_version(buffers[2:])


def _output(
    maps: Maps, blocks: Blocks, seen: Tensor, norms: Tensor, size: tuple[int, ...]
) -> Tensor:
    out, of = empty_map(maps.y1, size), blocks
    fusing.output[of.by_rows](
        *(*maps, seen, norms, rows(out), of.n, of.hw, of.c, maps.point.shape[2], of.per),
        PARTS=of.parts,
        ROWS=of.rows,
        COLUMNS=of.columns,
    )
    return out
