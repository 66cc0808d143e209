"""Octave convolution: a part of every feature map lives at half the resolution, and four
convolutions exchange what the parts know.

Y. Chen et al., "Drop an Octave: Reducing Spatial Redundancy in Convolutional Neural Networks with
Octave Convolution", ICCV 2019. `alpha` is the share of the channels at half resolution. Every
convolution of the residual blocks takes part, 1x1 and shortcuts too; the first block reads ordinary
maps, and the last stage computes on them, as in the authors' code. The parameters stay what they
were: the four convolutions share out the weights of the one they replace, initial values too. A
shortcut without a convolution splits or joins the channels as they are. At stride 2 the inputs are
averaged 2x2 first.

Because it changes the maps between convolutions, it converts a network at a time and needs blocks
that say what flows between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scconv.convs import like

COST = {
    "params": 147_968,
    "macs": 101_449_728,
}  # of the two residual blocks, four 3x3 convolutions, that scconv.check converts


@dataclass
class Octaves:
    """A feature map in two parts: `high` (n, (1 - alpha) c, h, w) and `low` (n, alpha c, ceil(h /
    2), ceil(w / 2)).
    """

    high: Tensor
    low: Tensor

    def __add__(self, other: Octaves) -> Octaves:
        return Octaves(self.high + other.high, self.low + other.low)


class OctConv(nn.Module):
    """The convolution `conv` between maps of which `alpha_in` and `alpha_out` are low; 0 stands for
    an ordinary tensor.

    Raises:
        ValueError: a part would have no channels, or `conv` has groups or an unusual stride.
    """

    def __init__(self, conv: nn.Conv2d, alpha_in: float, alpha_out: float):
        super().__init__()
        if conv.groups != 1:
            raise ValueError(
                f"`groups` (={conv.groups}) must be 1: the parts have channels of different "
                "groups; use another backbone"
            )
        if conv.stride not in ((1, 1), (2, 2)):
            raise ValueError(
                f"`stride` (={conv.stride}) must be 1 or 2; keep this convolution as it is"
            )
        low_in, low_out = _low(conv.in_channels, alpha_in), _low(conv.out_channels, alpha_out)
        high_in, high_out = slice(low_in, None), slice(low_out, None)
        self.hh = _part(conv, high_out, high_in)
        self.hl = _part(conv, slice(low_out), high_in) if low_out else None
        # one bias for each part of the output
        self.lh = _part(conv, high_out, slice(low_in), bias=False) if low_in else None
        self.ll = (
            _part(conv, slice(low_out), slice(low_in), bias=False) if low_in and low_out else None
        )
        self.strided = conv.stride == (2, 2)
        self.pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)

    def forward(self, x: Tensor | Octaves) -> Tensor | Octaves:
        high, low = (x.high, x.low) if isinstance(x, Octaves) else (x, None)
        if self.strided:
            high = self.pool(high)
        y_high = self.hh(high)
        if low is not None and self.lh is not None:
            # at stride 2 the low part already has the size of the output's high part
            y_low = self.lh(low)
            y_high = y_high + (
                y_low
                if self.strided
                else F.interpolate(y_low, size=y_high.shape[-2:], mode="nearest")
            )
        if self.hl is None:
            return y_high
        y_low = self.hl(self.pool(high))
        if low is not None and self.ll is not None:
            y_low = y_low + self.ll(self.pool(low) if self.strided else low)
        return Octaves(y_high, y_low)


class OctNorm(nn.Module):
    """A BatchNorm for each part."""

    def __init__(self, norm: nn.BatchNorm2d, alpha: float):
        super().__init__()
        low = _low(norm.num_features, alpha)
        self.high, self.low = _norm_part(norm, slice(low, None)), _norm_part(norm, slice(low))

    def forward(self, x: Octaves) -> Octaves:
        return Octaves(self.high(x.high), self.low(x.low))


def _norm_part(norm: nn.BatchNorm2d, channels: slice) -> nn.BatchNorm2d:
    """A BatchNorm of some of the channels, with what it has learned of them."""
    n = len(range(norm.num_features)[channels])
    part = nn.BatchNorm2d(n, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    part.load_state_dict({k: v[channels] if v.dim() else v for k, v in norm.state_dict().items()})
    for new, old in zip(part.parameters(), norm.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return part


class OctReLU(nn.Module):
    def forward(self, x: Tensor | Octaves) -> Tensor | Octaves:
        return Octaves(F.relu(x.high), F.relu(x.low)) if isinstance(x, Octaves) else F.relu(x)


class OctIdentity(nn.Module):
    """A shortcut that keeps the shape, between an ordinary map and one of which `alpha` is low:
    splits it, or joins it if `alpha` is 0.
    """

    def __init__(self, alpha: float):
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor | Octaves) -> Tensor | Octaves:
        if isinstance(x, Octaves):
            return torch.cat(
                (F.interpolate(x.low, size=x.high.shape[-2:], mode="nearest"), x.high), dim=1
            )
        low = _low(x.shape[1], self.alpha)
        return Octaves(
            x[:, low:], F.avg_pool2d(x[:, :low], 2, ceil_mode=True, count_include_pad=False)
        )


def convert(model: nn.Module, *, alpha: float = 0.5) -> dict[str, nn.Module]:
    """What takes the place of each convolution, BatchNorm and ReLU of the residual blocks: path ->
    module.

    Raises:
        ValueError: the network has no residual blocks that say in `maps` what flows between their
            layers, or is converted already.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` (={alpha}) must be between 0 and 1, both excluded")
    blocks = [
        (path, block, _maps(block))
        for path, block in model.named_modules()
        if hasattr(block, "maps")
    ]
    if not blocks:
        raise ValueError(
            "octave splits the maps between convolutions in two, and no block of "
            f"{type(model).__name__} says in `maps` which those are; "
            "use a ResNet or WideResNet of scconv.backbones"
        )
    if any(isinstance(module, OctConv) for module in model.modules()):
        raise ValueError("octave has split this network's maps already; build it anew")
    new: dict[str, nn.Module] = {}
    last_stage = blocks[-1][0].rpartition(".")[0]
    before = 0.0  # the low share of what the block reads
    for path, block, maps in blocks:
        inside = 0.0 if path.rpartition(".")[0] == last_stage else alpha
        share = {"in": before, "mid": inside, "out": inside}
        before = inside
        for name, module in [*block.named_modules()][1:]:
            try:
                new[f"{path}.{name}"] = _octave(
                    module, *(share[place] for place in maps.get(name, ("in", "out")))
                )
            except ValueError as error:
                raise ValueError(f"layer {path}.{name}: {error}") from error
    return {path: module for path, module in new.items() if model.get_submodule(path) is not module}


def _maps(block: nn.Module) -> dict[str, tuple[str, str]]:
    return block.maps  # type: ignore[return-value]


def _octave(module: nn.Module, reads: float, writes: float) -> nn.Module:
    if isinstance(module, nn.Conv2d) and (reads or writes):
        return OctConv(module, reads, writes)
    if isinstance(module, nn.BatchNorm2d) and reads:
        return OctNorm(module, reads)
    if isinstance(module, nn.ReLU) and (reads or writes):
        return OctReLU()
    return OctIdentity(writes) if isinstance(module, nn.Identity) and reads != writes else module


def _low(channels: int, alpha: float) -> int:
    low = int(alpha * channels + 1e-3)  # so that 0.333333 means a third
    if alpha and not 0 < low < channels:
        raise ValueError(
            f"`alpha` (={alpha}) leaves a part of {channels} channels empty; use alpha=0.5"
        )
    return low


def _part(conv: nn.Conv2d, out: slice, into: slice, *, bias: bool = True) -> nn.Conv2d:
    """A convolution at stride 1 with a block of the weights."""
    weight = conv.weight[out, into]
    part = like(conv, weight.shape[1], weight.shape[0], bias=bias and conv.bias is not None)
    part.stride = (1, 1)
    with torch.no_grad():
        part.weight.copy_(weight)
        if part.bias is not None and conv.bias is not None:
            part.bias.copy_(conv.bias[out]).requires_grad_(conv.bias.requires_grad)
    part.weight.requires_grad_(conv.weight.requires_grad)
    return part
