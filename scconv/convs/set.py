"""Set convolution: the sum over the channels that are there, scaled to what all would make.

y = c / n * sum over the n channels there of K_c * x_c. It follows from the set of the channels
there, whatever their order: a sum over a set, as in M. Zaheer et al., "Deep Sets", NIPS 2017; each
channel keeps its own kernels. The factor is that of dropout (N. Srivastava et al., JMLR 2014). With
all channels it is nn.Conv2d, bit for bit.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scconv.channels import Present, pair

COST = {"params": 1_728, "macs": 1_769_472}


class SetConv(nn.Conv2d):
    """A convolution that takes images of which channels are missing.

    Its options are those of `drop_in`.
    """

    def __init__(self, conv: nn.Conv2d, scale: str = "count", film: bool = False):
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
        )
        self.scale = scale
        # a parameter for each number of channels, so that one that was never trained can be named
        start = torch.stack([torch.ones(conv.out_channels), torch.zeros(conv.out_channels)])
        sizes = range(conv.in_channels if film else 0)
        self.film = nn.ParameterList(nn.Parameter(start.clone()) for _ in sizes)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "n c h w"] | Present, present: Bool[Tensor, "n c"] | None = None
    ) -> Float[Tensor, "n c2 h2 w2"]:
        x, present = pair(x, present)
        if present is None:
            y = super().forward(x)
            return self._modulate(y, self.film[-1][None]) if len(self.film) else y
        sizes = present.sum(1)  # (n,)
        # the input is scaled in place of the output, so that a bias is not
        factor = self.in_channels / sizes if self.scale == "count" else torch.ones_like(sizes)
        x = x.masked_fill(~present[:, :, None, None], 0)
        y = super().forward(x * factor.to(x.dtype)[:, None, None, None])
        return self._modulate(y, torch.stack([*self.film])[sizes - 1]) if len(self.film) else y

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale}"

    @staticmethod
    def _modulate(y: Tensor, film: Float[Tensor, "n 2 c"]) -> Tensor:
        return y * film[:, 0, :, None, None] + film[:, 1, :, None, None]


def drop_in(conv: nn.Conv2d, *, scale: str = "count", film: bool = False) -> nn.Module:
    """The same convolution of any subset of its channels.

    Args:
        scale: "count" scales the sum by c / n, "none" leaves it.
        film: with a scale and a shift of every output channel for each number of channels there
            (E. Perez et al., "FiLM", AAAI 2018), from 1 and 0.

    Raises:
        ValueError: an unknown `scale`, or the convolution has groups.
    """
    if scale not in ("count", "none"):
        raise ValueError(f"`scale` (={scale!r}) must be count or none")
    if conv.groups != 1:
        raise ValueError(
            f"`groups` (={conv.groups}) must be 1: the sum goes over all channels; keep this "
            "convolution as it is"
        )
    return SetConv(conv, scale, film)
