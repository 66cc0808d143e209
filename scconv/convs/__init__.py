"""The catalogue of convolutions: one file each, and the file's name is the convolution's name.

A file defines `drop_in(conv, **options) -> nn.Module`: what takes the place of one `nn.Conv2d`. A
design that changes the maps between convolutions defines `convert(model, **options) -> {path:
nn.Module}` instead: everything that takes another module's place in a network. Options are
keyword-only with literal defaults, so that a sweep can be checked against them without importing
torch. COST, if there, declares what a 3x3 convolution 64 -> 64 at 32x32 counts with the default
options; `python -m scconv.check` holds the file to it.

VERSION, a whole number, is 1 where a file has none. It is raised when the convolution's numbers
change: trials of another version are
other trials. A file outside the catalogue needs none, since its content is part of the trial's
identity.
"""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from scconv import loading

# a file defines one of them
FUNCTIONS = {
    "drop_in": "drop_in(conv, **options) -> nn.Module",
    "convert": "convert(model, **options) -> {path: nn.Module}",
}


def find(name: str, path: str | Path | None = None, *, fresh: bool = False) -> ModuleType:
    """The catalogue's file `name`.py, or the file at `path`, as a module.

    The module has `drop_in` or `convert`.

    Args:
        fresh: run the file at `path` again, even if one of the same content has been.

    Raises:
        ValueError: there is no such file, it cannot be imported, or it defines neither.
    """
    return loading.named("conv", name, path or None, __name__, FUNCTIONS, fresh=fresh)


def keeps_size(conv: nn.Conv2d) -> None:
    """Refuse a convolution that a design with one kernel size, stride and dilation and with padding
    of half the kernel cannot stand for.

    Raises:
        ValueError: says which of them it is.
    """
    kernel = one("kernel_size", conv.kernel_size)
    one("stride", conv.stride)
    dilation = one("dilation", conv.dilation)
    if kernel % 2 == 0:
        raise ValueError(f"`kernel_size` (={kernel}) must be odd; keep this convolution as it is")
    half = dilation * (kernel // 2)
    if conv.padding not in ("same", (half, half)):
        raise ValueError(
            f"`padding` (={conv.padding}) must keep the size (dilation * (kernel_size // 2)); "
            "keep this convolution as it is"
        )


def divides(name: str, parts: int, conv: nn.Conv2d) -> None:
    """Refuse a number of parts that does not divide both channel counts of the convolution.

    Raises:
        ValueError: says which one, and the most parts that do.
    """
    for side, channels in (("in_channels", conv.in_channels), ("out_channels", conv.out_channels)):
        if parts < 1 or channels % parts:
            most = math.gcd(conv.in_channels, conv.out_channels)
            raise ValueError(
                f"`{side}` (={channels}) must be divisible by `{name}` (={parts}); use "
                f"{name}={most}"
            )


def one(name: str, value: int | tuple[int, ...]) -> int:
    """A number that is given as torch takes it, 3 or (3, 3), as one number.

    Raises:
        ValueError: it is another number in each direction.
    """
    if not isinstance(value, int) and len({*value}) != 1:
        raise ValueError(
            f"`{name}` (={value}) must be the same in both directions; use {max(value)}, or keep "
            "this convolution as it is"
        )
    return value if isinstance(value, int) else value[0]


def like(
    conv: nn.Conv2d, in_channels: int, out_channels: int, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution with other channels but the kernel, stride, padding (and its mode) and dilation
    of `conv`.
    """
    geometry: dict[str, Any] = {
        k: getattr(conv, k)
        for k in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    }
    return nn.Conv2d(in_channels, out_channels, **geometry, groups=groups, bias=bias)
