"""The catalogue of backbones: one file each, and the file's name is the backbone's name.

A file defines `build(classes, *, option=default) -> nn.Module`, (n, 3, h, w) -> (n, classes),
freshly initialised from torch's global generator. Options are keyword-only with literal defaults,
so that a sweep can be checked against them without importing torch. The files without `build` are
the families that the others share. A name that ends in _imagenet has the stem for 224x224 images,
else for 32x32. A file may instead define `build_named(model, classes, *, option=default)`: its
models are called FILE:MODEL, such as torchvision:resnet18.

VERSION is what it is in scconv/convs: raised when the numbers of the same network change.

A network says in `places` which convolutions the paper replaces: the 3x3 of every bottleneck and
dense layer, the second 3x3 of every basic block; never the stem. Of a network without `places`,
every inner 3x3 convolution is replaced.
"""

import difflib
from pathlib import Path
from typing import Any

from torch import nn

from scconv import loading

FUNCTIONS = {
    "build": "build(classes, *, option=default, ...) -> nn.Module",
    "build_named": "build_named(model, classes, *, option=default, ...) -> nn.Module",
}
NAMES = tuple(loading.names(Path(__file__).parent, tuple(FUNCTIONS)))


def build(name: str, classes: int, path: str | Path | None = None, **options: Any) -> nn.Module:
    """The backbone called `name`, on torch's current default device.

    Args:
        path: the file that defines it, for a backbone outside the catalogue.

    Raises:
        ValueError: no backbone of that name, or it cannot be built or imported.
    """
    file, _, of = name.partition(":")
    if not path and file not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        way = f": did you mean '{close[0]}'?" if close else f"; use one of {', '.join(NAMES)}"
        raise ValueError(f"unknown backbone '{name}'{way}")
    module = loading.named("backbone", file, path or None, __name__, FUNCTIONS)
    if of and hasattr(module, "build_named"):
        model = module.build_named(of, classes, **options)
    elif hasattr(module, "build"):
        model = module.build(classes, **options)
    else:
        raise ValueError(f"backbone '{name}' needs a model's name, such as {name}:resnet18")
    if not isinstance(model, nn.Module):
        raise ValueError(f"backbone '{name}': build must return an nn.Module, got {model!r:.80}")
    return model
