"""The parameters that a network uses under a condition and that its training never reaches.

A network is trained with some of the subsets of its channels and looked at with others. Where its
stem has weights of their own for a number of channels, what it makes of the others may rest on
weights as they were drawn.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from runners.plan import NETWORK, Config, Own
from runners.trial.network import build
from scconv.channels import Mask, Present, drawable, takes_subsets

IMAGES = 2


def untrained(
    config: Config,
    own: Own,
    classes: int,
    image: tuple[int, int, int],
    conditions: Mapping[str, Mask],
) -> dict[str, list[str]]:
    """condition -> names of the parameters that it uses and that no training mask reaches.

    A parameter is reached, or used, where the loss has a gradient for it that is not zero: one
    backward for every mask that the training can draw, and one for every condition, on a few random
    images on the CPU. Of a stem that takes all channels alone, every list is empty, since what is
    missing is filled before the network.

    Args:
        image: (c, h, w).
        conditions: name -> the channels that are there.

    Raises:
        ValueError: the network cannot be built.
    """
    training = {"drop_channels": config.drop_channels, "drop_p": config.drop_p}
    network = json.dumps({name: getattr(config, name) for name in NETWORK} | training)
    own = replace(own, dataset="", data=None)
    found = _untrained(network, own, classes, image, tuple(conditions.values()))
    return {name: [*names] for name, names in zip(conditions, found, strict=True)}


@functools.lru_cache
def _untrained(
    network: str,
    own: Own,
    classes: int,
    image: tuple[int, int, int],
    conditions: tuple[Mask, ...],
) -> tuple[tuple[str, ...], ...]:
    """Found once for all the rates and seeds that train the same network."""
    config = Config(dataset="", **json.loads(network))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, _ = build(config, classes, own)
        if not takes_subsets(model):
            return ((),) * len(conditions)
        with torch.no_grad():
            for parameter in model.parameters():
                # what is behind a weight that starts at zero is used all the same
                parameter += 0.01 * torch.randn_like(parameter)
        x, y = torch.randn(IMAGES, *image), torch.arange(IMAGES) % classes
    drawn = drawable(config.drop_channels, config.drop_p, image[0])
    trained: set[str] = set()
    for mask in drawn:
        # without lost channels the training gives the images alone
        given = x if config.drop_channels == "none" else _of(x, mask)
        trained |= _reached(model.train(), given, y)
    model.eval()
    used = [_reached(model, _of(x, mask), y) for mask in conditions]
    names = [name for name, _ in model.named_parameters()]
    return tuple(tuple(n for n in names if n in u - trained) for u in used)


def _of(x: torch.Tensor, mask: Iterable[bool]) -> Present:
    return Present(x, torch.tensor([*mask]).expand(len(x), -1))


def _reached(model: nn.Module, x: torch.Tensor | Present, y: torch.Tensor) -> set[str]:
    """The names of the parameters for which the loss has a gradient that is not zero."""
    model.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[]):
        F.cross_entropy(model(x), y).backward()
    gradients = ((name, p.grad) for name, p in model.named_parameters())
    return {name for name, gradient in gradients if gradient is not None and gradient.any()}
