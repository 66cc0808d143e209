"""A convolution of each image with its own kernels, for designs that generate or mix them."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class PerImage(nn.Module):
    """The channels, kernel, stride, padding (and its mode) and dilation of a convolution, without
    its weights.

    Raises:
        ValueError: it has groups.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        if conv.groups != 1:
            raise ValueError(
                f"`groups` (={conv.groups}) must be 1: an image's kernels are one group each; "
                "keep this convolution as it is"
            )
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.kernel_size = conv.kernel_size
        self.padding_mode = conv.padding_mode
        # as F.pad takes it, of both sides of every dimension, the last one first
        self.pad = [*conv._reversed_padding_repeated_twice]
        self.padding = conv.padding
        self.geometry: dict[str, Any] = {"stride": conv.stride, "dilation": conv.dilation}

    def convolve(
        self,
        x: Float[Tensor, "n c h w"],
        kernels: Float[Tensor, "n c2 c k1 k2"],
        bias: Float[Tensor, "n c2"] | None = None,
    ) -> Float[Tensor, "n c2 h2 w2"]:
        """Each image with its own kernels: one convolution with a group per image."""
        n, c2 = kernels.shape[:2]
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self.pad, mode=self.padding_mode), 0
        y = F.conv2d(
            x.reshape(1, -1, *x.shape[2:]),
            kernels.flatten(0, 1),
            bias.flatten() if bias is not None else None,
            padding=padding,
            groups=n,
            **self.geometry,
        )
        return y.reshape(n, c2, *y.shape[2:])

    def extra_repr(self) -> str:
        """As torch's convolutions say themselves, for whoever compares two networks."""
        said = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        geometry = ", ".join(f"{key}={value}" for key, value in self.geometry.items())
        return f"{said}, {geometry}, padding={self.padding}, padding_mode={self.padding_mode}"
