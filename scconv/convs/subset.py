"""Kernels that are generated for each image from the mean of each of its channels.

As in a student's report on images of which channels are missing, whose versions 2 and 4 have a
generator for every number of channels, and whose version 1 has one for all of them; generated
kernels are B. De Brabandere et al., "Dynamic Filter Networks", NIPS 2016.

A generator of n channels is linear in their means mu, so its kernels are a mixture of 1 + n static
ones: W(mu) = B0 + sum over c of mu_c A_c. It knows how many channels there are, and not which: the
channels that are there stand in their order. It is meant for a network's first convolution, since
all its generators together grow with the third power of the channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.channels import Present, pair
from scconv.per_image import PerImage

COST = {"params": 11_520, "macs": 1_774_656}
MOST = 16  # input channels that have a generator for each of their numbers


class Generated(PerImage):
    """What both forms share: means, and generators that start by the backbone's rule."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv)
        self.means = nn.AdaptiveAvgPool2d(1)

    def generator(self, n: int, conv: nn.Conv2d) -> nn.Linear:
        """From the means of n channels to the kernels of n channels.

        The static part of all channels starts with the weights of the convolution that is replaced,
        and the others are drawn from He's normal distribution.
        """
        k1, k2 = self.kernel_size
        made = nn.Linear(n, self.out_channels * n * k1 * k2)
        std = (2 / (self.out_channels * k1 * k2)) ** 0.5
        for part in (made.weight, made.bias):
            nn.init.normal_(part, std=std)
        if n == self.in_channels:
            with torch.no_grad():
                made.bias.copy_(conv.weight.flatten())
        return made

    def kernels(self, made: Tensor) -> Float[Tensor, "n c2 c k1 k2"]:
        return made.reshape(len(made), self.out_channels, -1, *self.kernel_size)


class SubsetConv(Generated):
    """A generator of kernels for each number of channels; takes any subset of them.

    Raises:
        ValueError: more than 16 input channels, or groups.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv)
        c = conv.in_channels
        if c > MOST:
            raise ValueError(
                f"`in_channels` (={c}) must be at most {MOST}: a generator for every number of "
                "channels is meant for a network's first convolution; use stem: subset"
            )
        self.subset = nn.ModuleList(self.generator(n, conv) for n in range(1, c + 1))
        self.bias = nn.Parameter(_bias(conv)) if conv.bias is not None else None

    def forward(
        self, x: Float[Tensor, "n c h w"] | Present, present: Bool[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n c2 h2 w2"]:
        x, present = pair(x, present)
        bias = self.bias.expand(len(x), -1) if self.bias is not None else None
        if present is None:
            made = self.subset[-1](self.means(x).flatten(1))
            return self.convolve(x, self.kernels(made), bias)
        # those that are there go first, in their order
        order = (~present).to(torch.uint8).argsort(dim=1, stable=True)[:, :, None, None]
        x = x.masked_fill(~present[:, :, None, None], 0).gather(1, order.expand_as(x))
        means, sizes = self.means(x).flatten(1), present.sum(1)[:, None, None, None, None]
        kernels: Tensor | None = None
        for n, generator in enumerate(self.subset, 1):
            made = self.kernels(generator(means[:, :n]))
            padded = F.pad(made, (0, 0, 0, 0, 0, self.in_channels - n))
            kernels = padded if kernels is None else torch.where(sizes == n, padded, kernels)
        assert kernels is not None
        return self.convolve(x, kernels, bias)


class FixedConv(Generated):
    """One generator behind a tanh, and a bias; takes all channels alone."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv)
        self.generate = self.generator(conv.in_channels, conv)
        self.bias = nn.Parameter(_bias(conv))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        made = self.generate(self.means(x).flatten(1)).tanh()
        return self.convolve(x, self.kernels(made), self.bias.expand(len(x), -1))


def _bias(conv: nn.Conv2d) -> Tensor:
    """The convolution's own, to start with; zeros where it has none."""
    if conv.bias is not None:
        return conv.bias.detach().clone()
    return torch.zeros(conv.out_channels, device=conv.weight.device)


def drop_in(conv: nn.Conv2d, *, by: str = "size") -> nn.Module:
    """Generated kernels for the same channels.

    Args:
        by: "size" has a generator for each number of channels; "fixed" one for all of them, with a
            tanh and a bias.

    Raises:
        ValueError: an unknown `by`, too many channels for "size", or the convolution has groups.
    """
    if by not in ("size", "fixed"):
        raise ValueError(f"`by` (={by!r}) must be size or fixed")
    return SubsetConv(conv) if by == "size" else FixedConv(conv)
