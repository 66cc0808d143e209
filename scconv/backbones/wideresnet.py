"""WideResNet-28-10 for 32x32 images (S. Zagoruyko, N. Komodakis, "Wide Residual Networks", BMVC
2016), as the SCConv paper counts it.

Pre-activation blocks; every convolution has a bias, the 1x1 shortcuts too; conv1 has stride 1 and
conv2 the stride. No dropout.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.channels import Present
from scconv.convs.octave import Octaves
from scconv.initial import initialise
from scconv.kernels import norm_act


class Wide(nn.Module):
    """BN-ReLU-3x3 twice and a shortcut; (n, c_in, h, w) -> (n, width, h / stride, w / stride)."""

    maps: ClassVar = {
        "bn1": ("in", "in"),
        "conv1": ("in", "mid"),
        "bn2": ("mid", "mid"),
        "conv2": ("mid", "out"),
        "shortcut": ("in", "out"),
    }

    def __init__(self, c_in: int, width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(c_in, width, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1)
        self.shortcut = (
            nn.Identity() if stride == 1 and c_in == width else nn.Conv2d(c_in, width, 1, stride)
        )

    def forward(
        self, x: Float[Tensor, "n c h w"] | Octaves
    ) -> Float[Tensor, "n c2 h2 w2"] | Octaves:
        y = self.conv1(norm_act(self.bn1, self.act1, x))
        return self.conv2(norm_act(self.bn2, self.act2, y)) + self.shortcut(x)


class WideResNet(nn.Module):
    """Stem, stages, BN-ReLU, global average and linear head; (n, 3, h, w) -> (n, classes)."""

    def __init__(self, classes: int, depth: int = 4, widen: int = 10):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        stages, c_in = [], 16
        for i in range(3):
            blocks = []
            for j in range(depth):
                blocks.append(Wide(c_in, 16 * widen << i, 2 if i and not j else 1))
                c_in = 16 * widen << i
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(c_in)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(c_in, classes)
        self.places = frozenset(f"stages.{i}.{j}.conv2" for i in range(3) for j in range(depth))
        initialise(self)

    def forward(self, x: Float[Tensor, "n 3 h w"] | Present) -> Float[Tensor, "n classes"]:
        y = norm_act(self.bn, F.relu, self.stages(self.stem(x)))
        return self.head(self.pool(y).flatten(1))
