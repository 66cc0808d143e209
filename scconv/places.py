"""Which convolutions of a network are replaced where neither the network nor the caller names them.

Every 3x3 convolution is, but the image stem, depthwise ones, output layers, and those that stand
inside a replacement already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

AFTER = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU, nn.Mish, nn.PReLU)
# parts of a path that name an output layer: torchvision's detectors, segmentation_models_pytorch,
# U-Nets, YOLO
OUTPUT = re.compile(
    r"(^|[._])(\w*logits?|\w*pred(ict\w*)?|\w*head\w*|out|out_?conv|outc|output|classifier"
    r"|cls\w*|bbox\w*|box\w*|final\w*|last\w*|score\w*|mask\w*|seg\w*|detect\w*|\w*_reg)([._]|$)"
)


def mark(module: nn.Module, conv: str) -> None:
    """Remember on the module itself that it stands for a convolution, so that no second call
    reaches inside it.
    """
    module.stands_for_conv = conv  # type: ignore[assignment]


def marked(module: nn.Module) -> str:
    """The convolution that the module is; empty where surgery has not put it there, and it is none
    of the catalogue's.
    """
    if name := getattr(module, "stands_for_conv", ""):
        return str(name)
    home = type(module).__module__
    return home.removeprefix("scconv.convs.") if home.startswith("scconv.convs.") else ""


def convolutions(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Every (path, convolution) that may be replaced, one that stands at two paths at both, in the
    model's own order.
    """
    inside: list[str] = []
    for path, module in model.named_modules(remove_duplicate=False):
        if any(path == p or path.startswith(f"{p}.") for p in inside):
            continue
        if path and marked(module):
            inside.append(path)
        elif path and isinstance(module, nn.Conv2d):
            yield path, module


def replaced_before(model: nn.Module) -> list[str]:
    """The names of the convolutions that stand in the model's places already, one per place."""
    found, inside = [], ""
    for path, module in model.named_modules():
        if path and marked(module) and not (inside and path.startswith(f"{inside}.")):
            inside = path
            found.append(marked(module))
    return found


def inner_3x3(path: str, conv: nn.Conv2d) -> bool:
    """A 3x3 convolution that is neither the image stem nor depthwise."""
    return (
        conv.kernel_size == (3, 3)
        and conv.in_channels > 4
        and (conv.groups == 1 or conv.groups < conv.in_channels)
    )


def outputs_of(model: nn.Module) -> set[str]:
    """The paths of convolutions that make what the network returns, such as a segmentation or a
    detection head's last layer.

    An output layer has a bias, and neither a norm nor an activation behind it in its own block. Of
    those, the last layer with weights is one, and so is every one whose path has a name that output
    layers have.
    """
    weighted = [
        n
        for n, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
    ]
    last = weighted[-1] if weighted else ""
    found = set()
    for path, conv in convolutions(model):
        if conv.bias is None or _finished(model, path):
            continue
        if path == last or OUTPUT.search(path):
            found.add(path)
    return found


def _finished(model: nn.Module, path: str) -> bool:
    """Whether a norm or an activation is the next module of the convolution's own block."""
    parent, _, leaf = path.rpartition(".")
    siblings = [*model.get_submodule(parent)._modules.items()]  # one that stands twice, twice
    names = [name for name, _ in siblings]
    behind = siblings[names.index(leaf) + 1 :][:1]
    return any(isinstance(m, AFTER) or "Norm" in type(m).__name__ for _, m in behind)
