"""The most memory that a training needed: on a GPU what torch allocated, on a CPU the process.

A worker trains one trial after the other, so the peak is reset before each. Of a process Linux
alone can forget it.
"""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import torch

from runners import system


def reset(device: torch.device) -> None:
    """Begin a new peak, without what earlier trials of this process have left behind.

    On a CPU the process keeps from here on what a training step frees, for the next step.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    gc.collect()
    system.give_back_memory()
    system.keep_memory()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def gigabytes(device: torch.device) -> float:
    """The peak since `reset`."""
    return (
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_bytes()
    ) / 1e9


def _resident_bytes() -> int:
    """Peak resident bytes of this process."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return system.peak_memory()
