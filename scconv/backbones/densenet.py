"""DenseNet-121 for 32x32 images (G. Huang et al., "Densely Connected Convolutional Networks", CVPR
2017), growth 32.

A bare 3x3 stem of 64; dense layers BN-ReLU-1x1(128)-BN-ReLU-3x3(32); transitions
BN-ReLU-1x1(half)-2x2 average.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.channels import Present
from scconv.initial import initialise
from scconv.kernels import norm_act


class Dense(nn.Module):
    """(n, c, h, w) -> (n, c + growth, h, w): the input, and what was made from it."""

    def __init__(self, c_in: int, growth: int):
        super().__init__()
        self.bn1, self.act1 = nn.BatchNorm2d(c_in), nn.ReLU()
        self.conv1 = nn.Conv2d(c_in, 4 * growth, 1, bias=False)
        self.bn2, self.act2 = nn.BatchNorm2d(4 * growth), nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h w"]:
        y = self.conv1(norm_act(self.bn1, self.act1, x))
        return torch.cat((x, self.conv2(norm_act(self.bn2, self.act2, y))), dim=1)


class Transition(nn.Sequential):
    """BatchNorm, ReLU, a convolution and a pool; (n, c, h, w) -> (n, c2, h / 2, w / 2)."""

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        norm, act, conv, pool = self
        return pool(conv(norm_act(norm, act, input)))


class DenseNet(nn.Module):
    """Stem, dense stages with transitions between, BN-ReLU, global average and linear head; (n, 3,
    h, w) -> (n, classes).
    """

    def __init__(self, classes: int, depths: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32):
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth, 3, 1, 1, bias=False)
        stages, c = [], 2 * growth
        for i, depth in enumerate(depths):
            layers: list[nn.Module] = []
            if i:
                layers += [
                    Transition(
                        nn.BatchNorm2d(c),
                        nn.ReLU(inplace=True),
                        nn.Conv2d(c, c // 2, 1, bias=False),
                        nn.AvgPool2d(2),
                    )
                ]
                c //= 2
            for _ in range(depth):
                layers.append(Dense(c, growth))
                c += growth
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(c)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(c, classes)
        self.places = frozenset(
            f"{name}.conv2" for name, m in self.named_modules() if isinstance(m, Dense)
        )
        initialise(self)

    def forward(self, x: Float[Tensor, "n 3 h w"] | Present) -> Float[Tensor, "n classes"]:
        y = norm_act(self.bn, F.relu, self.stages(self.stem(x)))
        return self.head(self.pool(y).flatten(1))
