"""A network for large images, made one for images of up to 64 pixels a side.

As is usual with CIFAR: the first convolution becomes 3x3 at stride 1, and the max-pool right behind
it goes. What comes later stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

LARGEST = 64  # pixels a side
EARLY = 4  # a max-pool among so many modules behind the first convolution is the stem's


def for_small_images(model: nn.Module, name: str) -> nn.Module:
    """The same model, changed.

    Args:
        name: for messages.

    Raises:
        ValueError: its first layer is not a convolution that slides, but cuts the image in patches.
    """
    leaves = [(path, m) for path, m in model.named_modules() if not next(m.children(), None)]
    at = next((i for i, (_, m) in enumerate(leaves) if isinstance(m, nn.Conv2d)), None)
    first = leaves[at][1] if at is not None else None
    if at is None or not isinstance(first, nn.Conv2d) or first.kernel_size == first.stride:
        found = "has no convolution" if first is None else f"begins with {first}"
        raise ValueError(
            f"backbone '{name}' {found}, which cannot be made for small images; "
            "use backbone_options: {small: false}, or another model"
        )
    if first.kernel_size != (3, 3) or first.stride != (1, 1):
        new = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
        # drawn as the model draws its convolutions
        if not new.weight.is_meta:
            new.weight.data.normal_(0, float(first.weight.detach().std()))
        _put(model, leaves[at][0], new)
    for path, module in leaves[at + 1 : at + 1 + EARLY]:
        if isinstance(module, nn.Conv2d):
            break
        if isinstance(module, nn.MaxPool2d):
            _put(model, path, nn.Identity())
            break
    return model


def on_any_device(make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` makes, also where it looks at values while it builds and the device has none."""
    try:
        return make()
    except NotImplementedError:
        device = torch.get_default_device()
        with torch.device("cpu"):
            return make().to(device)


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
