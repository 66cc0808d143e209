"""Whether the Triton programs compute on a GPU what the layers do: asked at their first use there,
since a GPU, its driver and Triton's compiler come in more pairs than anybody has tested.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from scconv.kernels.conditions import plain
from scconv.kernels.gpu import run

CLOSE = 0.03  # of the largest value; bf16 has 8 bits, and a wrong program is far off


def on(device: torch.device) -> None:
    """Compare SRU and CRU by programs with those by layers, forward and backward.

    Raises:
        ValueError: the numbers differ.
        Exception: what Triton raises where it cannot be imported or compiles nothing.
    """
    from scconv.convs.scconv import CRU, SRU

    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        torch.manual_seed(0)
        for half in (False, True):
            _compare(SRU(32).to(device), run.sru, half, device)
            _compare(CRU(32, 32).to(device), run.cru, half, device)


def _compare(module: nn.Module, programs: Callable, half: bool, device: torch.device) -> None:
    x = torch.randn(4, 32, 9, 7).to(device, memory_format=torch.channels_last)
    direction = torch.randn(4, 32, 9, 7).to(device)
    with plain():
        want = _step(module, module, x, direction, half)
    got = _step(module, lambda x: programs(module, x), x, direction, half)
    for a, b in zip(got, want, strict=True):
        apart = (a - b).abs().amax() / b.abs().amax()
        if not apart <= CLOSE:  # nan is not
            raise ValueError(f"{type(module).__name__} is off by {float(apart):.2g}")


def _step(
    module: nn.Module, forward: Callable, x: Tensor, direction: Tensor, half: bool
) -> list[Tensor]:
    """The output, and the gradients of the input and of what has more than rounding for one."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    with torch.autocast(x.device.type, _half(x.device)) if half else nullcontext():
        y = forward(x)
    (y.float() * direction).sum().backward()
    grads = [p.grad for p in module.parameters() if p.dim() > 1]
    return [t.detach().float() for t in (y, x.grad, *grads) if t is not None]


def _half(device: torch.device) -> torch.dtype:
    if device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float16
