"""The network of a config: built, counted, and compared with another one."""

from __future__ import annotations

import functools
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
    """What a config's network costs for one image of its data set, how many convolutions it replaces, and its printed structure."""
    if config.dataset not in datasets.SETS:
        datasets.load(config.dataset)  # for its error
    network = Config(
        config.backbone, config.dataset, config.conv, config.conv_digest, config.options
    )
    return _measure(network.canonical, conv_path)


@functools.cache
def _measure(canonical: str, conv_path: str) -> tuple[Cost, int, str]:
    """Built once for all the rates and seeds that train the same network."""
    config = Config(**json.loads(canonical))
    classes, image, *_ = datasets.SETS[config.dataset]
    model, swapped = build(config, classes, conv_path, device="meta")
    return cost(model, image), swapped, repr(model)


def outputs(config: Config, conv_path: str = "") -> list[float]:
    """What a config's network, with weights drawn in their order, makes of one fixed batch: equal for equal networks."""
    classes, image, *_ = datasets.SETS[config.dataset]
    torch.manual_seed(0)
    model, _ = build(config, classes, conv_path)
    with torch.no_grad():
        for parameter in model.parameters():  # none may hide behind a zero it starts from
            parameter.normal_(std=0.1)
        x = torch.randn(4, *image)
        return [
            *model.train()(x).flatten().tolist(),
            *model.eval()(x).flatten().tolist(),
        ]  # dropout shows in training alone
