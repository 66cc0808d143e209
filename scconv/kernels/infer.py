"""The CRU in eval mode: its norms are constants, which go into the weights or into the one pass
that writes the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scconv.kernels import fuse, numbers
from scconv.kernels.groupwise import convolve
from scconv.kernels.rows import array, pool
from scconv.kernels.views import image, matrix, rows

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU
    from scconv.kernels.form import Form


def cru(module: CRU, x: Tensor, form: Form) -> Tensor:
    """CRU of x (n, c1, h, w) in channels_last by the running statistics, without gradients."""
    v, size = rows(x), tuple(x.shape[2:])
    up = _squeeze(v[..., : form.upper], *module.squeeze_up)
    pwc1 = module.pwc1.weight
    y1 = convolve(image(up, size), module.gwc.weight, pwc1, form)
    small, y1 = y1.shape[2:], rows(y1)
    if not form.merges(pwc1):
        read = up if form.stride == 1 else pool(up, size)
        matrix(y1).addmm_(matrix(read), pwc1.flatten(1).t())

    read = v[..., form.upper :]
    low = _squeeze(read if form.stride == 1 else pool(read, size), *module.squeeze_low)
    z = _linear(low, module.pwc2.weight.flatten(1), module.pwc2.bias)
    y2 = torch.cat((z, low), dim=2) if form.keeps else z
    norms = _norm(module.norm_up), _norm(module.norm_low)
    fusion = fuse.empty(array(y1.mean(1)), array(y2.mean(1)))
    fusion.norm1[:], fusion.norm2[:] = norms
    numbers.weights(*fusion)
    return fuse.output(y1, y2, fusion, small)


def _squeeze(v: Tensor, conv: Any, norm: Any) -> Tensor:
    """The 1x1 convolution with its norm's gain in the weight and the rest in the bias."""
    mean, r, gain, shift = _norm(norm)
    scale = gain * r
    bias = shift + scale * (array(conv.bias) - mean)
    weight = array(conv.weight.flatten(1)) * scale[:, None]
    return _linear(v, torch.from_numpy(weight), torch.from_numpy(bias))


def _linear(v: Tensor, weight: Tensor, bias: Any) -> Tensor:
    return torch.addmm(bias, matrix(v), weight.t()).view(*v.shape[:2], -1)


def _norm(norm: Any) -> np.ndarray:
    r = 1 / np.sqrt(array(norm.running_var) + norm.eps)
    return np.stack((array(norm.running_mean), r, array(norm.weight), array(norm.bias)))
