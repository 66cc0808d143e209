"""The network of a config: built, counted, and compared with another one."""

from __future__ import annotations

import functools
import hashlib
import json

import torch

from runners.data import dataset as datasets
from runners.plan import Config
from scconv import Cost, backbones, cost, replace_convs


def build(
    config: Config, classes: int, conv_path: str = "", *, device: str = "cpu"
) -> tuple[torch.nn.Module, int]:
    """The network of a config, and how many of its convolutions were replaced.

    Raises:
        ValueError: an unknown backbone, or a convolution that refuses a place; names the layer.
    """
    with torch.device(device):
        model = backbones.build(config.backbone, classes)
        return model, len(
            replace_convs(model, config.conv, path=conv_path or None, **config.options)
        )


def measure(config: Config, conv_path: str = "") -> tuple[Cost, int, str]:
    """What a config's network costs for one image, how many convolutions it replaces, its layers."""
    if config.dataset not in datasets.SETS:
        datasets.load(config.dataset)  # for its error
    return _measure(_network(config), conv_path)


def _network(config: Config) -> str:
    """The part of a config that says which network it is."""
    return Config(
        config.backbone, config.dataset, config.conv, config.conv_digest, config.options
    ).canonical


@functools.cache
def _measure(canonical: str, conv_path: str) -> tuple[Cost, int, str]:
    """Built once for all the rates and seeds that train the same network."""
    config = Config(**json.loads(canonical))
    classes, image, *_ = datasets.SETS[config.dataset]
    model, swapped = build(config, classes, conv_path, device="meta")
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


def fingerprint(config: Config, conv_path: str = "") -> str:
    """Equal for networks of one function and the same first weights: from one seed both end alike.

    For the function, weights are drawn again after building, in their order. So it does not depend on
    what building draws, and no part of it is behind a weight that starts at zero.
    """
    return _fingerprint(_network(config), conv_path)


@functools.cache
def _fingerprint(canonical: str, conv_path: str) -> str:
    config = Config(**json.loads(canonical))
    classes, image, *_ = datasets.SETS[config.dataset]
    torch.manual_seed(0)
    model, _ = build(config, classes, conv_path)
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
