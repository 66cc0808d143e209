"""WideResNet-28-10 (S. Zagoruyko, N. Komodakis, BMVC 2016) for 32x32 images."""

from torch import nn

from scconv.backbones.wideresnet import WideResNet

VERSION = 2  # 1: the sums of its norms had another order


def build(classes: int, *, widen: int = 10) -> nn.Module:
    """(n, 3, h, w) -> (n, classes). `widen`: the factor on the channels of every stage."""
    return WideResNet(classes, widen=widen)
