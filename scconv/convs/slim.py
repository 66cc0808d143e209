"""SlimConv: reweigh the channels two opposite ways, fold each way onto fewer channels, transform
the two folds unequally.

J. Qiu et al., "SlimConv: Reducing Channel Redundancy in Convolutional Neural Networks by Weights
Flipping", IEEE TIP 2021. `k` is the paper's
compression: "1" keeps the output's channels, "4/3" makes three quarters and "8/3" three eighths of
    them, and the block's next
convolution is narrowed to that. No convolution has a bias but the last of the two that make the
weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scconv.convs import like

COST = {"params": 15_080, "macs": 14_680_576}
VERSION = 2  # 1: its convolutions started from torch\'s default


class Slim(nn.Module):
    """(n, c1, h, w) -> (n, out_channels, h / stride, w / stride).

    Raises:
        ValueError: `k` is unknown, or the channels cannot be divided as it asks.
    """

    def __init__(self, conv: nn.Conv2d, k: str):
        super().__init__()
        c1, c2 = conv.in_channels, conv.out_channels
        # folds, upper width, inner and outer lower width, reduction of the weights' bottleneck
        ways = {
            "1": (2, c2 // 2, c1 // 4, c2 // 2, 16),
            "4/3": (2, c2 // 2, c2 // 4, c2 // 4, 32),
            "8/3": (4, c2 // 4, c2 // 8, c2 // 8, 32),
        }
        if k not in ways:
            raise ValueError(f"`k` (={k!r}) must be one of {', '.join(ways)}")
        self.folds, upper, inner, outer, ratio = ways[k]
        for name, channels in (("in_channels", c1), ("out_channels", c2)):
            if channels % 8:
                raise ValueError(
                    f"`{name}` (={channels}) must be divisible by 8; use {8 * (channels // 8 + 1)}"
                )
        hidden, folded = max(1, c1 // ratio), c1 // self.folds
        self.out_channels = upper + outer
        self.average = nn.AdaptiveAvgPool2d(1)
        self.weigh = nn.Sequential(
            nn.Conv2d(c1, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, c1, 1),
            nn.Sigmoid(),
        )
        self.upper = nn.Sequential(like(conv, folded, upper), nn.BatchNorm2d(upper))
        self.lower = nn.Sequential(
            nn.Conv2d(folded, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            like(conv, inner, outer),
            nn.BatchNorm2d(outer),
        )

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        w = self.weigh(self.average(x))  # (n, c1, 1, 1)
        return torch.cat(
            (self.upper(self._fold(x * w)), self.lower(self._fold(x * w.flip(1)))), dim=1
        ).relu()

    def _fold(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c h w"]:
        return torch.stack(x.chunk(self.folds, dim=1)).sum(0)


def drop_in(conv: nn.Conv2d, *, k: str = "1") -> nn.Module:
    """SlimConv of compression `k`, of the convolution's kernel and stride."""
    return Slim(conv, k)
