"""How a function becomes a Triton program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import triton


class program:
    """A function that is launched as `name[grid](*args)`, compiled for a GPU at its first launch.

    It rounds as it is written, on every GPU: no product and sum become one operation.
    """

    def __init__(self, function: Callable[..., Any]):
        self.jit = inlined(function)
        self.__doc__, self.__name__ = function.__doc__, function.__name__

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
        return partial(self.jit[grid], enable_fp_fusion=False)


def inlined(function: Callable[..., Any]) -> Any:
    """A function that programs call."""
    # a checker of annotations, as in the tests, wraps each function of a module
    return triton.jit(inspect.unwrap(function))
