"""ResNeXt-29 (S. Xie et al., CVPR 2017) for 32x32 images, 448 wide in 8 groups: the paper's
baseline row.
"""

from torch import nn

from scconv.backbones.resnext import ResNeXt

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, width: int = 448) -> nn.Module:
    """(n, 3, h, w) -> (n, classes). `width`: the channels of the first stage's 3x3."""
    return ResNeXt(classes, width=width)
