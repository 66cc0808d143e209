"""Ghost module: half of the output by a 1x1 convolution, the other half from it by a cheap
depthwise 3x3.

K. Han et al., "GhostNet: More Features from Cheap Operations", CVPR 2020; ratio s = 2. The primary
convolution is 1x1, as in GhostNet itself, whatever the kernel of the convolution replaced; it takes
the stride.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scconv.convs import keeps_size

COST = {"params": 2_464, "macs": 2_392_064}
VERSION = 2  # 1: its convolutions started from torch\'s default


class Ghost(nn.Module):
    """(n, c1, h, w) -> (n, c2, h / stride, w / stride).

    Raises:
        ValueError: out_channels is odd.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        padding_mode: str = "zeros",
    ):
        super().__init__()
        if out_channels % 2:
            raise ValueError(
                f"`out_channels` (={out_channels}) must be even: half of it is made from the other "
                f"half; use {out_channels + 1}"
            )
        half = out_channels // 2
        self.primary = nn.Sequential(
            nn.Conv2d(in_channels, half, 1, stride, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )
        self.cheap = nn.Sequential(
            nn.Conv2d(
                half,
                half,
                3,
                1,
                dilation,
                dilation,
                half,
                bias=False,
                padding_mode=padding_mode,  # type: ignore[arg-type]
            ),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = self.primary(x)  # (n, c2/2, h2, w2)
        return torch.cat((y, self.cheap(y)), dim=1)


def drop_in(conv: nn.Conv2d) -> nn.Module:
    """A Ghost module with the convolution's channels, stride, dilation and padding mode."""
    keeps_size(conv)
    return Ghost(
        conv.in_channels,
        conv.out_channels,
        conv.stride[0],
        dilation=conv.dilation[0],
        padding_mode=conv.padding_mode,
    )
