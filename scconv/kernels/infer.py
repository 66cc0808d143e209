"""The CRU in eval mode: its norms are constants, which go into the weights or into the one pass
that writes the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scconv.kernels import fuse
from scconv.kernels.groupwise import convolve
from scconv.kernels.rows import image, matrix, pool, rows

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
    s1, s2 = (
        norm.average(y.mean(1, keepdim=True)) for norm, y in zip(norms, (y1, y2), strict=True)
    )
    return image(fuse.output(y1, y2, (s1 - s2).sigmoid(), *norms), small)


def _squeeze(v: Tensor, conv: Any, norm: Any) -> Tensor:
    """The 1x1 convolution with its norm's gain in the weight and the rest in the bias."""
    n = _norm(norm)
    scale = n.gain * n.r
    bias = n.shift + scale * (conv.bias - n.mean)
    return _linear(v, conv.weight.flatten(1) * scale[:, None], bias)


def _linear(v: Tensor, weight: Tensor, bias: Any) -> Tensor:
    return torch.addmm(bias, matrix(v), weight.t()).view(*v.shape[:2], -1)


def _norm(norm: Any) -> fuse.Norm:
    r = (norm.running_var + norm.eps).rsqrt()
    return fuse.Norm(norm.running_mean, r, norm.weight, norm.bias)
