"""Replace convolutions of any model, say what was replaced, and refuse to replace nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import nn

from scconv import places
from scconv.convs import find
from scconv.initial import in_place_of

Where = Callable[[str, nn.Conv2d], bool]


@dataclass(frozen=True)
class Swap:
    """One replaced convolution: its path in the model, and the parameters before and after."""

    path: str
    params_before: int
    params_after: int


def replace_convs(
    model: nn.Module,
    conv: str,
    *,
    path: str | Path | None = None,
    where: Where | Literal["first"] | None = None,
    keep_norm: bool = True,
    **options,
) -> list[Swap]:
    """Replace convolutions of `model`, in place, by the convolution called `conv`.

    A convolution may change the block around it, where the block offers that: one with another
    `out_channels` has the block's `narrow(channels)` called; one that says in `covers` that it
    stands for the "norm" or the "act" behind it too has the layers that the block names in `after`
    removed. A design that changes the maps between convolutions converts the whole network
    (`convert`).

    A design's convolutions start as those of the backbone do: one of the replaced one's shape takes
    over its weights, and every other one is drawn by the backbone's rule, unless the design sets
    its weights itself (scconv/initial.py).

    Args:
        model: any module. A backbone of this package says in `places` which convolutions its paper
            replaces; of any other model, every 3x3 convolution but the stem, depthwise ones and
            output layers is taken. Nothing inside an earlier replacement is.
        conv: a name in the catalogue (`scconv/convs/`).
        path: the file that defines it, for a convolution outside the catalogue.
        where: `where(path, conv) -> bool`, to choose other places; "first" is the network's first
            convolution, its stem.
        keep_norm: False removes the block's BatchNorm after each replaced convolution.
        options: handed to the convolution.

    Returns:
        What was replaced, in the model's own order. Empty for "standard", which replaces nothing by
        definition.

    Raises:
        ValueError: nothing to replace; or the convolution refuses a place, which the message then
            names.
    """
    design = find(conv, path)
    # drawn for every design alike, so that what is drawn after this does not depend on it
    seed = int(torch.randint(2**62, (), device="cpu"))
    with torch.device(next((p.device for p in model.parameters()), "cpu")):
        return _replace(model, conv, design, where, keep_norm, options, seed)


def _replace(
    model: nn.Module,
    conv: str,
    design: ModuleType,
    where: Where | Literal["first"] | None,
    keep_norm: bool,
    options: dict[str, Any],
    seed: int,
) -> list[Swap]:
    if hasattr(design, "convert"):
        if where or not keep_norm:
            raise ValueError(
                f"conv '{conv}' converts a whole network; leave `where` and `keep_norm` out"
            )
        with in_place_of(None, seed, "convert"):
            converted = design.convert(model, **options)
        return _put(model, conv, converted)
    chosen = _first(model) if where == "first" else where or _default(model)
    replaced: dict[str, nn.Module] = {}
    made: dict[
        nn.Module, nn.Module
    ] = {}  # a convolution that stands at two paths is replaced by one at both
    for name, old in [(n, m) for n, m in places.convolutions(model) if chosen(n, m)]:
        try:
            with in_place_of(old, seed, name):
                new = made[old] if old in made else design.drop_in(old, **options)
        except (ValueError, TypeError) as error:
            raise ValueError(f"layer {name}: {error}") from error
        made[old] = new
        if new is not old:
            replaced[name] = new
    fits = [
        _fit(model, name, conv, new, keep_norm) for name, new in replaced.items()
    ]  # all are asked before any is changed
    swaps = _put(model, conv, replaced)
    for fit in fits:
        fit()
    return swaps


def _default(model: nn.Module) -> Where:
    """The places that the model names, else every inner 3x3 convolution."""
    named = getattr(model, "places", None)
    if named is not None:
        return lambda path, _: path in named
    outputs = places.outputs_of(model)
    return lambda path, conv: path not in outputs and places.inner_3x3(path, conv)


def _first(model: nn.Module) -> Where:
    """The first convolution in the model's own order, where no earlier call replaced it."""
    for path, module in model.named_modules():
        if path and (places.marked(module) or isinstance(module, nn.Conv2d)):
            return lambda name, _: name == path
    return lambda *_: False


def _put(model: nn.Module, conv: str, replaced: dict[str, nn.Module]) -> list[Swap]:
    """Put every new module in its place, on the device and in the dtype of the old one; the
    convolutions among them are the swaps.
    """
    swaps, told, before = [], set(), {name: model.get_submodule(name) for name in replaced}
    for name, new in replaced.items():
        parent, _, leaf = name.rpartition(".")
        old = before[name]
        if (parameter := next(old.parameters(), None)) is not None:
            new.to(parameter.device, parameter.dtype)
        if isinstance(old, nn.Conv2d):
            _describe(new, old)
            places.mark(new, conv)
            if old not in told:  # a shared one is told once
                told.add(old)
                swaps.append(Swap(name, _params(old), _params(new)))
        setattr(model.get_submodule(parent), leaf, new.train(old.training))
    if not swaps and conv != "standard":
        raise ValueError(
            f"conv '{conv}' replaced nothing in {type(model).__name__}: {_why_nothing(model)}"
        )
    return swaps


# what timm, FPN builders and exporters read of a convolution
DESCRIPTION = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)


def _describe(new: nn.Module, old: nn.Conv2d) -> None:
    """Let the replacement say of itself what the convolution said, where it does not say so
    already.
    """
    for name in DESCRIPTION:
        if not hasattr(new, name):
            setattr(new, name, getattr(old, name))


def _why_nothing(model: nn.Module) -> str:
    before = places.replaced_before(model)
    if before:
        return (
            f"{len(before)} of its convolutions were replaced already, by "
            f"{', '.join(sorted({*before}))}; "
            "build the network anew to replace them by another"
        )
    return "no 3x3 convolution to take; name others with `where`"


def _fit(
    model: nn.Module, name: str, conv: str, new: nn.Module, keep_norm: bool
) -> Callable[[], None]:
    """What is to be done to the block of the convolution `name` once `new` is in its place; the
    block itself must offer it.

    Raises:
        ValueError: it does not.
    """
    parent, _, leaf = name.rpartition(".")
    block = model.get_submodule(parent)
    kind, before = type(block).__name__, getattr(block, leaf).out_channels
    channels = getattr(new, "out_channels", None) or before
    offers = leaf == getattr(
        block, "place", leaf
    )  # what a block offers, it offers for the place that its paper replaces
    narrow, after = (
        (getattr(block, "narrow", None), getattr(block, "after", {})) if offers else (None, {})
    )
    if channels != before and narrow is None:
        raise ValueError(
            f"layer {name}: '{conv}' makes {channels} channels of {before}, and a {kind} cannot "
            "narrow what follows"
        )
    covered = {*getattr(new, "covers", ())} | (set() if keep_norm else {"norm"})
    if missing := covered - {*after}:
        raise ValueError(
            f"layer {name}: '{conv}' is to stand for the {' and '.join(sorted(missing))} after it "
            f"too, which a {kind} does not offer"
        )

    def fit() -> None:
        if narrow and channels != before:
            narrow(channels)
        for layer in covered:
            setattr(block, after[layer], nn.Identity())

    return fit


def _params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
