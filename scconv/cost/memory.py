"""What one step of a training looks like, on the meta device: how much autograd keeps for the
backward, and its graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
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

    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    x = torch.zeros(IMAGES, *image, device="meta", dtype=dtype)
    with (
        _shapes_alone(model) as weights,
        torch.device("meta"),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        out = model(x)
        if isinstance(out, Tensor) and out.dim() == 2:
            F.cross_entropy(out, torch.zeros(IMAGES, dtype=torch.long))
    sizes = [t.untyped_storage().nbytes() for number, t in kept.items() if number not in weights]
    each = sum(size // IMAGES for size in sizes if size % IMAGES == 0)
    once = sum(size for size in sizes if size % IMAGES)
    return Step(each, once, max((depth(y) for y in _tensors(out)), default=(0, 0)))


@contextlib.contextmanager
def _shapes_alone(model: nn.Module) -> Iterator[set[int]]:
    """Within it, the model is in training mode and its tensors have no values.

    Yields the storages of its parameters. A module or a tensor that stands at two places stays one:
    `torch.func.functional_call` would leave a shared module without its values.
    """
    before, twins = [], {}
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        # the last are tensors that a module has as plain attributes
        for held in (module._parameters, module._buffers, module.__dict__):
            for name, tensor in held.items():
                if isinstance(tensor, Tensor):
                    before.append((held, name, tensor))
                    held[name] = twins.setdefault(id(tensor), _shape(tensor))
    try:
        model.train()
        yield {_storage(twin) for twin in twins.values() if isinstance(twin, nn.Parameter)}
    finally:
        for held, name, tensor in before:
            held[name] = tensor
        for module, mode in modes.items():
            module.training = mode


def _shape(tensor: Tensor) -> Tensor:
    """A tensor like it, without values; a parameter is one that learns."""
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors(out: Any) -> list[Tensor]:
    """Those that a backward can start from."""
    leaves, _ = _pytree.tree_flatten(out)
    return [y for y in leaves if isinstance(y, Tensor) and y.grad_fn is not None]
