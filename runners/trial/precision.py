"""The precision of the arithmetic: fp32, or torch's automatic mixing with bf16 or fp16."""

from __future__ import annotations

import torch

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose(name: str, device: torch.device) -> str:
    """The precision that a config's `precision` means on this device; "auto" is its fastest."""
    if name != "auto":
        return name
    if device.type != "cuda":
        return "fp32"
    # a GPU before Ampere, such as a T4, only emulates bf16
    return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"


def autocast(name: str, device: torch.device) -> torch.autocast:
    """The context in which a network computes in this precision."""
    dtype = HALF.get(name)
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
