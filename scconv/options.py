"""What SCConv's options may be; each refusal says the rule, the value and the way out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

ORDERS = (("sru",), ("cru",), ("sru", "cru"), ("cru", "sru"), "parallel")


def order_of(order: Sequence[str] | str, in_channels: int, out_channels: int) -> Sequence[str]:
    """`order` as one of ORDERS.

    Raises:
        ValueError: it is none of them, or its sum has two widths.
    """
    found = as_order(order)
    if found not in ORDERS:
        ways = ", ".join(o if isinstance(o, str) else "[" + ", ".join(o) + "]" for o in ORDERS)
        raise ValueError(f"`order` (={order!r}) must be one of {ways}")
    if found == "parallel" and in_channels != out_channels:
        raise ValueError(
            f"order 'parallel' adds SRU(x) to CRU(x): `in_channels` (={in_channels}) must "
            f"equal `out_channels` (={out_channels}); "
            "use order [sru, cru] here"
        )
    return found


def as_order(order: Sequence[str] | str) -> Sequence[str]:
    """As ORDERS has it, whatever kind of sequence it is."""
    return tuple(order) if isinstance(order, list | tuple) else order


def geometry(k: int, stride: int, dilation: int, padding_mode: str) -> dict[str, Any]:
    """nn.Conv2d's arguments for a k x k convolution that keeps the size, without bias."""
    return {
        "kernel_size": k,
        "stride": stride,
        "padding": dilation * (k // 2),
        "dilation": dilation,
        "padding_mode": padding_mode,
        "bias": False,
    }


def check_sru(channels: int, gn_groups: int, gate: str, threshold: float) -> None:
    """Refuse an SRU that cannot be.

    Raises:
        ValueError: a channel count, `gn_groups`, `gate` or `threshold`.
    """
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


def check_cru(kernel_size: int, stride: int, lower_pool: str) -> None:
    """Refuse a CRU of a kernel, stride or pool that it has no form for.

    Raises:
        ValueError: a stride other than 1 and 2, an even kernel, an unknown `lower_pool`.
    """
    if lower_pool not in ("before", "after"):
        raise ValueError(f"`lower_pool` (={lower_pool!r}) must be 'before' or 'after'")
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


def widths(
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
