"""Depthwise separable convolution: a k x k filter per channel, then a 1x1 convolution across
channels.

L. Sifre, "Rigid-Motion Scattering for Image Classification", 2014; A. Howard et al., "MobileNets",
2017, whose order (depthwise, BatchNorm, ReLU, point-wise) this is; the BatchNorm and ReLU after the
point-wise part are the block's own.
"""

from torch import nn

from scconv.convs import like

COST = {"params": 4_800, "macs": 4_784_128}
VERSION = 2  # 1: its convolutions started from torch\'s default


def drop_in(conv: nn.Conv2d) -> nn.Module:
    """Depthwise k x k with the convolution's stride, BatchNorm, ReLU, point-wise 1x1 with the
    convolution's bias, if it has one.
    """
    c1, c2 = conv.in_channels, conv.out_channels
    return nn.Sequential(
        like(conv, c1, c1, groups=c1),
        nn.BatchNorm2d(c1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c1, c2, 1, bias=conv.bias is not None),
    )
