"""The catalogue of convolutions: one file each, and the file's name is the convolution's name.

A file defines `drop_in(conv, **options) -> nn.Module`: what takes the place of one `nn.Conv2d`. Its options are keyword-only
with literal defaults, so that a sweep can be checked against them without importing torch.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

DropIn = Callable[..., nn.Module]


def find(name: str, path: str | Path | None = None) -> DropIn:
    """The `drop_in` of the catalogue's file `name`.py, or of the file at `path`.

    Raises:
        ValueError: there is no such file, or it defines no `drop_in`.
    """
    if path:
        spec = importlib.util.spec_from_file_location(f"scconv_user_conv_{name}", path)
        if spec is None or spec.loader is None or not Path(path).is_file():
            raise ValueError(f"conv '{name}': {path} is not a Python file; give the path of the file that defines drop_in")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # so that the file's classes can be pickled
        spec.loader.exec_module(module)
    else:
        if not (Path(__file__).parent / f"{name}.py").is_file():
            known = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))
            raise ValueError(f"unknown conv '{name}'; use one of {', '.join(known)}, or write {name}.py beside the sweep file")
        module = importlib.import_module(f"scconv.convs.{name}")
    if not hasattr(module, "drop_in"):
        raise ValueError(f"conv '{name}' ({module.__file__}) must define drop_in(conv, **options) -> nn.Module")
    return module.drop_in


def like(conv: nn.Conv2d, in_channels: int, out_channels: int, *, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution with other channels but the kernel, stride, padding and dilation of `conv`."""
    geometry: dict[str, Any] = {k: getattr(conv, k) for k in ("kernel_size", "stride", "padding", "dilation")}
    return nn.Conv2d(in_channels, out_channels, **geometry, groups=groups, bias=bias)
