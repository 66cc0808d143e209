"""ResNet-18 (K. He et al., CVPR 2016) for 32x32 images: four stages of two basic blocks."""

from torch import nn

from scconv.backbones.resnet import Basic, ResNet

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, width: int = 64, pool: bool = False) -> nn.Module:
    """(n, 3, h, w) -> (n, classes).

    Args:
        width: the channels of the first stage.
        pool: with a 3x3 max-pool at stride 2 behind the stem.
    """
    return ResNet(Basic, (2, 2, 2, 2), width, classes, stem_pool=pool)
