"""What a network costs: parameters, multiply-adds, the paper's FLOPs, activations; counted, not
estimated by formula.

`macs` are the multiply-adds of convolutions, linear layers and matrix products. `paper_flops` is
what the SCConv paper prints, the convention of the tool thop 0.0.31: multiply-adds, plus one per
output element of a convolution that has a bias, plus two per BatchNorm element, plus the output of
every AvgPool2d, plus input and output of every AdaptiveAvgPool2d; nothing for the rest. `calflops`
is the count of another tool (scconv/cost/calflops.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scconv.cost.calflops import Calflops
from scconv.cost.memory import step

# numbers that an optimizer keeps of each weight; of SGD, with momentum
SLOTS = {"sgd": 1, "adam": 2, "adamw": 2}


def _numel(*shapes: object, out_shape: tuple[int, ...], **kwargs: object) -> int:
    return math.prod(out_shape)


OUTPUTS = {
    f: _numel
    for f in (
        torch.ops.aten.convolution,
        torch.ops.aten.mm,
        torch.ops.aten.addmm,
        torch.ops.aten.bmm,
        torch.ops.aten.baddbmm,
    )
}


@dataclass(frozen=True)
class Cost:
    """Counts for one image.

    `params` counts every parameter; `paper_params` leaves out GroupNorm's, as the paper's tables do
    (all but the row "+ S"); `activations` are the output elements of all convolutions and matrix
    products; `layers` are the convolutions and linear layers on the longest path, and `spatial`
    those of them that are convolutions larger than 1x1. `kept` and `kept_once` are the bytes that
    autograd keeps for the backward: of every image, and whatever the batch.
    """

    params: int
    paper_params: int
    macs: int
    paper_flops: int
    activations: int
    calflops: int
    layers: int
    spatial: int
    kept: int
    kept_once: int

    def train_mib(self, batch: int, optimizer: str = "sgd") -> float:
        """The memory of one step in MiB: weights and gradients, what the optimizer keeps of them,
        and what autograd keeps of a batch, all in 32 bits.

        A figure of the network and of no machine: without a framework's libraries, fragments, and
        the workspace of convolutions.
        """
        weights = 4 * self.params * (2 + SLOTS[optimizer])
        return (weights + self.kept_once + batch * self.kept) / 2**20


def cost(model: nn.Module, image: tuple[int, int, int] = (3, 32, 32)) -> Cost:
    """Count one forward pass of one image (c, h, w), on the device the model is on.

    A model built under `torch.device("meta")` costs no memory and no arithmetic.
    """
    extra = 0

    def count(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        nonlocal extra
        extra += _extra(module, args[0], output)

    counted = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, counted)]
    training = {module: module.training for module in model.modules()}
    like = next(model.parameters(), torch.empty(0))
    try:
        with (
            torch.no_grad(),
            FlopCounterMode(display=False) as counter,
            FlopCounterMode(display=False, custom_mapping=OUTPUTS) as outputs,
            Calflops() as calflops,
        ):
            model.eval()(torch.zeros(1, *image, device=like.device, dtype=like.dtype))
    finally:
        for module, mode in training.items():
            module.training = mode
        for hook in hooks:
            hook.remove()
    macs = counter.get_total_flops() // 2  # torch counts two per multiply-add
    params = sum(p.numel() for p in model.parameters())
    group_norms = sum(
        p.numel() for m in model.modules() if isinstance(m, nn.GroupNorm) for p in m.parameters()
    )
    trained = step(model, image)
    return Cost(
        params=params,
        paper_params=params - group_norms,
        macs=macs,
        paper_flops=macs + extra,
        activations=outputs.get_total_flops(),
        calflops=calflops.total,
        layers=trained.depth[0],
        spatial=trained.depth[1],
        kept=trained.kept,
        kept_once=trained.kept_once,
    )


def _extra(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return y.numel() if module.bias is not None else 0
    if isinstance(module, nn.BatchNorm2d):
        return 2 * x.numel()
    if isinstance(module, nn.AvgPool2d):
        return y.numel()
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return x.numel() + y.numel()
    return 0
