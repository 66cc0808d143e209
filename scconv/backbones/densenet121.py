"""DenseNet-121 (G. Huang et al., CVPR 2017) for 32x32 images: 6, 12, 24 and 16 dense layers."""

from torch import nn

from scconv.backbones.densenet import DenseNet

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, growth: int = 32) -> nn.Module:
    """(n, 3, h, w) -> (n, classes). `growth`: the channels that each dense layer adds."""
    return DenseNet(classes, growth=growth)
