"""The image classifiers of timm (R. Wightman, PyTorch Image Models): `timm:resnet18d`, without
their trained weights. timm is installed apart: pip install timm
"""

import difflib

from torch import nn

from scconv.backbones.small_images import for_small_images, on_any_device


def build_named(model: str, classes: int, *, small: bool = True) -> nn.Module:
    """(n, 3, h, w) -> (n, classes).

    Args:
        model: its name in timm.
        small: for images of up to 64 pixels a side: see small_images.py.

    Raises:
        ValueError: timm is not installed or has no such model, or the model cannot be made for
            small images.
    """
    try:
        import timm
    except ImportError:
        raise ValueError("timm is not installed; pip install timm") from None
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=3)
        way = (
            f"; close to it: {', '.join(close)}" if close else "; timm.list_models() has its names"
        )
        raise ValueError(f"timm has no model '{model}'{way}")
    made = on_any_device(lambda: timm.create_model(model, pretrained=False, num_classes=classes))
    return for_small_images(made, f"timm:{model}") if small else made
