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
from scconv.backbones.small_images import LARGEST
from scconv.channels import Present, takes_subsets


def build(
    config: Config, classes: int, own: Own = PACKAGE, *, device: str = "cpu"
) -> tuple[torch.nn.Module, int]:
    """The network of a config, and how many of its convolutions were replaced, without the stem.

    Raises:
        ValueError: an unknown backbone, a convolution that refuses a place (names the layer), or
            lost channels where the stem takes all of them alone.
    """
    with torch.device(device):
        model = backbones.build(
            config.backbone, classes, own.backbone or None, **config.backbone_options
        )
        swaps = replace_convs(model, config.conv, path=own.conv or None, **config.options)
        # last, so that what is drawn for the rest of the network does not depend on the stem; and
        # a network without one is drawn as it always was
        if config.stem != "standard":
            path = own.stem or None
            replace_convs(model, config.stem, path=path, where="first", **config.stem_options)
    if config.drop_channels != "none" and not takes_subsets(model):
        raise ValueError(
            f"drop_channels: {config.drop_channels} needs a stem that takes any subset of the "
            f"channels, and '{config.stem}' takes all of them alone; use stem: set or subset, or "
            "remove it"
        )
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
    network = {name: getattr(config, name) for name in (*NETWORK, "drop_channels")}
    return json.dumps(network, sort_keys=True), replace(own, dataset="", data=None)


@functools.cache
def _measure(
    network: str, own: Own, classes: int, image: tuple[int, int, int]
) -> tuple[Cost, int, str]:
    """Built once for all the rates and seeds that train the same network."""
    config = Config(dataset="", **json.loads(network))
    model, swapped = build(config, classes, own, device="meta")
    if not own.backbone and ":" in config.backbone:
        _check_size(config, image)
    if own.backbone or ":" in config.backbone:
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


def _check_size(config: Config, image: tuple[int, int, int]) -> None:
    """Refuse a network that was made for small images where they are large: it would take all day,
    and be another network than its name says.
    """
    side = max(image[1:])
    if side > LARGEST and config.backbone_options.get("small", True):
        raise ValueError(
            f"backbone '{config.backbone}': is made for images of up to {LARGEST} pixels a side, "
            f"and these have {side}; add backbone_options: {{small: false}}"
        )


def _check_scores(
    backbone: str, model: torch.nn.Module, classes: int, image: tuple[int, int, int]
) -> None:
    """Refuse a backbone of one's own that does not make (n, classes) of (n, c, h, w)."""
    try:
        with torch.no_grad():
            made = model.eval()(torch.zeros(2, *image, device="meta"))
    except Exception as error:  # a user's file may raise anything
        raise ValueError(
            f"backbone '{backbone}': fails on two images {(2, *image)} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); mend it, or take "
            "another backbone or larger images"
        ) from error
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
        # two stems may differ in what they do of a part of the channels
        if takes_subsets(model):
            mask = torch.arange(image[0]) < torch.arange(1, 5)[:, None]  # (4, c)
            digest.update(model(Present(x, mask)).numpy().tobytes())
    return digest.hexdigest()
