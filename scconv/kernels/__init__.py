"""What makes SRU and CRU fast: each as one function with a backward of its own, in plain torch.

scconv/convs/scconv.py is the definition, layer by layer, and runs wherever these functions do not
apply; `sru` and `cru` then return None. They apply on a CPU in float32 and float64, to layers as
they were built, where nobody looks between them: without hooks, torch's compilers and exporters,
functorch, autocast, counting modes. The numbers agree but for the order of sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scconv.kernels import infer
from scconv.kernels.conditions import plain, usable
from scconv.kernels.form import Form, Seen
from scconv.kernels.reconstruct import Reconstruct
from scconv.kernels.rows import channels_last
from scconv.kernels.select import Gate, Select

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU

__all__ = ["cru", "plain", "sru"]


def sru(module: SRU, x: Tensor) -> Tensor | None:
    """SRU of x; None where the layers have to be run."""
    gate = _gate(module, x)
    if gate is None:
        return None
    return _as(x, Select.apply(channels_last(x), gate, module.norm.weight, module.norm.bias))


def cru(module: CRU, x: Tensor) -> Tensor | None:
    """CRU of x; None where the layers have to be run."""
    if not _fits(module, x):
        return None
    if module.norm_up.training:
        return _as(x, _train(module, x))
    return _as(x, infer.cru(module, channels_last(x), _form(module)))


def _gate(module: SRU, x: Tensor) -> Gate | None:
    """What a kernel needs of an SRU; None where the layers have to be run."""
    norm = module.norm
    if module.gate != "hard" or type(norm) is not nn.GroupNorm or norm.weight is None:
        return None
    if x.dim() != 4 or x.shape[1] != norm.num_channels or not usable(x, [norm]):
        return None
    return Gate.of(norm, module.threshold)


def _train(module: CRU, x: Tensor) -> Tensor:
    """CRU of x by the batch's statistics, which move the running ones."""
    out, *seen = Reconstruct.apply(channels_last(x), _form(module), *_parameters(module))
    _track(module, Seen(*seen), x[:, 0].numel(), out[:, 0].numel())
    return out


def _fits(module: CRU, x: Tensor) -> bool:
    """Whether a kernel may compute what the CRU's layers would."""
    convs, norms = _layers(module)
    if not all(type(conv) is nn.Conv2d and conv.padding_mode == "zeros" for conv in convs):
        return False
    if not all(type(norm) is nn.BatchNorm2d and _keeps_track(norm) for norm in norms):
        return False
    if module.lower_pool == "after" and module.gwc.stride != (1, 1):
        return False
    if (
        any(convs[i].bias is None for i in (0, 3, 4))
        or len({(n.training, n.momentum) for n in norms}) != 1
    ):
        return False
    if x.dim() != 4 or x.shape[1] != sum(module.split) or not usable(x, [*module.modules()][1:]):
        return False
    if norms[0].training:
        stride = module.gwc.stride[0]
        return x.shape[0] * -(-x.shape[2] // stride) * -(-x.shape[3] // stride) > 1
    learns = x.requires_grad or any(p.requires_grad for p in module.parameters())
    return not (torch.is_grad_enabled() and learns)


def _keeps_track(norm: nn.BatchNorm2d) -> bool:
    return norm.affine and norm.running_mean is not None and norm.momentum is not None


def _layers(module: CRU) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Its five convolutions, and its four norms: of both squeezes and of both outputs."""
    (squeeze_up, norm_u), (squeeze_low, norm_l) = module.squeeze_up, module.squeeze_low
    convs = squeeze_up, module.gwc, module.pwc1, squeeze_low, module.pwc2
    return convs, (norm_u, norm_l, module.norm_up, module.norm_low)


def _form(module: CRU) -> Form:
    gwc: Any = module.gwc
    return Form(
        stride=gwc.stride[0],
        padding=gwc.padding[0],
        dilation=gwc.dilation[0],
        groups=gwc.groups,
        upper=module.split[0],
        keeps=module.lower != "eq11-full",
        eps=tuple(norm.eps for norm in _layers(module)[1]),
    )


def _parameters(module: CRU) -> tuple[Tensor, ...]:
    """In the order of `Weights`, then those that change nothing."""
    (squeeze_up, gwc, pwc1, squeeze_low, pwc2), (up, low, norm1, norm2) = _layers(module)
    learned = (squeeze_up.weight, up.weight, up.bias, gwc.weight, pwc1.weight)
    learned += (squeeze_low.weight, low.weight, pwc2.weight)
    learned += (norm1.weight, norm1.bias, norm2.weight, norm2.bias)
    return (*learned, squeeze_up.bias, squeeze_low.bias, low.bias, pwc2.bias)


@torch.no_grad()
def _track(module: CRU, seen: Seen, before: int, after: int) -> None:
    """Move the running statistics by what the norms saw, with the biases that were left out.

    `before` and `after` are the positions in the batch of the input and of the output.
    """
    (squeeze_up, _, _, squeeze_low, pwc2), norms = _layers(module)
    _, low, _, _ = norms
    # the lower part is, in truth, scale * (low - its mean) + the norm's shift
    scale = low.weight * (seen.var_low + low.eps).rsqrt()
    weight = pwc2.weight.flatten(1)
    point = len(weight)
    mean2 = torch.addmv(seen.mean2[:point] + pwc2.bias, weight, low.bias)
    var2 = seen.var2
    if module.lower != "eq11-full":
        mean2 = torch.cat((mean2, low.bias))
        var2 = torch.cat((var2[:point], scale.square() * var2[point:]))

    new = [seen.mean_up + squeeze_up.bias, seen.mean_low + squeeze_low.bias, seen.mean1, mean2]
    # of a batch, the running variance takes the unbiased estimate
    unbiased = [m / (m - 1) for m in (before, *3 * (after,))]
    new += torch._foreach_mul([seen.var_up, seen.var_low, seen.var1, var2], unbiased)
    running = [norm.running_mean for norm in norms] + [norm.running_var for norm in norms]
    torch._foreach_lerp_(running, new, norms[0].momentum)
    torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)


def _as(x: Tensor, y: Tensor) -> Tensor:
    """y in the memory layout of x."""
    return y if x.is_contiguous(memory_format=torch.channels_last) else y.contiguous()
