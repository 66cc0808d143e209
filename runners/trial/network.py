"""The network of a config: built, counted, and compared with another one."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace

import torch

from runners import data
from runners.plan import NETWORK, PACKAGE, Config, Own
from scconv import Cost, backbones, cost, replace_convs


def build(
    config: Config, classes: int, own: Own = PACKAGE, *, device: str = "cpu"
) -> tuple[torch.nn.Module, int]:
    """The network of a config, and how many of its convolutions were replaced.

    Raises:
        ValueError: an unknown backbone, or a convolution that refuses a place; names the layer.
    """
    with torch.device(device):
        model = backbones.build(
            config.backbone, classes, own.backbone or None, **config.backbone_options
        )
        swaps = replace_convs(model, config.conv, path=own.conv or None, **config.options)
    return model, len(swaps)


def measure(config: Config, own: Own = PACKAGE) -> tuple[Cost, int, str]:
    """A network's cost for one image, its number of replaced convolutions, and printed structure.

    Raises:
        ValueError: it cannot be built, or does not make a score for each class.
    """
    classes, image = data.shape(config.dataset, own.data)
    return _measure(*_network(config, own), classes, image)


def _network(config: Config, own: Own) -> tuple[str, Own]:
    """The part of a config, and of a user's files, that says which network it is."""
    network = {name: getattr(config, name) for name in NETWORK}
    return json.dumps(network, sort_keys=True), replace(own, dataset="", data=None)


@functools.cache
def _measure(
    network: str, own: Own, classes: int, image: tuple[int, int, int]
) -> tuple[Cost, int, str]:
    """Built once for all the rates and seeds that train the same network."""
    config = Config(dataset="", **json.loads(network))
    model, swapped = build(config, classes, own, device="meta")
    if own.backbone:
        _check_scores(config.backbone, model, classes, image)
    return cost(model, image), swapped, _structure(model)


def _structure(model: torch.nn.Module) -> str:
    """Its layers in their order, without the modules that only wrap them.

    Equal networks have equal layers; networks of equal layers may differ.
    """
    lines = []
    for module in model.modules():
        leaf = not next(module.children(), None)
        lines.append(repr(module) if leaf else module.extra_repr())
    return "\n".join(filter(None, lines))


def _check_scores(
    backbone: str, model: torch.nn.Module, classes: int, image: tuple[int, int, int]
) -> None:
    """Refuse a backbone of one's own that does not make (n, classes) of (n, c, h, w)."""
    with torch.no_grad():
        made = model.eval()(torch.zeros(2, *image, device="meta"))
    shape = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
    if shape != (2, classes):
        raise ValueError(
            f"backbone '{backbone}': must make {(2, classes)} of two images {(2, *image)}, "
            f"one score per class; it made {shape}"
        )
    model.train()


def fingerprint(config: Config, own: Own = PACKAGE) -> str:
    """Equal for networks of one function and the same first weights: from one seed both end alike.

    For the function, weights are drawn again after building, in their order. So it does not depend
    on what building draws, and no part of it is behind a weight that starts at zero.
    """
    return _fingerprint(*_network(config, own), *data.shape(config.dataset, own.data))


@functools.cache
def _fingerprint(network: str, own: Own, classes: int, image: tuple[int, int, int]) -> str:
    torch.manual_seed(0)
    model, _ = build(Config(dataset="", **json.loads(network)), classes, own)
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
        x = torch.randn(4, *image)  # (n, c, h, w)
        # dropout shows in training alone
        for y in (model.train()(x), model.eval()(x)):
            digest.update(y.numpy().tobytes())
    return digest.hexdigest()
