"""ResNets for 32x32 and, by the names that end in _imagenet, for 224x224 images, as He et al. and
the SCConv paper use them.

K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. For 32x32 a 3x3 stem at
stride 1 without max-pool, for 224x224 the 7x7 at stride 2 and a 3x3 max-pool. Stride in the 3x3 of
the bottleneck (torchvision's "v1.5"); projection shortcuts (1x1 convolution and BatchNorm) wherever
the shape changes; no convolution has a bias.

Its convolutions start from He's normal distribution (scconv/initial.py).
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from scconv.channels import Present
from scconv.convs.octave import Octaves
from scconv.initial import initialise
from scconv.kernels import norm_act

# layer -> the feature maps it reads and writes: the block's input, those inside, its output. For
# designs that change the maps themselves
POST_ACTIVATION = {
    "conv1": ("in", "mid"),
    "bn1": ("mid", "mid"),
    "conv2": ("mid", "mid"),
    "bn2": ("mid", "mid"),
    "shortcut.0": ("in", "out"),
    "shortcut.1": ("out", "out"),
}


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut; (n, c_in, h, w) -> (n, width, h / stride, w /
    stride).
    """

    expansion = 1
    place = "conv2"
    after: ClassVar = {"norm": "bn2"}  # layers behind the place, for designs that do without
    maps: ClassVar = POST_ACTIVATION | {"conv2": ("mid", "out"), "bn2": ("out", "out")}

    def __init__(self, c_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU()
        self.shortcut = projection(c_in, width, stride)

    def forward(
        self, x: Float[Tensor, "n c h w"] | Octaves
    ) -> Float[Tensor, "n c2 h2 w2"] | Octaves:
        y = norm_act(self.bn1, self.act1, self.conv1(x))
        return norm_act(self.bn2, self.act2, self.conv2(y), self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut; (n, c_in, h, w) -> (n, c_out, h / stride, w / stride), c_out
    being 4 width unless said.
    """

    expansion = 4
    place = "conv2"
    after: ClassVar = {"norm": "bn2", "act": "act2"}
    maps: ClassVar = POST_ACTIVATION | {"conv3": ("mid", "out"), "bn3": ("out", "out")}

    def __init__(self, c_in: int, width: int, stride: int, c_out: int = 0, groups: int = 1):
        super().__init__()
        c_out = c_out or 4 * width
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.act3 = nn.ReLU()
        self.shortcut = projection(c_in, c_out, stride)

    def forward(
        self, x: Float[Tensor, "n c h w"] | Octaves
    ) -> Float[Tensor, "n c2 h2 w2"] | Octaves:
        y = norm_act(self.bn1, self.act1, self.conv1(x))
        y = norm_act(self.bn2, self.act2, self.conv2(y))
        return norm_act(self.bn3, self.act3, self.conv3(y), self.shortcut(x))

    def narrow(self, channels: int) -> None:
        """Take this many channels from what replaces the 3x3."""
        like = self.conv3.weight
        self.bn2 = nn.BatchNorm2d(channels).to(like.device, like.dtype).train(self.bn2.training)
        self.conv3 = (
            nn.Conv2d(channels, self.conv3.out_channels, 1, bias=False)
            .to(like.device, like.dtype)
            .train(self.conv3.training)
        )
        initialise(self.conv3)


class Stem(nn.Sequential):
    """A convolution, BatchNorm, ReLU, and what follows them."""

    def forward(self, input: Float[Tensor, "n 3 h w"] | Present) -> Float[Tensor, "n c h2 w2"]:
        conv, norm, act, *rest = self
        y = norm_act(norm, act, conv(input))
        for layer in rest:
            y = layer(y)
        return y


class ResNet(nn.Module):
    """A stem, stages of blocks that double the width and halve the size, a global average and a
    linear head.

    `large` is the stem for large images, which quarters their sides before the stages begin: 224 ->
    56.
    `stem_pool` is the max-pool of that stem behind the small one, for images between the two sizes.
    `functional_pool` averages without a module: the paper's counts of ResNet-56 lack the pool that
    those of ResNet-50 have.
    Shapes: (n, 3, h, w) -> (n, classes).
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        depths: tuple[int, ...],
        width: int,
        classes: int,
        *,
        large: bool = False,
        stem_pool: bool = False,
        functional_pool: bool = False,
    ):
        super().__init__()
        first = (
            nn.Conv2d(3, width, 7, 2, 3, bias=False)
            if large
            else nn.Conv2d(3, width, 3, 1, 1, bias=False)
        )
        self.stem = Stem(first, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        if large or stem_pool:
            self.stem.append(nn.MaxPool2d(3, 2, 1))
        stages, c_in = [], width
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(block(c_in, width << i, 2 if i and not j else 1))
                c_in = (width << i) * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = None if functional_pool else nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(c_in, classes)
        self.places = frozenset(
            f"stages.{i}.{j}.{block.place}" for i, depth in enumerate(depths) for j in range(depth)
        )
        initialise(self)

    def forward(self, x: Float[Tensor, "n 3 h w"] | Present) -> Float[Tensor, "n classes"]:
        y = self.stages(self.stem(x))  # (n, c, h, w)
        y = self.pool(y).flatten(1) if self.pool else y.mean((2, 3))
        return self.head(y)


def projection(c_in: int, c_out: int, stride: int) -> nn.Module:
    """The identity where the shape stays, else a 1x1 convolution and BatchNorm."""
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
