"""What makes networks fast: SRU, CRU, and on a CPU BatchNorm with what follows it, each as one
function with a backward of its own.

The layers are the definition, and run wherever these functions do not apply; `sru` and `cru` then
return None. They apply to layers as they were built, where nobody looks between them: without
hooks, torch's compilers and exporters, functorch, counting modes. The numbers agree but for the
order of sums.

* On a CPU in float32 and float64, without autocast, where Numba can be imported. torch multiplies
  and convolves; what is between is loops over the maps (loops.py) and numbers per channel
  (numbers.py), which Numba compiles for this processor (compiled.py).
* On a CUDA GPU in float32, and in bf16 and fp16 under autocast, where Triton can be imported and
  its programs pass a check on that GPU (gpu/).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scconv.kernels.conditions import plain, possible, possible_on_gpu, used_on

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU

__all__ = ["cru", "norm_act", "plain", "sru", "used_on"]


def sru(module: SRU, x: Tensor) -> Tensor | None:
    """SRU of x; None where the layers have to be run."""
    kernels = _for(x)
    return kernels and kernels.sru(module, x)


def cru(module: CRU, x: Tensor) -> Tensor | None:
    """CRU of x; None where the layers have to be run."""
    kernels = _for(x)
    return kernels and kernels.cru(module, x)


def _for(x: Tensor) -> ModuleType | None:
    """The kernels for x, imported where they are used; None: there are none."""
    if possible(x):
        from scconv.kernels import run

        return run
    if possible_on_gpu(x):
        from scconv.kernels.gpu import run

        return run
    return None


def norm_act(norm: Callable, act: Callable, x: Any, side: Any = None) -> Any:
    """act(norm(x) + side), or act(norm(x)) without a side: by one function for nn.BatchNorm2d and
    ReLU of maps in channels_last, else by the layers.

    Shapes: x, side and the result (n, c, h, w). It raises what the layers raise.

    Args:
        act: an nn.ReLU, torch's relu, or another module.
    """
    if type(x) is Tensor and possible(x):
        from scconv.kernels import rectify

        if (y := rectify.norm_act(norm, act, x, side)) is not None:
            return y
    y = norm(x)
    return act(y if side is None else y + side)
