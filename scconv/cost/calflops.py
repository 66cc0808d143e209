"""The count of the tool calflops 0.3.2 (https://github.com/MrYxJ/calculate-flops.pytorch), by which
many reports state their FLOPs.

It counts what is called of torch.nn.functional, by modules or directly: convolutions and linear
layers at two per multiply-add, and one per output element of a convolution that has a bias (none of
a linear layer); BatchNorm at two per element, one without weights; other norms at five, four
without weights; ReLU and its kin and softmax at one; every pooling at one per element of its
input. Matrix products, sums and products of tensors, sigmoid and tanh count nothing, so attention
is nearly free in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

ONE = frozenset(("relu", "relu_", "relu6", "leaky_relu", "elu", "prelu", "silu", "gelu", "softmax"))
NORMS = frozenset(("layer_norm", "group_norm", "instance_norm"))


class Calflops(TorchFunctionMode):
    """Counts while it is entered, in eval mode."""

    total = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # what `func` calls itself is not seen
        out = func(*args, **(kwargs or {}))
        if args and isinstance(args[0], Tensor):
            self.total += _count(getattr(func, "__name__", ""), args, kwargs or {}, out)
        return out


def _count(name: str, args: tuple, kwargs: dict[str, Any], out: Any) -> int:
    n = args[0].numel()
    if name in ("conv1d", "conv2d", "conv3d"):
        weight, bias = args[1], args[2] if len(args) > 2 else kwargs.get("bias")
        return out.numel() * (2 * weight[0].numel() + (bias is not None))
    if name == "linear":
        return 2 * n * len(args[1])
    if "pool" in name or name in ONE:
        return n
    if name == "batch_norm":
        return n * (2 if (args[3] if len(args) > 3 else kwargs.get("weight")) is not None else 1)
    if name in NORMS:
        weight = args[2] if name != "instance_norm" and len(args) > 2 else kwargs.get("weight")
        return n * (5 if weight is not None else 4)
    return 0
