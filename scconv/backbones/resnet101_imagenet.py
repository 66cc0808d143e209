"""ResNet-101 (K. He et al., CVPR 2016) for 224x224 images: four stages of bottlenecks."""

from torch import nn

from scconv.backbones.resnet import Bottleneck, ResNet

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, width: int = 64) -> nn.Module:
    """(n, 3, h, w) -> (n, classes). `width`: the channels of the first stage."""
    return ResNet(Bottleneck, (3, 4, 23, 3), width, classes, large=True)
