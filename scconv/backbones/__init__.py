"""The networks of the paper's tables, one file per family: for 32x32 images, and for 224x224 where the name ends in _imagenet.

A backbone's name is its function's name. Each network says in `places` which convolutions the paper replaces: the 3x3 of every
bottleneck and dense layer, the second 3x3 of every basic block; never the stem.
"""

import difflib

from torch import nn

from scconv.backbones.densenet import densenet121
from scconv.backbones.resnet import (
    resnet18,
    resnet18_imagenet,
    resnet20,
    resnet50,
    resnet50_imagenet,
    resnet56,
    resnet101,
    resnet101_imagenet,
)
from scconv.backbones.resnext import resnext29, resnext29_8x56d
from scconv.backbones.wideresnet import wideresnet28

SMALL = (
    densenet121,
    resnet18,
    resnet20,
    resnet50,
    resnet56,
    resnet101,
    resnext29,
    resnext29_8x56d,
    wideresnet28,
)
LARGE = (resnet18_imagenet, resnet50_imagenet, resnet101_imagenet)
BACKBONES = {f.__name__: f for f in SMALL + LARGE}


def build(name: str, classes: int) -> nn.Module:
    """The backbone called `name`, freshly initialised from torch's global generator, on torch's current default device.

    Raises:
        ValueError: no backbone of that name.
    """
    if name not in BACKBONES:
        close = difflib.get_close_matches(name, BACKBONES, n=1)
        raise ValueError(
            f"unknown backbone '{name}'"
            + (f": did you mean '{close[0]}'?" if close else f"; use one of {', '.join(BACKBONES)}")
        )
    return BACKBONES[name](classes)
