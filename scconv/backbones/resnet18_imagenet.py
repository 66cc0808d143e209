"""ResNet-18 (K. He et al., CVPR 2016) for 224x224 images: four stages of two basic blocks."""

from torch import nn

from scconv.backbones.resnet import Basic, ResNet

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, width: int = 64) -> nn.Module:
    """(n, 3, h, w) -> (n, classes). `width`: the channels of the first stage."""
    return ResNet(Basic, (2, 2, 2, 2), width, classes, large=True)
