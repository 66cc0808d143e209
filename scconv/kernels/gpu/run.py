"""SRU and CRU on a GPU: whether the Triton programs may compute what a module's layers would, and
the layers between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scconv.kernels.gpu import fuse
from scconv.kernels.gpu.fuse import Fuse
from scconv.kernels.gpu.select import Select
from scconv.kernels.gpu.squeeze import Merge, Squeeze
from scconv.kernels.layers import BUFFERS, Layers, fits, gates
from scconv.kernels.views import channels_last, in_layout_of

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU

# One full convolution stands for the group-wise and the point-wise one up to so many groups, where
# matrix units compute it: with 4 it has 2.8 times the multiply-adds.
GROUPS = 4


def sru(module: SRU, x: Tensor) -> Tensor | None:
    """SRU of x; None where the layers have to be run."""
    if not gates(module, x):
        return None
    norm = module.norm
    own = norm.weight, norm.bias, norm.num_groups, norm.eps, module.threshold
    with torch.cuda.device_of(x):  # Triton launches on the current GPU
        return in_layout_of(x, Select.apply(channels_last(x), *own))


def cru(module: CRU, x: Tensor) -> Tensor | None:
    """CRU of x; None where the layers have to be run."""
    layers = Layers.of(module)
    if layers is None or not fits(module, layers, x):
        return None
    run = _train if layers.norm_up.training else _infer
    with torch.cuda.device_of(x):
        return in_layout_of(x, run(module, layers, x))


def _train(module: CRU, layers: Layers, x: Tensor) -> Tensor:
    """By the batch's statistics. What a norm cancels is left out; running means get it."""
    up, low = _squeezed(module, layers, channels_last(x))
    norms = layers.norm_up, layers.norm_low
    affine = [t for norm in norms for t in (norm.weight, norm.bias)]
    cancelled = [conv.bias for conv in (layers.squeeze_up, layers.squeeze_low, layers.pwc2)]
    point, kept = F.conv2d(low, layers.pwc2.weight), low if module.lower != "eq11-full" else None
    maps = _rich(module, layers, up), point, kept
    left_out = layers.pwc2.bias.detach()
    return Fuse.apply(*maps, norms, left_out, *affine, *cancelled, layers.norm_of_low.bias)


def _infer(module: CRU, layers: Layers, x: Tensor) -> Tensor:
    """By the running statistics, without gradients."""
    up, low = _by_layers(module, channels_last(x))
    kept = low if module.lower != "eq11-full" else None
    norms = layers.norm_up, layers.norm_low
    return fuse.infer(_rich(module, layers, up), module.pwc2(low), kept, norms)


def _by_layers(module: CRU, x: Tensor) -> tuple[Tensor, Tensor]:
    """Both squeezes with their norms."""
    up, low = x.split(module.split, dim=1)
    return module.squeeze_up(up), module.squeeze_low(module.pool(low))


def _squeezed(module: CRU, layers: Layers, x: Tensor) -> tuple[Tensor, Tensor]:
    """Both squeezes with their norms, without the biases of the convolutions."""
    squeezes = layers.squeeze_up, layers.squeeze_low
    if layers.gwc.stride == (1, 1):
        mixed = torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if mixed else x.dtype
        weights = (conv.weight.flatten(1).to(dtype) for conv in squeezes)
        up, low = Squeeze.apply(x.to(dtype), *weights)
    else:
        up, low = x.split(module.split, dim=1)
        up, low = (
            F.conv2d(part, conv.weight)
            for part, conv in zip((up, module.pool(low)), squeezes, strict=True)
        )
    # the next norm cancels the shift of the lower one
    shifts = layers.norm_of_up.bias, layers.norm_of_low.bias.detach()
    return (
        _norm(up, layers.norm_of_up, shifts[0], squeezes[0].bias),
        _norm(low, layers.norm_of_low, shifts[1], squeezes[1].bias),
    )


def _norm(u: Tensor, norm: Any, shift: Tensor, left_out: Tensor) -> Tensor:
    """The norm of a map that a bias was left out of."""
    mean, var, tracked = (norm._buffers[name] for name in BUFFERS)
    tracked.add_(1)
    y = F.batch_norm(u, mean, var, norm.weight, shift, True, norm.momentum, norm.eps)
    # autograd has kept it, though a backward by the batch's statistics does not read it
    mean.data.add_(left_out.data, alpha=norm.momentum)
    return y


def _rich(module: CRU, layers: Layers, up: Tensor) -> Tensor:
    """The group-wise and the point-wise convolution of the upper part, added."""
    gwc, pwc1 = layers.gwc, layers.pwc1
    if up.element_size() == 2 and gwc.stride == (1, 1) and gwc.groups <= GROUPS:
        weight = Merge.apply(gwc.weight, pwc1.weight, gwc.groups, up.dtype)
        y = F.conv2d(up, weight, None, 1, gwc.padding, gwc.dilation)
    else:
        y = gwc(up) + pwc1(module.pool(up))
    return channels_last(y)
