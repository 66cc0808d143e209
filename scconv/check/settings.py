"""The rule on settings: what a convolution can be besides a plain 3x3."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scconv.check.design import Broken, Design

# what a convolution can be besides 3x3, each as nn.Conv2d takes it; the design keeps it or
# refuses it by name
SETTINGS: dict[str, dict[str, Any]] = {
    "padding_mode": {"padding_mode": "circular"},
    "dilation": {"dilation": 2, "padding": 2},
    "bias": {"bias": True},
    "kernel_size": {"kernel_size": 5, "padding": 2},
    "padding": {"padding": 0},
    "padding same": {"padding": "same"},
    "stride": {"stride": (2, 1)},
    "kernel_size of two numbers": {"kernel_size": (3, 1), "padding": (1, 0)},
}


def settings(design: Design) -> str:
    """settings: each setting of the convolution is kept, or refused by its name."""
    refused = []
    for title, setting in SETTINGS.items():
        name = title.split()[0]
        try:
            old, new = design.place(**setting)
        except ValueError as error:
            if f"`{name}`" not in str(error):
                raise Broken(f"{title}: its refusal does not name `{name}`: {error}") from None
            refused.append(title)
            continue
        _kept(title, name, old, new)
        if isinstance(old, nn.Conv2d):
            want = list(old(torch.randn(2, design.width, 9, 9)).shape)
            want[1] = getattr(new, "out_channels", want[1])
            got = list(new(torch.randn(2, design.width, 9, 9)).shape)
            if got != want:
                raise Broken(f"{title} {setting}: made {got}, the convolution makes {want}")
    return "all kept" + (f" but {', '.join(refused)}, which it refuses" if refused else "")


def _kept(title: str, name: str, old: nn.Module, new: nn.Module) -> None:
    """Whether what has to do with a setting has it."""
    wide = [m for m in new.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    olds = [m for m in old.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    if name == "padding_mode" and any(m.padding_mode != "circular" for m in wide):
        raise Broken(
            "`padding_mode` is lost: a convolution inside pads with zeros where the one it "
            "replaces is circular"
        )
    if name == "dilation" and any(m.dilation != olds[0].dilation for m in wide):
        raise Broken(
            "`dilation` is lost: a convolution inside has another than the one it replaces"
        )
    # a norm's shift or a bias, of the whole output or of its parts
    shifts = any(p.dim() == 1 for p in new.parameters()) or getattr(new, "covers", ())
    if name == "bias" and not shifts:
        raise Broken("`bias` is lost: nothing inside can shift a channel of the output")
