"""A trained network with SCConv for use alone: every norm inside a CRU goes into the convolutions.

    model = fuse_for_inference(model)

What is left of a CRU are five convolutions, one product and sum per channel, and the fuse. They are
layers of torch, so that the network can be exported (torch.export, ONNX, TorchScript) as it is.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from scconv.convs.scconv import CRU


class FusedCRU(nn.Module):
    """A CRU with constant norms; (n, c1, h, w) -> (n, c2, h2, w2)."""

    def __init__(self, cru: CRU):
        super().__init__()
        cru = copy.deepcopy(cru).eval()
        self.split, self.lower_pool = cru.split, cru.lower_pool
        self.squeeze_up = fuse_conv_bn_eval(*cru.squeeze_up)  # type: ignore[type-var]
        self.squeeze_low = fuse_conv_bn_eval(*cru.squeeze_low)  # type: ignore[type-var]
        self.gwc, self.pwc1, self.pwc2 = cru.gwc, cru.pwc1, cru.pwc2
        self.pool, self.average = cru.pool, cru.average

        with torch.no_grad():
            scale, shift = _line(cru.norm_up)
            self.gwc.weight.mul_(scale.view(-1, 1, 1, 1))
            self.gwc.bias = nn.Parameter(shift)
            self.pwc1.weight.mul_(scale.view(-1, 1, 1, 1))
            scale, shift = _line(cru.norm_low)
            point = self.pwc2.out_channels
            self.pwc2.weight.mul_(scale[:point].view(-1, 1, 1, 1))
            assert self.pwc2.bias is not None
            self.pwc2.bias.mul_(scale[:point]).add_(shift[:point])
            # of the kept channels; none where the point-wise convolution makes all
            self.register_buffer("scale", scale[point:].view(1, -1, 1, 1))
            self.register_buffer("shift", shift[point:].view(1, -1, 1, 1))
        self.keeps = point < len(scale)
        self.requires_grad_(False)

    def forward(self, x: Float[Tensor, "n c1 h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        up, low = x.split(self.split, dim=1)
        up = self.squeeze_up(up)
        y1 = self.gwc(up) + self.pwc1(self.pool(up))  # (n, c2, h2, w2)
        before = self.lower_pool == "before"
        low = self.squeeze_low(self.pool(low)) if before else self.pool(self.squeeze_low(low))
        y2 = self.pwc2(low)
        if self.keeps:
            y2 = torch.cat((y2, low * self.scale + self.shift), dim=1)
        return torch.lerp(y2, y1, (self.average(y1) - self.average(y2)).sigmoid())


def fuse_for_inference(model: nn.Module) -> nn.Module:
    """A copy of the model, in eval mode and without gradients, with every CRU fused.

    Raises:
        ValueError: there is no CRU in it, or one has no running statistics.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, CRU)]
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no CRU to fuse; call it on a network with SCConv, before "
            "any other fusion"
        )
    for path, cru in found:
        if any(isinstance(m, nn.BatchNorm2d) and m.running_mean is None for m in cru.modules()):
            raise ValueError(
                f"`track_running_stats` of a norm in {path or 'the CRU'} must be True: without "
                "running statistics its norms depend on the batch; use the model as it is"
            )
        if not path:
            return FusedCRU(cru)
        model.set_submodule(path, FusedCRU(cru))
    return model


def _line(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What the norm multiplies by and adds, per channel."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale.detach(), (norm.bias - norm.running_mean * scale).detach()
