"""Plain group convolution: the k x k convolution in `groups` independent parts.

A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012.
"""

from torch import nn

from scconv.convs import divides, like

COST = {"params": 18_432, "macs": 18_874_368}
VERSION = 2  # 1: its convolutions started from torch\'s default


def drop_in(conv: nn.Conv2d, *, groups: int = 2) -> nn.Module:
    """The same convolution in `groups` groups, with a bias where it has one.

    Raises:
        ValueError: `groups` does not divide both channel counts.
    """
    divides("groups", groups, conv)
    return like(
        conv, conv.in_channels, conv.out_channels, groups=groups, bias=conv.bias is not None
    )
