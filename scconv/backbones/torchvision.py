"""The image classifiers of torchvision: `torchvision:resnet18`, without their trained weights.

Their names are those of `torchvision.models.list_models`; each has its own reference there.
"""

import difflib
from typing import Any

import torchvision
from torch import nn

from scconv.backbones.small_images import for_small_images, on_any_device

# heads that help in training alone, and are no scores
WITHOUT = {"googlenet": {"aux_logits": False}, "inception_v3": {"aux_logits": False}}


def build_named(model: str, classes: int, *, small: bool = True) -> nn.Module:
    """(n, 3, h, w) -> (n, classes).

    Args:
        model: its name in torchvision.
        small: for images of up to 64 pixels a side: see small_images.py.

    Raises:
        ValueError: torchvision has no such classifier, or it cannot be made for small images.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3)
        raise ValueError(
            f"torchvision has no classifier '{model}'; "
            + (f"close to it: {', '.join(close)}" if close else f"it has {', '.join(known)}")
        )
    options: dict[str, Any] = {"num_classes": classes, **WITHOUT.get(model, {})}
    if model in WITHOUT:
        options["init_weights"] = True  # else it warns of what it will do one day
    made = on_any_device(lambda: torchvision.models.get_model(model, weights=None, **options))
    return for_small_images(made, f"torchvision:{model}") if small else made
