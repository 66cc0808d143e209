"""Dynamic convolution: kernels mixed for each image by attention over K of them.

Y. Chen, X. Dai, M. Liu, D. Chen, L. Yuan, Z. Liu, "Dynamic Convolution: Attention over Convolution
Kernels", CVPR 2020. The attention is the mean of each channel, a squeeze with ReLU, and a softmax
with temperature; as in the paper, the temperature falls from 30 to 1 over the first tenth of the
training, so that all kernels learn at first. The temperature is a buffer: a saved network has it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.per_image import PerImage

COST = {"params": 148_548, "macs": 37_897_280}
TEMPERATURE = 30.0  # at first
ANNEALED = 0.1  # of the training, after which the temperature is 1


class DynamicConv(PerImage):
    """(n, c, h, w) -> (n, c2, h2, w2). Its options are those of `drop_in`."""

    temperature: Tensor

    def __init__(self, conv: nn.Conv2d, kernels: int, squeeze: int, anneal: bool):
        super().__init__(conv)
        c, c2 = conv.in_channels, conv.out_channels
        self.shape = conv.weight.shape
        hidden = max(1, c // squeeze)
        self.means = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Linear(c, hidden, bias=False)
        self.excite = nn.Linear(hidden, kernels)
        # a row for each kernel
        self.weight = nn.Parameter(torch.empty(kernels, conv.weight.numel()))
        nn.init.normal_(self.weight, std=(2 / (c2 * conv.weight[0, 0].numel())) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(kernels, c2)) if conv.bias is not None else None
        self.anneal = anneal
        self.register_buffer("temperature", torch.tensor(TEMPERATURE))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        scores = self.excite(F.relu(self.squeeze(self.means(x).flatten(1))))
        shares = (scores / self.temperature).softmax(1)  # (n, kernels)
        kernels = shares @ self.weight
        bias = shares @ self.bias if self.bias is not None else None
        return self.convolve(x, kernels.reshape(len(x), *self.shape), bias)

    def set_progress(self, progress: float) -> None:
        """The temperature at `progress` (0..1) through the training, which calls it."""
        if self.anneal:
            left = max(0.0, 1 - progress / ANNEALED)
            self.temperature.fill_(1 + left * (TEMPERATURE - 1))


def drop_in(
    conv: nn.Conv2d, *, kernels: int = 4, squeeze: int = 4, anneal: bool = True
) -> nn.Module:
    """A mixture of kernels for the same channels.

    Args:
        kernels: how many are mixed, each of the whole convolution's size.
        squeeze: the attention's hidden layer has this part of the input channels, at least one.
        anneal: False keeps the temperature at 30.

    Raises:
        ValueError: `kernels` or `squeeze` below 1, or the convolution has groups.
    """
    for name, value in (("kernels", kernels), ("squeeze", squeeze)):
        if value < 1:
            raise ValueError(f"`{name}` (={value}) must be at least 1")
    return DynamicConv(conv, kernels, squeeze, anneal)
