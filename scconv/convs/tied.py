"""Tied block convolution: one set of filters shared by all `blocks` equal parts of the channels.

X. Wang, S. X. Yu, "Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters",
AAAI 2021; B = 2 in the SCConv paper's tables. With 2 blocks: a quarter of the weights, half of the
multiply-adds.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scconv.convs import divides, like

COST = {"params": 9_216, "macs": 18_874_368}
VERSION = 2  # 1: its convolutions started from torch\'s default


class Tied(nn.Module):
    """(n, c1, h, w) -> (n, c2, h / stride, w / stride), the blocks' outputs side by side."""

    def __init__(self, conv: nn.Conv2d, blocks: int, bias: bool):
        super().__init__()
        self.blocks = blocks
        self.conv = like(conv, conv.in_channels // blocks, conv.out_channels // blocks, bias=bias)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return torch.cat([self.conv(part) for part in x.chunk(self.blocks, dim=1)], dim=1)


def drop_in(conv: nn.Conv2d, *, blocks: int = 2, bias: bool | None = None) -> nn.Module:
    """The convolution's channels in `blocks` parts under one shared filter.

    `bias` None keeps a bias where the convolution has one.

    Raises:
        ValueError: `blocks` does not divide both channel counts.
    """
    divides("blocks", blocks, conv)
    return Tied(conv, blocks, conv.bias is not None if bias is None else bias)
