"""SRU and CRU by their kernels: whether a kernel may compute what a module's layers would, and what
it needs of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scconv.kernels import infer, numbers
from scconv.kernels.conditions import as_built
from scconv.kernels.form import Form, Seen
from scconv.kernels.reconstruct import Reconstruct
from scconv.kernels.rows import array, channels_last
from scconv.kernels.select import Gate, Select

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU

BUFFERS = "running_mean", "running_var", "num_batches_tracked"


def sru(module: SRU, x: Tensor) -> Tensor | None:
    """SRU of x; None where the layers have to be run."""
    gate = _gate(module, x)
    if gate is None:
        return None
    return _as(x, Select.apply(channels_last(x), gate, module.norm.weight, module.norm.bias))


def cru(module: CRU, x: Tensor) -> Tensor | None:
    """CRU of x; None where the layers have to be run."""
    layers = _Layers.of(module)
    if layers is None or not _fits(module, layers, x):
        return None
    if layers.norm_up.training:
        return _as(x, _train(module, layers, x))
    return _as(x, infer.cru(module, channels_last(x), _form(module, layers)))


def _gate(module: SRU, x: Tensor) -> Gate | None:
    """What a kernel needs of an SRU; None where the layers have to be run."""
    norm = module.norm
    if module.gate != "hard" or type(norm) is not nn.GroupNorm or norm.weight is None:
        return None
    if x.shape[1] != norm.num_channels or not as_built([norm], x.dtype):
        return None
    return Gate.of(norm, module.threshold)


class _Layers(NamedTuple):
    """A CRU's layers, read from torch's own dictionaries: an attribute of a module takes longer."""

    squeeze_up: Any
    norm_of_up: Any
    gwc: Any
    pwc1: Any
    squeeze_low: Any
    norm_of_low: Any
    pwc2: Any
    norm_up: Any
    norm_low: Any

    @classmethod
    def of(cls, module: CRU) -> _Layers | None:
        """None where somebody has put other layers in a squeeze's place."""
        own: dict[str, Any] = module._modules
        up, low = [*own["squeeze_up"]._modules.values()], [*own["squeeze_low"]._modules.values()]
        if len(up) != 2 or len(low) != 2:
            return None
        return cls(
            squeeze_up=up[0],
            norm_of_up=up[1],
            gwc=own["gwc"],
            pwc1=own["pwc1"],
            squeeze_low=low[0],
            norm_of_low=low[1],
            pwc2=own["pwc2"],
            norm_up=own["norm_up"],
            norm_low=own["norm_low"],
        )

    @property
    def convs(self) -> tuple[Any, ...]:
        return self.squeeze_up, self.gwc, self.pwc1, self.squeeze_low, self.pwc2

    @property
    def norms(self) -> tuple[Any, ...]:
        return self.norm_of_up, self.norm_of_low, self.norm_up, self.norm_low


def _train(module: CRU, layers: _Layers, x: Tensor) -> Tensor:
    """CRU of x by the batch's statistics, which move the running ones."""
    n, _, h, w = x.shape
    stride = layers.gwc.stride[0]
    after = n * -(-h // stride) * -(-w // stride)
    track = partial(_track, layers, n * h * w, after)
    form = _form(module, layers)
    return Reconstruct.apply(channels_last(x), form, track, *_parameters(layers))


def _fits(module: CRU, layers: _Layers, x: Tensor) -> bool:
    """Whether a kernel may compute what the CRU's layers would."""
    convs, norms = layers.convs, layers.norms
    if not all(type(conv) is nn.Conv2d and conv.padding_mode == "zeros" for conv in convs):
        return False
    if not all(type(norm) is nn.BatchNorm2d and _keeps_track(norm) for norm in norms):
        return False
    if module.lower_pool == "after" and layers.gwc.stride != (1, 1):
        return False
    if (
        any(convs[i]._parameters["bias"] is None for i in (0, 3, 4))
        or len({(n.training, n.momentum) for n in norms}) != 1
    ):
        return False
    own: dict[str, Any] = module._modules
    others = (own[name] for name in ("squeeze_up", "squeeze_low", "pool", "average"))
    if x.shape[1] != sum(module.split) or not as_built([*layers, *others], x.dtype):
        return False
    if norms[0].training:
        stride = layers.gwc.stride[0]
        return x.shape[0] * -(-x.shape[2] // stride) * -(-x.shape[3] // stride) > 1
    learns = x.requires_grad or any(p.requires_grad for p in module.parameters())
    return not (torch.is_grad_enabled() and learns)


def _keeps_track(norm: nn.BatchNorm2d) -> bool:
    has_statistics = norm._buffers["running_mean"] is not None
    return norm.affine and has_statistics and norm.momentum is not None


def _form(module: CRU, layers: _Layers) -> Form:
    gwc = layers.gwc
    return Form(
        stride=gwc.stride[0],
        padding=gwc.padding[0],
        dilation=gwc.dilation[0],
        groups=gwc.groups,
        upper=module.split[0],
        keeps=module.lower != "eq11-full",
        eps=tuple(norm.eps for norm in layers.norms),
        dtype=array(gwc.weight).dtype,
    )


def _parameters(layers: _Layers) -> tuple[Tensor, ...]:
    """In the order of `Weights`, then those that change nothing."""
    own = [layer._parameters for layer in layers]
    squeeze_up, up, gwc, pwc1, squeeze_low, low, pwc2, norm1, norm2 = own
    learned = (squeeze_up["weight"], up["weight"], up["bias"], gwc["weight"], pwc1["weight"])
    learned += (squeeze_low["weight"], low["weight"], pwc2["weight"])
    learned += (norm1["weight"], norm1["bias"], norm2["weight"], norm2["bias"])
    return (*learned, *(layer["bias"] for layer in (squeeze_up, squeeze_low, low, pwc2)))


def _track(layers: _Layers, before: int, after: int, seen: Seen) -> None:
    """Move the running statistics by what the norms saw, with the biases that were left out.

    `before` and `after` are the positions in the batch of the input and of the output.
    """
    low, pwc2 = layers.norm_of_low._parameters, layers.pwc2._parameters
    (mean_low, var_low), (var1, var2) = seen.of_low, seen.variances
    mean, var, none = np.zeros((3, len(seen.mean2)), seen.mean2.dtype)
    shift, point_wise = array(low["bias"]), (array(pwc2["weight"].flatten(1)), array(pwc2["bias"]))
    of_low = shift, array(low["weight"]), var_low, layers.norm_of_low.eps
    numbers.with_biases(seen.mean2, var2, *point_wise, *of_low, mean, var)
    saw = (
        (*seen.of_up, array(layers.squeeze_up._parameters["bias"]), before),
        (mean_low, var_low, array(layers.squeeze_low._parameters["bias"]), after),
        (seen.mean1, var1, none, after),
        (mean, var, none, after),
    )
    for norm, (mean, var, bias, positions) in zip(layers.norms, saw, strict=True):
        buffers = (norm._buffers[name].numpy() for name in BUFFERS)
        numbers.track(*buffers, mean, var, bias, norm.momentum, positions)


def _as(x: Tensor, y: Tensor) -> Tensor:
    """y in the memory layout of x."""
    return y if x.is_contiguous(memory_format=torch.channels_last) else y.contiguous()
