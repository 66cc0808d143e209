"""Where the kernels may take the place of a module's layers, and a switch that keeps them from it.

Everything that looks between the layers, changes one of them or differentiates twice gets the
layers themselves.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as of_all_modules
from torch.utils import _python_dispatch
from torch.utils._device import DeviceContext

GLOBAL_HOOKS = tuple(
    f"_global_{when}_hooks" for when in ("forward", "forward_pre", "backward", "backward_pre")
)
DTYPES = (torch.float32, torch.float64)
GPU = "cuda"
ON_GPU = (torch.float32, torch.bfloat16, torch.float16)
_switched_off = 0
_lock = threading.RLock()
_known: dict[torch.device, bool] = {}


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within it, modules run layer by layer: for a second derivative, or to compare."""
    global _switched_off
    with _lock:  # of several threads each may be within it
        _switched_off += 1
    try:
        yield
    finally:
        with _lock:
            _switched_off -= 1


def possible(x: Tensor) -> bool:
    """Whether there are kernels on a CPU for the map x, and nothing looks between the layers."""
    if not _open(x, "cpu") or x.dtype not in DTYPES:
        return False
    return not torch.is_autocast_enabled("cpu") and _compiles()


def possible_on_gpu(x: Tensor) -> bool:
    """Whether there are kernels on a GPU for the map x, and nothing looks between the layers."""
    if not _open(x, GPU) or x.dtype not in ON_GPU:
        return False
    # parameters are in float32: without autocast, other maps are an error in the layers
    known = x.dtype == torch.float32 or torch.is_autocast_enabled(GPU)
    return known and _works(x.device)


def used_on(device: torch.device) -> str:
    """What has computed SCConv on this GPU in this process, any where it has no number: "triton"
    with its version, "layers" where its programs cannot be used; empty where none was run.
    """
    known = [works for at, works in _known.items() if device in (at, torch.device(at.type))]
    if not known:
        return ""
    return f"triton {sys.modules['triton'].__version__}" if all(known) else "layers"


def as_built(layers: Sequence[nn.Module], x: Tensor) -> bool:
    """Whether a kernel may compute what these layers of torch would from the map x.

    On a GPU their parameters are in float32, whatever autocast makes of maps.
    """
    dtype = torch.float32 if x.device.type == GPU else x.dtype
    return all(_as_built(layer, dtype, x.device) for layer in layers)


@cache
def _compiles() -> bool:
    """Whether Numba is here and works: a new Python or numpy can come before its release of Numba,
    and what it raises then is of any kind.
    """
    try:
        import numba  # noqa: F401
    except Exception as error:
        warnings.warn(
            f"networks run layer by layer, which takes SCConv up to twice as long on a CPU: Numba "
            f"cannot be imported ({error})",
            stacklevel=2,
        )
        return False
    return True


def _works(device: torch.device) -> bool:
    """Whether Triton is here and its programs are right on this GPU; asked once."""
    if (known := _known.get(device)) is not None:
        return known
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return False
    with _lock:
        if device not in _known:
            _known[device] = _checked(device)
    return _known[device]


def _checked(device: torch.device) -> bool:
    try:
        from scconv.kernels.gpu import check

        check.on(device)
    except Exception as error:
        warnings.warn(
            f"SCConv runs layer by layer on {device}, which takes longer: its Triton programs "
            f"cannot be used ({type(error).__name__}: {error})",
            stacklevel=2,
        )
        return False
    return True


def _open(x: Tensor, device: str) -> bool:
    """Whether x is a map on such a device, and nothing looks between the layers."""
    if _switched_off or not _seen(x, device):
        return False
    return x.dim() == 4 and x.numel() > 0 and not _watched()


def _seen(x: Tensor, device: str) -> bool:
    """An ordinary tensor in memory; not one that stands for others while something traces."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if type(x) not in (Tensor, nn.Parameter) or x.device.type != device:
        return False
    # one without storage stands for several, as gradients do with is_grads_batched
    return torch._C._has_storage(x) and not (x.is_quantized or x.is_neg())


def _watched() -> bool:
    """Whether a mode of torch changes, counts or differentiates single operations."""
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or _python_dispatch._get_current_dispatch_mode() is not None
        or (torch._C._len_torch_function_stack() > 0 and _rewrites())
        or any(getattr(of_all_modules, hooks) for hooks in GLOBAL_HOOKS)
    )


def _rewrites() -> bool:
    """Whether a mode sees torch's functions that does more than to name a device."""
    modes = torch.overrides._get_current_function_mode_stack()
    return any(type(mode) is not DeviceContext for mode in modes)


def _as_built(layer: nn.Module, dtype: torch.dtype, device: torch.device) -> bool:
    """A layer of torch's own class, which nobody listens to, with the parameters it was built
    with.
    """
    own = layer.__dict__
    if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
        return False
    if own["_backward_hooks"] or own["_backward_pre_hooks"]:
        return False
    for parameter in own["_parameters"].values():
        if parameter is not None and (
            type(parameter) is not nn.Parameter
            or parameter.dtype != dtype
            or parameter.device != device
            or not (parameter.dim() > 1 or parameter.is_contiguous())
        ):
            return False
    return all(_is_usual(buffer, dtype, device) for buffer in own["_buffers"].values())


def _is_usual(buffer: Tensor | None, dtype: torch.dtype, device: torch.device) -> bool:
    """A buffer in memory, of the map's type if it has fractions."""
    if buffer is None:
        return True
    fits = buffer.dtype == dtype if buffer.is_floating_point() else buffer.dtype == torch.int64
    own = type(buffer) is Tensor and not buffer.requires_grad
    return own and fits and buffer.device == device and buffer.is_contiguous()
