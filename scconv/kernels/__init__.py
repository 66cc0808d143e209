"""What makes networks fast on a CPU: SRU, CRU, and BatchNorm with what follows it, each as one
function with a backward of its own.

The layers are the definition, and run wherever these functions do not apply; `sru` and `cru` then
return None. They apply on a CPU in float32 and float64, to layers as
they were built, where nobody looks between them: without hooks, torch's compilers and exporters,
functorch, autocast, counting modes; and where Numba can be imported. The numbers agree but for the
order of sums.

torch multiplies and convolves; what is between is loops over the maps (loops.py) and numbers per
channel (numbers.py), which Numba compiles for this processor (compiled.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scconv.kernels.conditions import plain, possible

if TYPE_CHECKING:
    from scconv.convs.scconv import CRU, SRU

__all__ = ["cru", "norm_act", "plain", "sru"]


def sru(module: SRU, x: Tensor) -> Tensor | None:
    """SRU of x; None where the layers have to be run."""
    if not possible(x):
        return None
    from scconv.kernels import run  # Numba is imported where it is used

    return run.sru(module, x)


def cru(module: CRU, x: Tensor) -> Tensor | None:
    """CRU of x; None where the layers have to be run."""
    if not possible(x):
        return None
    from scconv.kernels import run

    return run.cru(module, x)


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
