"""What one step of a training looks like, on the meta device: how much autograd keeps for the
backward, and its graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils import _pytree

from scconv.cost.layers import Depth, depth

# a prime number of images, so that the size of a storage says whether each of them has a part of it
IMAGES = 1_000_003


@dataclass(frozen=True)
class Step:
    """Bytes kept for the backward: of one image, and whatever the batch, such as the statistics of
    a BatchNorm; and the depth.
    """

    kept: int
    kept_once: int
    depth: Depth


def step(model: nn.Module, image: tuple[int, int, int]) -> Step:
    """One forward pass in training mode, with the loss of a classifier.

    The model is left as it is: all is done with its shapes alone.
    """
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # the tensor is held, so that no other storage gets its number
        kept.setdefault(_storage(tensor), tensor)
        return tensor

    shapes = _shapes(model)
    weights = {_storage(t) for t in shapes.values() if isinstance(t, nn.Parameter)}
    dtype = next((t.dtype for t in shapes.values() if t.is_floating_point()), torch.float32)
    x = torch.zeros(IMAGES, *image, device="meta", dtype=dtype)
    modes = {module: module.training for module in model.modules()}
    try:
        model.train()
        with (
            torch.device("meta"),
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            out = functional_call(model, shapes, (x,))
            if isinstance(out, Tensor) and out.dim() == 2:
                F.cross_entropy(out, torch.zeros(IMAGES, dtype=torch.long))
    finally:
        for module, mode in modes.items():
            module.training = mode
    sizes = [t.untyped_storage().nbytes() for number, t in kept.items() if number not in weights]
    each = sum(size // IMAGES for size in sizes if size % IMAGES == 0)
    once = sum(size for size in sizes if size % IMAGES)
    return Step(each, once, max((depth(y) for y in _tensors(out)), default=(0, 0)))


def _shapes(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers without their values."""
    found: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        found[name] = nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=True)
    for name, buffer in model.named_buffers():
        found[name] = torch.empty_like(buffer, device="meta")
    return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors(out: Any) -> list[Tensor]:
    """Those that a backward can start from."""
    leaves, _ = _pytree.tree_flatten(out)
    return [y for y in leaves if isinstance(y, Tensor) and y.grad_fn is not None]
