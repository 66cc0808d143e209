"""Compiles the passes over maps for this processor, and runs them on torch's number of threads.

Numba compiles a function at its first call with arrays of a type, which takes a second, and stores
the result beside the file or in the user's cache folder: later processes load it.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import torch
from numba import njit

# Fewer elements for a thread are not worth waking one: torch's own threads wait busily for their
# next work, on the same cores. With 64K a step on two threads took up to 1.5 of the time without
# threads here; with 512K it takes 0.8 of it where torch's wait passively, and as long where not.
ENOUGH = 1 << 19
_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):
    # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_pools.clear)


class compiled:
    """A function of arrays and numbers, compiled at its first call.

    It rounds as it is written: each product, and sums in their order.
    """

    def __init__(self, function: Callable[..., Any]):
        # a checker of annotations, as in the tests, wraps each function of a module
        self.literal = inspect.unwrap(function)
        self.__doc__, self.__name__ = function.__doc__, function.__name__

    def __call__(self, *args: Any) -> Any:
        try:
            return self.run(*args)
        except Exception:
            # no space to store it, or what was stored is damaged, which shows in any error
            self.run = _compiled(self.literal)
            return self.run(*args)

    @cached_property
    def run(self) -> Callable[..., Any]:
        try:
            return _stored(self.literal)
        except RuntimeError:
            # nowhere to store it: compiled again in each process
            return _compiled(self.literal)

    def over_images(self, n: int, elements: int, *args: Any) -> None:
        """Calls it as (start, stop, *args) for all n images, on several threads where they pay.

        An image's results depend on no other image, so that they are the same on any number.

        Args:
            elements: of a map of all n images.
        """
        threads = min(torch.get_num_threads(), n, 1 + elements // ENOUGH)
        if threads == 1:
            return self(0, n, *args)
        ends = [n * i // threads for i in range(threads + 1)]
        parts = [(start, stop, *args) for start, stop in itertools.pairwise(ends)]
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads - 1, thread_name_prefix="scconv")
        others = []
        for part in parts[1:]:
            try:
                others.append(_pools[threads].submit(self, *part))
            except RuntimeError:
                # the main thread has ended, and Python starts no more threads
                self(*part)
        self(*parts[0])
        for other in others:
            other.result()
        return None


def inlined(function: Callable[..., Any]) -> Any:
    """A function that compiled ones call."""
    return njit(inspect.unwrap(function))


# Numba finds what it has stored by the file that a function is in and that file's last change: not
# by these options, nor by the functions that it calls. After a change of them, or of what loops.py
# and numbers.py share, change loops.py, gating.py, numbers.py, rectify.py and groupwise.py, too. No
# option lets the compiler choose between two ways of rounding: it chose another one in the process
# that compiles than in those that load what it has stored, and a trial's figures would differ.
def _stored(function: Callable[..., Any]) -> Callable[..., Any]:
    return njit(nogil=True, cache=True, error_model="numpy")(function)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return njit(nogil=True, error_model="numpy")(function)
