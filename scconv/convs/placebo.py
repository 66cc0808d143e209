"""Placebo: the standard convolution under another name, with initial weights of its own.

A comparison with itself (A/A): network, data, batches and the weights of all other layers are those
of the baseline with the same seed, and only the first weights of the replaced convolutions are
drawn anew, as every design that is no plain convolution must. Whatever differs from the baseline is
chance. A difference of another variant that is no larger than this one is within the noise of the
design.
"""

from torch import nn

from scconv.convs import like
from scconv.initial import draw

COST = {"params": 36_864, "macs": 37_748_736}


def drop_in(conv: nn.Conv2d) -> nn.Module:
    """The same convolution, groups and bias included, with weights that are drawn anew."""
    placebo = like(
        conv,
        conv.in_channels,
        conv.out_channels,
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    draw(placebo)  # it would start as the one that it replaces
    return placebo
