"""The rule on subsets of channels: what a stem that takes them must do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scconv import channels
from scconv.channels import Mask, Present
from scconv.check.design import Broken, Design

CLOSE = 1e-5  # of the largest output


def subsets(design: Design) -> str:
    """subsets: of a stem that takes them, each runs, alone and among others, and the output follows
    from the channels that are there alone.
    """
    if not design.stem:
        return "takes none"
    module, x = design.make().eval(), design.input().detach()
    n, c = x.shape[:2]
    every = channels.subsets(c)
    with torch.no_grad():
        whole = module(x)
    _close("no mask and a mask of all channels", whole, _made(module, x, [every[0][1]] * n))
    for name, mask in every:
        alone = _made(module, x, [mask] * n)
        other = torch.where(torch.tensor(mask)[:, None, None], x, 1e3)
        changed = _made(module, other, [mask] * n)
        _close(f"{name}, whatever the other channels are,", alone, changed)
    for start in range(0, len(every), n):
        masks = [mask for _, mask in every[start : start + n]]
        mixed = _made(module, x[: len(masks)], masks)
        for i, mask in enumerate(masks):
            one = _made(module, x[i : i + 1], [mask])
            _close(f"{every[start + i][0]}, alone and among others,", mixed[i : i + 1], one)
    return f"{len(every)} of {c} channels"


def _made(module: nn.Module, x: Tensor, masks: list[Mask]) -> Tensor:
    with torch.no_grad():
        return module(Present(x, torch.tensor(masks)))


def _close(what: str, a: Tensor, b: Tensor) -> None:
    by, largest = (a - b).abs().max().item(), a.abs().max().item()
    if not by <= CLOSE * largest:
        raise Broken(f"the outputs of {what} differ by up to {by:.3g} of {largest:.3g}")
