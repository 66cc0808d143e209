"""Spatial and Channel reconstruction Convolution (SCConv): two units that thin out redundant
features.

J. Li, Y. Wen, L. He, "SCConv: Spatial and Channel Reconstruction Convolution for Feature
Redundancy", CVPR 2023, pp. 6153-6162.

* SRU (equations 1-4) gates positions by what GroupNorm finds informative and recombines the halves
  crosswise.
* CRU (equations 5-9) splits the channels, squeezes both parts, computes a rich and a cheap
  transform, and fuses them.

Both run as one function each where nobody looks inside (scconv/kernels/); what `forward` says below
is what they compute.

What the paper leaves open, and what is done here: GroupNorm has 16 groups (PyTorch users' habit;
the paper gives none); no ReLU follows the squeezes; with stride 2 the lower path and the point-wise
convolution work on 2x2 averages. The placement of biases and batch norms is the one whose counts
are the paper's printed columns (Tables 1 and 2, Figure 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scconv import kernels
from scconv.convs import keeps_size, one
from scconv.options import as_order, check_cru, check_sru, geometry, order_of, widths

COST = {"params": 8_752, "macs": 8_388_608}
VERSION = 6  # 1: its convolutions started from torch's default; 2 to 6: other orders of sums


class SRU(nn.Module):
    """Spatial Reconstruction Unit: separate informative from redundant positions, then
    cross-reconstruct.

    `gate="hard"` is the paper's equation 2: the informative mask is 1 above the threshold and 0
    below, the other mask is its complement. Nothing is differentiable in a mask, so under it
    GroupNorm's weight and bias could learn nothing and are fixed at 1 and 0: the unit selects where
    the normalised feature is positive. `gate="soft"` keeps the gate's value g below the threshold,
    in both masks (1 | g and 0 | g above | below): the form of the most used re-implementation, in
    which the affine weights do learn.

    Shapes: (n, c, h, w) -> (n, c, h, w); c is even and a multiple of `gn_groups`.

    Raises:
        ValueError: a channel count, `gate` or `threshold` that cannot be.
    """

    def __init__(
        self, channels: int, *, gn_groups: int = 16, gate: str = "hard", threshold: float = 0.5
    ):
        super().__init__()
        check_sru(channels, gn_groups, gate, threshold)
        self.gate, self.threshold = gate, threshold
        self.norm = nn.GroupNorm(gn_groups, channels).requires_grad_(gate == "soft")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if (y := kernels.sru(self, x)) is not None:
            return y
        w1, w2 = self._masks(x)  # (n, c, h, w) each
        x1, x2 = w1 * x, w2 * x
        a1, b1 = x1.chunk(2, dim=1)  # (n, c/2, h, w) each
        a2, b2 = x2.chunk(2, dim=1)
        y = torch.cat((a1 + b2, b1 + a2), dim=1)
        if self.gate == "hard" and self.norm.weight.requires_grad:
            # somebody made every parameter learn: DDP then waits for a gradient of each, and here
            # it is zero
            y = y + 0 * (self.norm.weight.sum() + self.norm.bias.sum())
        return y

    def _masks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # without gradients in the hard form, where there are none: saves GroupNorm's backward
        with torch.set_grad_enabled(self.gate == "soft" and torch.is_grad_enabled()):
            total = self.norm.weight.sum()
            # equation 1, (c,); with weights that are all 0 no channel is more important than others
            importance = self.norm.weight / total.masked_fill(total == 0, 1)
            score = self.norm(x) * importance.view(1, -1, 1, 1)
            # sigmoid(score) > threshold
            informative = score > math.log(self.threshold / (1 - self.threshold))
            if self.gate == "hard":
                return informative.to(x.dtype), (~informative).to(x.dtype)
            gate = score.sigmoid().to(x.dtype)
            return gate.masked_fill(informative, 1), gate.masked_fill(informative, 0)

    def extra_repr(self) -> str:
        return f"gate={self.gate}, threshold={self.threshold}"


class CRU(nn.Module):
    """Channel Reconstruction Unit: split, transform, fuse; takes the place of a k x k convolution.

    The upper `alpha` of the channels goes through a group-wise k x k and a point-wise convolution;
    the lower rest is kept and completed by another point-wise one; a per-channel softmax over the
    two global averages weighs the sum (equation 8). `lower` says how wide the squeezed lower part
    is: "paper" out_channels / squeeze whatever alpha is (the counts of Table 1 and Figure 4),
    "eq11" (1 - alpha) * in_channels / squeeze (equation 11; the counts of SCConv-R50 in Table 2),
    "eq11-full" as wide as "eq11", but the point-wise convolution makes all out_channels and nothing
    is concatenated (SCConv-RX29 in Table 2).
    `lower_pool`: at stride 2, average the lower part "before" its squeeze, or "after" (the count of
    SCConv-WRN28).

    Shapes: (n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride)).

    Raises:
        ValueError: a channel count that an option does not divide, a stride other than 1 and 2, an
            even kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 1,
        *,
        dilation: int | tuple[int, ...] = 1,
        alpha: float = 0.5,
        squeeze: int = 2,
        groups: int = 2,
        lower: str = "paper",
        lower_pool: str = "before",
        padding_mode: str = "zeros",
    ):
        super().__init__()
        k, stride = one("kernel_size", kernel_size), one("stride", stride)
        upper, low, up_mid, low_mid = widths(
            in_channels, out_channels, alpha, squeeze, groups, lower
        )
        check_cru(k, stride, lower_pool)
        self.split, self.alpha, self.lower, self.lower_pool = (upper, low), alpha, lower, lower_pool
        self.squeeze_up = nn.Sequential(nn.Conv2d(upper, up_mid, 1), nn.BatchNorm2d(up_mid))
        wide = geometry(k, stride, one("dilation", dilation), padding_mode)
        self.gwc = nn.Conv2d(up_mid, out_channels, groups=groups, **wide)
        self.pwc1 = nn.Conv2d(up_mid, out_channels, 1, bias=False)
        self.squeeze_low = nn.Sequential(nn.Conv2d(low, low_mid, 1), nn.BatchNorm2d(low_mid))
        self.pwc2 = nn.Conv2d(low_mid, out_channels - (low_mid if lower != "eq11-full" else 0), 1)
        self.norm_up, self.norm_low = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        # ceil_mode, so that odd sizes come out as the strided convolution's; without it,
        # count_include_pad=False changes nothing but torch.compile's backward, which is wrong at
        # the last row of an odd size (pytorch issue 198119)
        pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
        self.pool = pool if stride == 2 else nn.Identity()
        self.average = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        if (y := kernels.cru(self, x)) is not None:
            return y
        up, low = x.split(self.split, dim=1)
        up = self.squeeze_up(up)
        y1 = self.norm_up(self.gwc(up) + self.pwc1(self.pool(up)))  # (n, c2, h2, w2)
        before = self.lower_pool == "before"
        low = self.squeeze_low(self.pool(low)) if before else self.pool(self.squeeze_low(low))
        kept = (low,) if self.lower != "eq11-full" else ()
        y2 = self.norm_low(torch.cat((self.pwc2(low), *kept), dim=1))  # (n, c2, h2, w2)
        # a softmax over two, per channel: (n, c2, 1, 1)
        beta1 = (self.average(y1) - self.average(y2)).sigmoid()
        return torch.lerp(y2, y1, beta1)  # beta1 * y1 + (1 - beta1) * y2

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, lower={self.lower}"


class SCConv(nn.Module):
    """The two units in the way `order` says; ("sru", "cru") is the paper's SCConv.

    | order | the paper's name | what it is |
    |---|---|---|
    | ("sru",) | S | SRU, then the ordinary k x k convolution |
    | ("cru",) | C | CRU in place of the convolution |
    | ("sru", "cru") | S+C | SRU, then CRU |
    | ("cru", "sru") | C+S | CRU, then SRU |
    | "parallel" | C&S | CRU(x) + SRU(x) |

    The paper does not say how C&S merges, so it is the plain sum, with a 2x2 average of SRU(x) at
    stride 2.

    Shapes: (n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride)).

    Raises:
        ValueError: an option that does not fit the channel counts; says the rule, the value and the
            way out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 1,
        *,
        dilation: int | tuple[int, ...] = 1,
        alpha: float = 0.5,
        squeeze: int = 2,
        groups: int = 2,
        gn_groups: int = 16,
        gate: str = "hard",
        threshold: float = 0.5,
        lower: str = "paper",
        lower_pool: str = "before",
        order: Sequence[str] | str = ("sru", "cru"),
        padding_mode: str = "zeros",
    ):
        super().__init__()
        k, stride = one("kernel_size", kernel_size), one("stride", stride)
        wide = geometry(k, stride, one("dilation", dilation), padding_mode)
        self.order = order_of(order, in_channels, out_channels)
        # what code around a convolution reads of it, in nn.Conv2d's own form; seen from outside it
        # has one group
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, 1
        for name in ("kernel_size", "stride", "padding", "dilation"):
            setattr(self, name, (wide[name], wide[name]))
        self.padding_mode = padding_mode
        if self.order == ("sru",):
            self.conv = nn.Conv2d(in_channels, out_channels, **wide)
        else:
            self.cru = CRU(
                in_channels,
                out_channels,
                k,
                stride,
                dilation=wide["dilation"],
                alpha=alpha,
                squeeze=squeeze,
                groups=groups,
                lower=lower,
                lower_pool=lower_pool,
                padding_mode=padding_mode,
            )
        if self.order != ("cru",):
            channels = out_channels if self.order == ("cru", "sru") else in_channels
            self.sru = SRU(channels, gn_groups=gn_groups, gate=gate, threshold=threshold)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        if self.order == "parallel":
            side = self.sru(x)
            if self.stride == (2, 2):
                # functional: the paper's counting sees modules only, and its row C&S has no pool
                side = F.avg_pool2d(side, 2, ceil_mode=True, count_include_pad=False)
            return self.cru(x) + side
        if self.order == ("cru", "sru"):
            return self.sru(self.cru(x))
        if self.order == ("cru",):
            return self.cru(x)
        return (self.conv if self.order == ("sru",) else self.cru)(self.sru(x))

    def extra_repr(self) -> str:
        return f"order={self.order}"


def drop_in(
    conv: nn.Conv2d,
    *,
    alpha: float = 0.5,
    squeeze: int = 2,
    groups: int = 2,
    gn_groups: int = 16,
    gate: str = "hard",
    threshold: float = 0.5,
    lower: str = "paper",
    lower_pool: str = "before",
    order: Sequence[str] | str = ("sru", "cru"),
) -> nn.Module:
    """SCConv of the convolution's own shape. With order [sru] the convolution itself, weights and
    all, is kept behind the SRU.
    """
    if as_order(order) == ("sru",):
        return nn.Sequential(
            SRU(conv.in_channels, gn_groups=gn_groups, gate=gate, threshold=threshold), conv
        )
    keeps_size(conv)
    return SCConv(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[0],
        conv.stride[0],
        dilation=conv.dilation[0],
        alpha=alpha,
        squeeze=squeeze,
        groups=groups,
        gn_groups=gn_groups,
        gate=gate,
        threshold=threshold,
        lower=lower,
        lower_pool=lower_pool,
        order=order,
        padding_mode=conv.padding_mode,
    )
