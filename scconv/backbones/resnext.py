"""ResNeXt-29 for 32x32 images (S. Xie et al., "Aggregated Residual Transformations for Deep Neural
Networks", CVPR 2017).

Three stages of three bottlenecks whose 3x3 is 320, 640 and 1280 wide in 8 groups and whose outputs
are 256, 512 and 1024; 3x3 stem of 64. These widths are those of the SCConv paper's replaced rows.
Its baseline row (28.27M, 4.55G) fits no cardinality at these widths; `resnext29_8x56d`, 448 wide,
has its parameters (28.27M) but not its FLOPs (4.44G).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from scconv.backbones.resnet import Bottleneck, Stem
from scconv.channels import Present
from scconv.initial import initialise


class ResNeXt(nn.Module):
    """Stem, stages, global average and linear head; (n, 3, h, w) -> (n, classes)."""

    def __init__(self, classes: int, depth: int = 3, width: int = 320, cardinality: int = 8):
        super().__init__()
        self.stem = Stem(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        stages, c_in = [], 64
        for i in range(3):
            blocks = []
            for j in range(depth):
                blocks.append(
                    Bottleneck(
                        c_in,
                        width << i,
                        2 if i and not j else 1,
                        c_out=256 << i,
                        groups=cardinality,
                    )
                )
                c_in = 256 << i
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(c_in, classes)
        self.places = frozenset(f"stages.{i}.{j}.conv2" for i in range(3) for j in range(depth))
        initialise(self)

    def forward(self, x: Float[Tensor, "n 3 h w"] | Present) -> Float[Tensor, "n classes"]:
        return self.head(self.pool(self.stages(self.stem(x))).flatten(1))
