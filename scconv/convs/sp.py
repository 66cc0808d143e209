"""SPConv, split-based convolution: a group-wise k x k over the representative part of the channels,
a cheap 1x1 over the rest.

Q. Zhang et al., "Split to Be Slim: An Overlooked Redundancy in Vanilla Convolution", IJCAI 2020;
alpha = 1/2, two groups. CRU follows its design, with squeezes before it. At stride 2 both 1x1
convolutions work on 2x2 averages; no activation inside.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scconv.convs import keeps_size, like

COST = {"params": 13_632, "macs": 13_631_488}
VERSION = 2  # 1: its convolutions started from torch\'s default


class SP(nn.Module):
    """(n, c1, h, w) -> (n, c2, ceil(h / stride), ceil(w / stride)).

    Raises:
        ValueError: `alpha` leaves one part empty, `groups` does not divide, a stride other than 1
            and 2.
    """

    def __init__(self, conv: nn.Conv2d, alpha: float, groups: int):
        super().__init__()
        keeps_size(conv)
        in_channels, out_channels, stride = conv.in_channels, conv.out_channels, conv.stride[0]
        rich = int(alpha * in_channels + 1e-3)
        if not 0 < rich < in_channels:
            raise ValueError(
                f"`alpha` (={alpha}) must leave channels on both sides of `in_channels` "
                f"(={in_channels}); use alpha=0.5"
            )
        if groups < 1 or rich % groups or out_channels % groups:
            raise ValueError(
                f"`groups` (={groups}) must divide `alpha` * `in_channels` (={rich}) and "
                f"`out_channels` (={out_channels}); use groups=1"
            )
        if stride not in (1, 2):
            raise ValueError(
                f"`stride` (={stride}) must be 1 or 2: the cheap path averages 2x2; keep this "
                "convolution as it is"
            )
        self.split = rich, in_channels - rich
        self.gwc = like(conv, rich, out_channels, groups=groups)
        self.pwc = nn.Conv2d(rich, out_channels, 1, bias=False)
        self.cheap = nn.Conv2d(in_channels - rich, out_channels, 1)
        self.norm_rich, self.norm_cheap = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        self.pool = (
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
            if stride == 2
            else nn.Identity()
        )
        self.average = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        rich, cheap = x.split(self.split, dim=1)
        y1 = self.norm_rich(self.gwc(rich) + self.pwc(self.pool(rich)))  # (n, c2, h2, w2)
        y2 = self.norm_cheap(self.cheap(self.pool(cheap)))  # (n, c2, h2, w2)
        beta1 = (self.average(y1) - self.average(y2)).sigmoid()  # a softmax over two, per channel
        return torch.lerp(y2, y1, beta1)


def drop_in(conv: nn.Conv2d, *, alpha: float = 0.5, groups: int = 2) -> nn.Module:
    """SPConv with the convolution's channels, kernel and stride."""
    return SP(conv, alpha, groups)
