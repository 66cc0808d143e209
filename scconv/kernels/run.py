"""SRU and CRU by their kernels: whether a kernel may compute what a module's layers would, and what
it needs of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scconv.kernels import infer, numbers
from scconv.kernels.form import Form, Seen
from scconv.kernels.layers import BUFFERS, Layers, fits, gates
from scconv.kernels.reconstruct import Reconstruct
from scconv.kernels.rows import array
from scconv.kernels.select import Gate, Select
from scconv.kernels.views import channels_last, in_layout_of

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU


def sru(module: SRU, x: Tensor) -> Tensor | None:
    """SRU of x; None where the layers have to be run."""
    gate = Gate.of(module.norm, module.threshold) if gates(module, x) else None
    if gate is None:
        return None
    return in_layout_of(
        x, Select.apply(channels_last(x), gate, module.norm.weight, module.norm.bias)
    )


def cru(module: CRU, x: Tensor) -> Tensor | None:
    """CRU of x; None where the layers have to be run."""
    layers = Layers.of(module)
    if layers is None or not fits(module, layers, x):
        return None
    if layers.norm_up.training:
        return in_layout_of(x, _train(module, layers, x))
    return in_layout_of(x, infer.cru(module, channels_last(x), _form(module, layers)))


def _train(module: CRU, layers: Layers, x: Tensor) -> Tensor:
    """CRU of x by the batch's statistics, which move the running ones."""
    n, _, h, w = x.shape
    stride = layers.gwc.stride[0]
    after = n * -(-h // stride) * -(-w // stride)
    track = partial(_track, layers, n * h * w, after)
    form = _form(module, layers)
    return Reconstruct.apply(channels_last(x), form, track, *_parameters(layers))


def _form(module: CRU, layers: Layers) -> Form:
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


def _parameters(layers: Layers) -> tuple[Tensor, ...]:
    """In the order of `Weights`, then those that change nothing."""
    own = [layer._parameters for layer in layers]
    squeeze_up, up, gwc, pwc1, squeeze_low, low, pwc2, norm1, norm2 = own
    learned = (squeeze_up["weight"], up["weight"], up["bias"], gwc["weight"], pwc1["weight"])
    learned += (squeeze_low["weight"], low["weight"], pwc2["weight"])
    learned += (norm1["weight"], norm1["bias"], norm2["weight"], norm2["bias"])
    return (*learned, *(layer["bias"] for layer in (squeeze_up, squeeze_low, low, pwc2)))


def _track(layers: Layers, before: int, after: int, seen: Seen) -> None:
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
        buffers = [norm._buffers[name] for name in BUFFERS]
        numbers.track(*map(array, buffers), mean, var, bias, norm.momentum, positions)
        # of this one alone, as torch does
        torch.autograd.graph.increment_version(buffers[2:])
