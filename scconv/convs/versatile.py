"""Versatile convolution (spatial): every k x k filter serves a second time with its centre alone,
as a 1x1 filter.

Y. Wang et al., "Learning Versatile Filters for Efficient Convolutional Neural Networks", NeurIPS
2018. Half of the output channels are
those of the filters, the other half of their centres. The counts printed in the SCConv paper's
Table 3 (18.7M, 1.80G) are not those of this definition: the authors compress further, by versatile
channels too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.convs import keeps_size, like

COST = {"params": 18_432, "macs": 20_971_520}
VERSION = 2  # 1: its convolutions started from torch\'s default


class Versatile(nn.Module):
    """(n, c1, h, w) -> (n, c2, h / stride, w / stride).

    Raises:
        ValueError: out_channels is odd, or the convolution does not keep the size.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        if conv.out_channels % 2:
            raise ValueError(
                f"`out_channels` (={conv.out_channels}) must be even: every filter makes two; use "
                f"{conv.out_channels + 1}"
            )
        keeps_size(conv)
        self.conv = like(conv, conv.in_channels, conv.out_channels // 2)
        # one number per output channel, since both halves have their own
        self.bias = nn.Parameter(torch.zeros(conv.out_channels)) if conv.bias is not None else None

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        i, j = (k // 2 for k in self.conv.kernel_size)
        centre = self.conv.weight[:, :, i : i + 1, j : j + 1]
        y = torch.cat((self.conv(x), F.conv2d(x, centre, stride=self.conv.stride)), dim=1)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)


def drop_in(conv: nn.Conv2d) -> nn.Module:
    """Versatile filters with the convolution's channels, kernel and stride."""
    return Versatile(conv)
