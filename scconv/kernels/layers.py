"""The layers of a CRU and an SRU, and whether they are those that the kernels compute.

The compiled loops trust every shape and setting: they are checked here, at every call, because
anybody may exchange a layer or its parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from scconv.kernels.conditions import as_built

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class Layers(NamedTuple):
    """Read from torch's own dictionaries: an attribute of a module takes longer."""

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
    def of(cls, module: CRU) -> Layers | None:
        """None where somebody has put other layers in a squeeze's place."""
        own: dict[str, Any] = module._modules
        squeezes = own["squeeze_up"], own["squeeze_low"]
        if not all(type(s) is nn.Sequential and len(s._modules) == 2 for s in squeezes):
            return None
        (squeeze_up, norm_of_up), (squeeze_low, norm_of_low) = (
            s._modules.values() for s in squeezes
        )
        return cls(
            squeeze_up=squeeze_up,
            norm_of_up=norm_of_up,
            gwc=own["gwc"],
            pwc1=own["pwc1"],
            squeeze_low=squeeze_low,
            norm_of_low=norm_of_low,
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


def gates(module: SRU, x: Tensor) -> bool:
    """Whether the kernels compute of x what an SRU's layers would."""
    norm, c = module.norm, (x.shape[1],)
    if module.gate != "hard" or type(norm) is not nn.GroupNorm or norm.weight is None:
        return False
    if c != (norm.num_channels,) or not as_built([norm], x):
        return False
    return norm.weight.shape == c and norm.bias is not None and norm.bias.shape == c


def fits(module: CRU, layers: Layers, x: Tensor) -> bool:
    """Whether the kernels compute of x what a CRU's layers would."""
    if x.shape[1] != sum(module.split) or not _as_made(module, layers):
        return False
    own: dict[str, Any] = module._modules
    others = (own[name] for name in ("squeeze_up", "squeeze_low", "pool", "average"))
    if not as_built([*layers, *others], x):
        return False
    if layers.norm_up.training:
        stride = layers.gwc.stride[0]
        return x.shape[0] * -(-x.shape[2] // stride) * -(-x.shape[3] // stride) > 1
    learns = x.requires_grad or any(p.requires_grad for p in module.parameters())
    return not (torch.is_grad_enabled() and learns)


def _as_made(module: CRU, layers: Layers) -> bool:
    """Whether layers, settings and shapes are those that CRU.__init__ makes."""
    convs, norms = layers.convs, layers.norms
    if not all(type(conv) is nn.Conv2d and conv.padding_mode == "zeros" for conv in convs):
        return False
    if not all(type(norm) is nn.BatchNorm2d and usual(norm) for norm in norms):
        return False
    if len({(norm.training, norm.momentum) for norm in norms}) != 1:
        return False
    gwc = layers.gwc
    if not _pools(module, gwc.stride) or (module.lower_pool == "after" and gwc.stride != (1, 1)):
        return False
    if len({*gwc.kernel_size}) + len({*gwc.stride}) + len({*gwc.dilation}) != 3:
        return False
    if gwc.padding != (gwc.dilation[0] * (gwc.kernel_size[0] - 1) // 2,) * 2:
        return False
    points = layers.squeeze_up, layers.pwc1, layers.squeeze_low, layers.pwc2
    if not all(_is_point_wise(conv) for conv in points):
        return False
    return _shapes(layers) == _shapes_made(module, layers)


def usual(norm: nn.BatchNorm2d) -> bool:
    """Whether a norm's settings are numbers that torch takes, and its statistics are tracked."""
    numbers = type(norm.eps) is float and type(norm.momentum) in (int, float)
    return numbers and norm.eps > 0 and norm.track_running_stats


def _pools(module: CRU, stride: tuple[int, ...]) -> bool:
    """Whether the pool and the average are those of the stride."""
    pool, average = module._modules["pool"], module._modules["average"]
    if type(average) is not nn.AdaptiveAvgPool2d or average.output_size != 1:
        return False
    if stride == (1, 1):
        return type(pool) is nn.Identity
    if type(pool) is not nn.AvgPool2d or stride != (2, 2):
        return False
    made = pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad
    return made == (2, 2, 0, True, False) and pool.divisor_override is None


def _is_point_wise(conv: nn.Conv2d) -> bool:
    made = conv.stride, conv.padding, conv.dilation, conv.groups
    return made == ((1, 1), (0, 0), (1, 1), 1)


def _shapes(layers: Layers) -> list[Any]:
    """Of all parameters and buffers, in the order of the layers; None where there is none."""
    found: list[Any] = []
    for layer in layers:
        tensors = layer._parameters | layer._buffers
        names = ("weight", "bias", *(BUFFERS if type(layer) is nn.BatchNorm2d else ()))
        found += [None if (t := tensors.get(name)) is None else t.shape for name in names]
    return found


def _shapes_made(module: CRU, layers: Layers) -> list[Any]:
    (upper, low), keeps = module.split, module.lower != "eq11-full"
    gwc, squeeze_up, squeeze_low = layers.gwc, layers.squeeze_up, layers.squeeze_low
    c2, up_mid, low_mid = gwc.out_channels, squeeze_up.out_channels, squeeze_low.out_channels
    c3 = c2 - low_mid if keeps else c2
    deep = up_mid // gwc.groups
    return [
        *((up_mid, upper, 1, 1), (up_mid,), *_norm(up_mid)),
        *((c2, deep, *gwc.kernel_size), None, (c2, up_mid, 1, 1), None),
        *((low_mid, low, 1, 1), (low_mid,), *_norm(low_mid)),
        *((c3, low_mid, 1, 1), (c3,), *_norm(c2), *_norm(c2)),
    ]


def _norm(c: int) -> list[tuple[int, ...]]:
    return [(c,), (c,), (c,), (c,), ()]
