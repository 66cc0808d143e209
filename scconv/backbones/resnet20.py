"""ResNet-20 for 32x32 images (K. He et al., CVPR 2016, section 4.2): three stages of three basic
blocks.
"""

from torch import nn

from scconv.backbones.resnet import Basic, ResNet

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, width: int = 16, pool: bool = False) -> nn.Module:
    """(n, 3, h, w) -> (n, classes).

    Args:
        width: the channels of the first stage.
        pool: with a 3x3 max-pool at stride 2 behind the stem.
    """
    return ResNet(Basic, (3, 3, 3), width, classes, functional_pool=True, stem_pool=pool)
