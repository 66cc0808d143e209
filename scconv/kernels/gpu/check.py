"""Whether the Triton programs compute on a GPU what the layers do: asked at their first use there,
since a GPU, its driver and Triton's compiler come in more pairs than anybody has tested.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from scconv.kernels.conditions import plain
from scconv.kernels.gpu import run

CLOSE = 0.03  # of the largest value; bf16 has 8 bits, and a wrong program is far off


def on(device: torch.device) -> None:
    """Compare SRU and CRU by programs with those by layers: forward, backward, what they leave in
    buffers, and in eval mode.

    Raises:
        ValueError: the numbers differ.
        Exception: what Triton raises where it cannot be imported or compiles nothing.
    """
    from scconv.convs.scconv import CRU, SRU

    # numbers of its own: a seed would be every GPU's, and a trial's go on where they were
    numbers = torch.Generator().manual_seed(0)
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        torch.device("cpu"),
        # whoever counts or moves saved tensors, as checkpointing does, has nothing to do with it
        torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is),
    ):
        for half in (False, True):
            # few and many channels; images in one part and in several
            for channels, shape in ((32, (4, 9, 7)), (96, (2, 12, 11))):
                sizes = numbers, (shape[0], channels, *shape[1:]), half
                _compare(SRU(channels), run.sru, device, *sizes)
                _compare(CRU(channels, channels), run.cru, device, *sizes)
            wide = CRU(32, 64, stride=2, lower="eq11-full")
            _compare(wide, run.cru, device, numbers, (3, 32, 8, 8), half)


def _compare(
    module: nn.Module,
    programs: Callable,
    device: torch.device,
    numbers: torch.Generator,
    shape: tuple[int, ...],
    half: bool,
) -> None:
    module = module.to(device, torch.float32)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "norm." not in name:  # the gate's is fixed
                p.copy_(_random(numbers, *p.shape) / p[0].numel() ** 0.5 + (p.dim() == 1))
    x = _random(numbers, *shape).to(device)
    dtype = _half(device) if half else None
    twin = copy.deepcopy(module)
    with plain():
        want = _results(module, module, x, dtype)
    got = _results(twin, lambda x: programs(twin, x), x, dtype)
    for kind, those in want.items():
        scale = max(t.abs().amax() for t in those)
        for a, b in zip(got[kind], those, strict=True):
            apart = (a - b).abs().amax() / scale
            if not apart <= CLOSE:  # nan is not
                raise ValueError(f"{type(module).__name__}: {kind} off by {float(apart):.2g}")


def _results(
    module: nn.Module, forward: Callable, x: Tensor, dtype: torch.dtype | None
) -> dict[str, list[Tensor]]:
    """Everything that a step leaves, and the output in eval mode."""
    x = x.to(dtype or x.dtype).requires_grad_()
    with torch.autocast(x.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
        y = forward(x)
        direction = torch.linspace(-9, 9, y.numel(), device=x.device).cos().view_as(y)
        (y.float() * direction).sum().backward()
        with torch.no_grad():
            module.eval()
            inferred = forward(x)
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    found = {"the output": [y], "the input's gradient": [x.grad], "the output in eval": [inferred]}
    found |= {"a gradient": grads} if grads else {}
    found |= {f"the buffer {name}": [b] for name, b in module.named_buffers()}
    return {kind: [t.detach().float() for t in those] for kind, those in found.items()}


def _as_it_is(t: Tensor) -> Tensor:
    return t


def _random(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=numbers, dtype=torch.float32)


def _half(device: torch.device) -> torch.dtype:
    if device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float16
