"""A network of a few layers that makes up for depth by attention over all places.

A stem, a residual block, one more convolution, a global average and a linear head. As in a
student's report that asks whether it keeps 90 % of ResNet-34's accuracy: its attention is H. Zhang
et al., "Self-Attention Generative Adversarial Networks", ICML 2019; SE is J. Hu et al., CVPR 2018,
at ratio 16; the residual-in-residual dense block is X. Wang et al., "ESRGAN", ECCV Workshops 2018.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.initial import initialise

Map = Float[Tensor, "n c h w"]
RATIO = 16  # of SE
SHARE = 8  # a query and a key have this part of the channels
GROWTH = 32  # channels that a convolution of a dense block adds
DENSE = 5  # convolutions of a dense block
RESIDUAL = 0.2  # of what a block adds to its input


class SE(nn.Module):
    """Squeeze and excitation: (n, c, h, w) times a weight in (0, 1) of each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // RATIO, bias=False)
        self.excite = nn.Linear(channels // RATIO, channels, bias=False)

    def forward(self, x: Map) -> Map:
        means = F.adaptive_avg_pool2d(x, 1).flatten(1)
        weights = self.excite(F.relu(self.squeeze(means)))  # (n, c)
        return x * weights.sigmoid()[:, :, None, None]


class Attention(nn.Module):
    """x + gamma * attention over all places, gamma from 0; then SE. (n, c, h, w) -> the same.

    Args:
        heads: the channels are split between so many.
        scale: divide the products by the root of a head's query channels.
    """

    def __init__(self, channels: int, heads: int, scale: bool, se: bool):
        super().__init__()
        self.heads = heads
        self.scale = 1 / math.sqrt(channels // SHARE // heads) if scale else 1.0
        self.query = nn.Conv2d(channels, channels // SHARE, 1)
        self.key = nn.Conv2d(channels, channels // SHARE, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.se = SE(channels) if se else nn.Identity()

    def forward(self, x: Map) -> Map:
        n, _, h, w = x.shape
        # (n * heads, channels of a head, places)
        q, k, v = (
            part(x).reshape(n * self.heads, -1, h * w)
            for part in (self.query, self.key, self.value)
        )
        weights = (self.scale * q.transpose(1, 2) @ k).softmax(-1)  # (n * heads, places, places)
        y = v @ weights.transpose(1, 2)
        return self.se(x + self.gamma * y.reshape(n, -1, h, w))


class Report(nn.Module):
    """x + 0.2 SE(attention(three 3x3 convolutions)), without BatchNorm."""

    def __init__(self, channels: int, attention: nn.Module, se: bool):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)
        )
        self.attention = attention
        self.se = SE(channels) if se else nn.Identity()

    def forward(self, x: Map) -> Map:
        y = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return x + RESIDUAL * self.se(self.attention(y))


class Dense(nn.Module):
    """Five 3x3 convolutions, each of all maps before it; x + 0.2 of the last one's."""

    def __init__(self, channels: int):
        super().__init__()
        layers = []
        for i in range(DENSE):
            c_out = channels if i == DENSE - 1 else GROWTH
            layers.append(nn.Conv2d(channels + i * GROWTH, c_out, 3, padding=1))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Map) -> Map:
        maps = [x]
        for layer in [*self.layers][:-1]:
            maps.append(F.leaky_relu(layer(torch.cat(maps, 1)), 0.2))
        return x + RESIDUAL * self.layers[-1](torch.cat(maps, 1))


class RRDB(nn.Module):
    """x + 0.2 of three dense blocks, one after the other."""

    def __init__(self, channels: int):
        super().__init__()
        self.blocks = nn.Sequential(*(Dense(channels) for _ in range(3)))

    def forward(self, x: Map) -> Map:
        # each dense block adds its input, and what they add together is scaled once more
        return x + RESIDUAL * self.blocks(x)


def build(
    classes: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    width: int = 64,
    out: int = 128,
    block: str = "report",
    attention: bool = True,
    se: bool = True,
    heads: int = 1,
    scale: bool = False,
) -> nn.Module:
    """(n, 3, h, w) -> (n, classes).

    Args:
        kernel, stride: of the first convolution.
        width, out: channels behind the first and the last convolution.
        block: "report", "rrdb" or "none".
        attention, se: with attention over all places, with SE.
        heads: of the attention.
        scale: divide the attention's products by the root of a head's query channels.

    Raises:
        ValueError: an unknown block, or a width that the heads do not divide.
    """
    if block not in ("report", "rrdb", "none"):
        raise ValueError(f"block: must be report, rrdb or none, got {block!r}")
    if heads < 1 or width % (SHARE * heads) or width % RATIO:
        raise ValueError(
            f"width: must be a multiple of {RATIO} and of {SHARE} heads, got {width} and {heads} "
            "heads"
        )

    def attend() -> nn.Module:
        return Attention(width, heads, scale, se) if attention else nn.Identity()

    middle: nn.Module = nn.Identity()
    if block == "report":
        middle = Report(width, attend(), se)
    elif block == "rrdb":
        middle = RRDB(width)
    model = _whole(classes, nn.Conv2d(3, width, kernel, stride, kernel // 2), attend(), middle, out)
    initialise(model)
    return model


def _whole(
    classes: int, first: nn.Conv2d, attention: nn.Module, block: nn.Module, out: int
) -> nn.Module:
    return nn.Sequential(
        first,
        nn.BatchNorm2d(first.out_channels),
        nn.ReLU(inplace=True),
        attention,
        block,
        nn.Conv2d(first.out_channels, out, 3, padding=1),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(out, classes),
    )
