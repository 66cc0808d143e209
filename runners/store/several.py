"""Several files read at a time, so that a place that is far away is waited for less often."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

FEW = 16  # files that are read one after another, and say how long one takes
NEAR_S = 0.001  # a file that takes less is not worth a thread
AHEAD = 512  # files that are read before they are asked for, at most


def read(
    one: Callable[[str], bytes], keys: Sequence[str], threads: int, *, far: bool = False
) -> Iterator[tuple[str, bytes]]:
    """(key, content) in the order of the keys, of those that are there.

    Args:
        one: reads a file, and may be called by several threads.
        far: the place is known to be far away; else the first files say so.

    Raises:
        Whatever `one` raises but FileNotFoundError.
    """

    def task(key: str) -> tuple[str, bytes] | None:
        try:
            return key, one(key)
        except FileNotFoundError:
            return None

    start = time.perf_counter()
    first = [*map(task, keys[:FEW])]
    near = not far and time.perf_counter() - start < NEAR_S * len(first)
    yield from filter(None, first)
    if near or len(keys) <= FEW:
        yield from filter(None, map(task, itertools.islice(keys, FEW, None)))
        return
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(FEW, len(keys), AHEAD):
            yield from filter(None, pool.map(task, keys[begin : begin + AHEAD]))


def present(exists: Callable[[str], bool], keys: Sequence[str]) -> list[str]:
    """Those of these files that are there.

    Args:
        exists: asks for one, and may be called by several threads.
    """

    def look(key: str) -> bytes:
        if not exists(key):
            raise FileNotFoundError(key)
        return b""

    return [key for key, _ in read(look, keys, threads=FEW)]
