"""The conditions that a trained network is tested under: which channels are there, at which size.

A condition is a name and what it does to a test image. The whole image is always one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runners import data
from runners.errors import SweepError
from runners.plan import Evaluate, Sweep
from runners.plan.evaluating import MEASURES
from runners.trial.network import build
from runners.trial.untrained import untrained
from scconv.channels import Mask, Present, mask_of, name_of, subsets, takes_subsets


@dataclass(frozen=True)
class Condition:
    """What is done to a test image.

    Attributes:
        name: for readers, such as RG.
        mask: which channels are there.
        size: the side in pixels that the image is brought to; None: it stays as it is.
    """

    name: str
    mask: Mask
    size: int | None = None

    @property
    def whole(self) -> bool:
        return all(self.mask) and self.size is None


def conditions(evaluate: Evaluate, channels: int) -> list[Condition]:
    """Every condition for images of so many channels, the whole images first.

    Raises:
        ValueError: a subset that there is not, or all subsets of more than ten channels.
    """
    every = (True,) * channels
    found = [Condition(name_of(every), every)]
    if evaluate.channels == "all":
        found += [Condition(name, mask) for name, mask in subsets(channels)[1:]]
    else:
        for i, name in enumerate(evaluate.channels):
            try:
                found.append(Condition(name, mask_of(name, channels)))
            except ValueError as error:
                raise ValueError(f"evaluate.channels.{i}: {error}") from None
    found += [Condition(f"{size}px", every, size) for size in evaluate.sizes]
    return [*dict.fromkeys(found)]


def check(sweep: Sweep) -> list[Condition]:
    """A sweep's conditions, checked before anything is launched; none where it asks for none.

    Raises:
        SweepError: a condition, the measure or a fill is not possible; place, rule and way out.
    """
    if sweep.evaluate is None:
        return []
    channels = {}
    for variant, config in sweep.variants.items():
        channels[variant] = data.shape(config.dataset, sweep.own(config).data)[1][0]
    if len({*channels.values()}) > 1:
        raise SweepError(
            f"{sweep.path}: evaluate: all variants must have images of as many channels, got "
            f"{channels}; make two sweeps of them"
        )
    try:
        found = conditions(sweep.evaluate, next(iter(channels.values())))
    except ValueError as error:
        raise SweepError(f"{sweep.path}: {error}") from None
    names = [c.name for c in found]
    if sweep.measure not in (*MEASURES, *names):
        raise SweepError(
            f"{sweep.path}: measure: must be one of {', '.join((*MEASURES, *names))}, got "
            f"{sweep.measure!r}"
        )
    _check_networks(sweep, found)
    return found


def _check_networks(sweep: Sweep, found: Iterable[Condition]) -> None:
    """Every network takes what it will be given; built on the meta device, which costs nothing."""
    sizes = [c.size for c in found if c.size]
    for variant, config in sweep.variants.items():
        own, fill = sweep.own(config), sweep.fill(variant)
        if fill != "none" and not sizes:
            continue
        classes, (c, _, _) = data.shape(config.dataset, own.data)
        model, _ = build(config, classes, own, device="meta")
        if fill == "none" and not takes_subsets(model):
            raise SweepError(
                f"{sweep.path}: variants.{variant}.fill: none is for a stem that takes subsets of "
                "the channels, and this one takes none; use linear, mean, copy or black"
            )
        for size in sizes:
            _check_size(sweep, variant, model, (2, c, size, size))


def _check_size(sweep: Sweep, variant: str, model: nn.Module, shape: tuple[int, ...]) -> None:
    try:
        with torch.no_grad():
            model.eval()(torch.empty(shape, device="meta"))
    except Exception as error:  # a backbone of the user's own may raise anything
        reason = " ".join(str(error).split())[:160]
        raise SweepError(
            f"{sweep.path}: evaluate.sizes: variants.{variant} takes no images of {shape[-1]} "
            f"pixels ({reason}); leave that size out"
        ) from None


def never_trained(sweep: Sweep) -> list[str]:
    """A line for each variant that some conditions make use parameters that nothing trains."""
    masks = {c.name: c.mask for c in check(sweep) if not c.size}
    lines = []
    for variant, config in sweep.variants.items():
        if sweep.fill(variant) not in ("", "none"):
            continue
        own = sweep.own(config)
        classes, image = data.shape(config.dataset, own.data)
        found = untrained(config, own, classes, image, masks)
        for name, parameters in found.items():
            if parameters:
                lines.append(f"note: {variant}, {name}: {rests_on(parameters)}")
    return lines


def rests_on(parameters: list[str]) -> str:
    """What a condition uses and nothing trains, for readers."""
    many = f"{len(parameters)} parameter{'' if len(parameters) == 1 else 's'}"
    return f"rests on {', '.join(parameters)} ({many}), never trained"


def masked(x: Tensor, mask: Mask) -> Present:
    """Normalised images (n, c, h, w) as a stem that takes subsets has them."""
    there = torch.tensor(mask, device=x.device)
    return Present(x, there.expand(len(x), -1))
