"""Spatial and Channel reconstruction Convolution (SCConv): two units that thin out redundant
features.

J. Li, Y. Wen, L. He, "SCConv: Spatial and Channel Reconstruction Convolution for Feature
Redundancy", CVPR 2023, pp. 6153-6162.

* SRU (equations 1-4) gates positions by what GroupNorm finds informative and recombines the halves
  crosswise.
* CRU (equations 5-9) splits the channels, squeezes both parts, computes a rich and a cheap
  transform, and fuses them.

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

from scconv.convs import keeps_size, one

COST = {"params": 8_752, "macs": 8_388_608}
VERSION = 2  # 1: its convolutions started from torch\'s default
ORDERS = (("sru",), ("cru",), ("sru", "cru"), ("cru", "sru"), "parallel")


class SRU(nn.Module):
    """Spatial Reconstruction Unit: separate informative from redundant positions, then
    cross-reconstruct.

    `gate="hard"` is the paper's equation 2: the informative mask is 1 above the threshold and 0
    below, the other mask is its complement. Nothing is differentiable in a mask, so under it
    GroupNorm's weight and bias could
    learn nothing and are fixed at 1 and 0:
    the unit selects where the normalised feature is positive. `gate="soft"` keeps the gate's value
    g below the threshold, in both
    masks (1 | g and 0 | g above | below): the form of the most used re-implementation, in which the
    affine weights do learn.

    Shapes: (n, c, h, w) -> (n, c, h, w); c is even and a multiple of `gn_groups`.

    Raises:
        ValueError: a channel count, `gate` or `threshold` that cannot be.
    """

    def __init__(
        self, channels: int, *, gn_groups: int = 16, gate: str = "hard", threshold: float = 0.5
    ):
        super().__init__()
        if channels % 2:
            raise ValueError(
                f"`in_channels` (={channels}) must be even: SRU recombines two halves; use "
                f"{channels + 1}"
            )
        _positive_int("gn_groups", gn_groups)
        if channels % gn_groups:
            raise ValueError(
                f"`in_channels` (={channels}) must be divisible by `gn_groups` (={gn_groups}); use "
                f"gn_groups={math.gcd(channels, gn_groups)}"
            )
        if gate not in ("hard", "soft"):
            raise ValueError(f"`gate` (={gate!r}) must be 'hard' or 'soft'")
        _fraction("threshold", threshold)
        self.gate, self.threshold = gate, threshold
        self.norm = nn.GroupNorm(gn_groups, channels).requires_grad_(gate == "soft")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        w1, w2 = self._masks(x)  # (n, c, h, w) each
        x1, x2 = w1 * x, w2 * x
        a1, b1 = x1.chunk(2, dim=1)  # (n, c/2, h, w) each
        a2, b2 = x2.chunk(2, dim=1)
        y = torch.cat((a1 + b2, b1 + a2), dim=1)
        if self.gate == "hard" and self.norm.weight.requires_grad:
            # somebody made every parameter learn: DDP then waits for a gradient of
            # each, and here it is zero
            y = y + 0 * (self.norm.weight.sum() + self.norm.bias.sum())
        return y

    def _masks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # without gradients in the hard form, where there are none: saves the backward
        # through GroupNorm
        with torch.set_grad_enabled(self.gate == "soft" and torch.is_grad_enabled()):
            total = self.norm.weight.sum()
            # equation 1, (c,); with weights that are all 0 no channel is more important than
            # another
            importance = self.norm.weight / total.masked_fill(total == 0, 1)
            score = self.norm(x) * importance.view(1, -1, 1, 1)
            informative = score > math.log(
                self.threshold / (1 - self.threshold)
            )  # sigmoid(score) > threshold
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
        kernel_size, stride = one("kernel_size", kernel_size), one("stride", stride)
        dilation = one("dilation", dilation)
        if lower_pool not in ("before", "after"):
            raise ValueError(f"`lower_pool` (={lower_pool!r}) must be 'before' or 'after'")
        upper, low, up_mid, low_mid = _widths(
            in_channels, out_channels, alpha, squeeze, groups, lower
        )
        if stride not in (1, 2):
            raise ValueError(
                f"`stride` (={stride}) must be 1 or 2: the cheap path averages 2x2; keep this "
                "convolution as it is"
            )
        if kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` (={kernel_size}) must be odd, so that both paths have one size; "
                f"use {kernel_size + 1}"
            )
        self.split, self.alpha, self.lower, self.lower_pool = (upper, low), alpha, lower, lower_pool
        padding = dilation * (kernel_size // 2)
        self.squeeze_up = nn.Sequential(nn.Conv2d(upper, up_mid, 1), nn.BatchNorm2d(up_mid))
        self.gwc = nn.Conv2d(
            up_mid,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias=False,
            padding_mode=padding_mode,  # type: ignore[arg-type]
        )
        self.pwc1 = nn.Conv2d(up_mid, out_channels, 1, bias=False)
        self.squeeze_low = nn.Sequential(nn.Conv2d(low, low_mid, 1), nn.BatchNorm2d(low_mid))
        self.pwc2 = nn.Conv2d(low_mid, out_channels - (low_mid if lower != "eq11-full" else 0), 1)
        self.norm_up, self.norm_low = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        # ceil_mode, so that odd sizes come out as the strided convolution's; without it,
        # count_include_pad=False changes nothing but torch.compile's backward, which is wrong at
        # the last row of an odd size (pytorch issue 198119)
        self.pool = (
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
            if stride == 2
            else nn.Identity()
        )
        self.average = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        up, low = x.split(self.split, dim=1)
        up = self.squeeze_up(up)
        y1 = self.norm_up(self.gwc(up) + self.pwc1(self.pool(up)))  # (n, c2, h2, w2)
        low = (
            self.squeeze_low(self.pool(low))
            if self.lower_pool == "before"
            else self.pool(self.squeeze_low(low))
        )
        kept = (low,) if self.lower != "eq11-full" else ()
        y2 = self.norm_low(torch.cat((self.pwc2(low), *kept), dim=1))  # (n, c2, h2, w2)
        beta1 = (
            self.average(y1) - self.average(y2)
        ).sigmoid()  # a softmax over two, per channel: (n, c2, 1, 1)
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
        kernel_size, stride = one("kernel_size", kernel_size), one("stride", stride)
        dilation = one("dilation", dilation)
        self.order = _order(order)
        if self.order not in ORDERS:
            ways = ", ".join(o if isinstance(o, str) else "[" + ", ".join(o) + "]" for o in ORDERS)
            raise ValueError(f"`order` (={order!r}) must be one of {ways}")
        padding = dilation * (kernel_size // 2)
        # what code around a convolution reads of it, in nn.Conv2d's own form; seen from
        # outside it has one group
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, 1
        self.kernel_size, self.stride = (kernel_size, kernel_size), (stride, stride)
        self.padding, self.dilation = (padding, padding), (dilation, dilation)
        self.padding_mode = padding_mode
        if self.order == "parallel" and in_channels != out_channels:
            raise ValueError(
                f"order 'parallel' adds SRU(x) to CRU(x): `in_channels` (={in_channels}) must "
                f"equal `out_channels` (={out_channels}); "
                "use order [sru, cru] here"
            )
        if self.order == ("sru",):
            self.conv = nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                dilation,
                bias=False,
                padding_mode=padding_mode,  # type: ignore[arg-type]
            )
        else:
            self.cru = CRU(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                dilation=dilation,
                alpha=alpha,
                squeeze=squeeze,
                groups=groups,
                lower=lower,
                lower_pool=lower_pool,
                padding_mode=padding_mode,  # type: ignore[arg-type]
            )
        if self.order != ("cru",):
            channels = out_channels if self.order == ("cru", "sru") else in_channels
            self.sru = SRU(channels, gn_groups=gn_groups, gate=gate, threshold=threshold)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        if self.order == "parallel":
            side = self.sru(x)
            # functional, because the paper's counting sees modules only, and its C&S
            # row shows no pool
            return self.cru(x) + (
                F.avg_pool2d(side, 2, ceil_mode=True, count_include_pad=False)
                if self.stride == (2, 2)
                else side
            )
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
    if _order(order) == ("sru",):
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


def _order(order: Sequence[str] | str) -> Sequence[str]:
    return tuple(order) if isinstance(order, list | tuple) else order


def _widths(
    c1: int, c2: int, alpha: float, squeeze: int, groups: int, lower: str
) -> tuple[int, int, int, int]:
    """(upper, low, squeezed upper, squeezed low) channel counts, or the one error that says why
    there are none.
    """
    _fraction("alpha", alpha)
    _positive_int("squeeze", squeeze)
    _positive_int("groups", groups)
    if lower not in ("paper", "eq11", "eq11-full"):
        raise ValueError(f"`lower` (={lower!r}) must be 'paper', 'eq11' or 'eq11-full'")
    if c2 % groups:
        raise ValueError(
            f"`out_channels` (={c2}) must be divisible by `groups` (={groups}); use "
            f"groups={math.gcd(c2, groups)}"
        )
    upper = int(alpha * c1 + 1e-3)  # so that 0.333333 means a third
    step = squeeze * groups
    if upper == 0 or upper % step:
        nearest = min(range(step, c1, step), key=lambda u: abs(u - alpha * c1), default=None)
        way = (
            f"use alpha={nearest / c1:g}"
            if nearest
            else f"`in_channels` (={c1}) is too few for that; use smaller squeeze or groups"
        )
        raise ValueError(
            f"`alpha` * `in_channels` (={upper} of {c1}) must be a positive multiple of `squeeze` "
            f"* `groups` (={squeeze} * {groups}); {way}"
        )
    low = c1 - upper
    divided, name = (c2, "out_channels") if lower == "paper" else (low, "(1 - alpha) * in_channels")
    if divided % squeeze:
        raise ValueError(
            f"`{name}` (={divided}) must be divisible by `squeeze` (={squeeze}); use "
            f"squeeze={math.gcd(divided, squeeze)}"
        )
    low_mid = divided // squeeze
    if low_mid >= c2 and lower != "eq11-full":
        raise ValueError(
            f"the squeezed lower part (={low_mid} channels) must be narrower than `out_channels` "
            f"(={c2}); use a larger squeeze"
        )
    return upper, low, upper // squeeze, low_mid


def _fraction(name: str, value: float) -> None:
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"`{name}` (={value!r}) must be a number between 0 and 1, both excluded")


def _positive_int(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` (={value!r}) must be a whole number of at least 1")
