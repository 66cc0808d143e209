"""Replace convolutions of any model, say what was replaced, and refuse to replace nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from scconv.convs import find

Where = Callable[[str, nn.Conv2d], bool]


@dataclass(frozen=True)
class Swap:
    """One replaced convolution: its path in the model, and the parameters before and after."""

    path: str
    params_before: int
    params_after: int


def inner_3x3(path: str, conv: nn.Conv2d) -> bool:
    """The default place in a model that names none: a 3x3 convolution that is neither the image stem nor depthwise."""
    return conv.kernel_size == (3, 3) and conv.in_channels > 4 and (conv.groups == 1 or conv.groups < conv.in_channels)


def replace_convs(model: nn.Module, conv: str, *, path: str | Path | None = None, where: Where | None = None, **options) -> list[Swap]:
    """Replace convolutions of `model`, in place, by the convolution called `conv`.

    Args:
        model: any module. A backbone of this package says in `places` which convolutions its paper replaces; of any other model,
            every 3x3 convolution but the stem and the depthwise ones is taken.
        conv: a name in the catalogue (`scconv/convs/`).
        path: the file that defines it, for a convolution outside the catalogue.
        where: `where(path, conv) -> bool`, to choose other places.
        options: handed to the convolution.

    Returns:
        What was replaced, in the model's own order. Empty for "standard", which replaces nothing by definition.

    Raises:
        ValueError: nothing to replace; or the convolution refuses a place, which the message then names.
    """
    drop_in = find(conv, path)
    places = getattr(model, "places", None)
    chosen = where or ((lambda name, _: name in places) if places is not None else inner_3x3)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and chosen(n, m)]
    swaps, replaced = [], {}
    for name, old in found:
        try:
            new = drop_in(old, **options)
        except (ValueError, TypeError) as error:
            raise ValueError(f"layer {name}: {error}") from error
        if new is not old:
            before = _params(old)
            replaced[name] = new.to(old.weight.device, old.weight.dtype).train(old.training)
            swaps.append(Swap(name, before, _params(new)))
    for name, new in replaced.items():
        parent, _, leaf = name.rpartition(".")
        block = model.get_submodule(parent)
        channels, before = getattr(new, "out_channels", None), getattr(block, leaf).out_channels
        setattr(block, leaf, new)
        if channels not in (None, before):
            _narrow(block, name, conv, channels, before)
    if not swaps and conv != "standard":
        raise ValueError(f"conv '{conv}' replaced nothing in {type(model).__name__}: no 3x3 convolution to take; name others with `where`")
    return swaps


def _narrow(block: nn.Module, place: str, conv: str, channels: int, before: int) -> None:
    """Fit what follows in the block to a convolution that makes other channels; the block itself knows how."""
    narrow = getattr(block, "narrow", None)
    if narrow is None:
        raise ValueError(f"layer {place}: '{conv}' makes {channels} channels of {before}, and a {type(block).__name__} cannot narrow what follows")
    with torch.device(next(block.parameters()).device):
        narrow(channels)


def _params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
