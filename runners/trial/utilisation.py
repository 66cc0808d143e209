"""Model FLOPs utilisation: the part of a GPU's peak that a training's own multiply-adds come to.

The measure is that of A. Chowdhery et al. (PaLM, 2022, arXiv:2204.02311, appendix B): what a step
needs by its count, a forward pass and a backward pass of twice its multiply-adds, whatever the
device computes besides.
"""

from __future__ import annotations

import re

import torch

# as torch names a GPU -> its peak in 10^12 operations a second, from NVIDIA's data sheets: of its
# tensor cores in bf16 and fp16 without sparsity; and of what cuDNN convolves in fp32 with: TF32
# where a GPU has it, which torch allows unless it is told not to
PEAKS = {
    r"H200|H100.*HBM3": (989.4, 494.7),
    r"H100 PCIe": (756.0, 378.0),
    r"A100": (312.0, 156.0),
    r"L40S": (362.0, 183.0),
    r"A40": (149.7, 74.8),
    r"A30": (165.0, 82.0),
    r"A10": (125.0, 62.5),
    r"L4": (121.0, 60.0),
    r"RTX A6000": (154.8, 77.4),
    r"RTX 4090": (165.2, 82.6),
    r"RTX 3090": (71.0, 35.6),
    r"V100.SXM2": (125.0, 15.7),
    r"V100.PCIE": (112.0, 14.0),
    r"T4": (65.0, 8.1),
}
# a part of a GPU, and others of nearly the same name
OTHER = r"\b(MIG|GRID|NVL|Ti|SUPER|D|Laptop|Mobile|Max-Q)\b|-\d+[QCAB]$"
PASSES = 3  # a forward pass, and a backward pass of twice its multiply-adds


def peak(device: str, precision: str) -> float | None:
    """Operations a second of a GPU by its name; None where they are not known."""
    if re.search(OTHER, device):
        return None
    for name, (half, full) in PEAKS.items():
        if re.search(rf"\b(?:{name})\b", device):
            return 1e12 * (full if precision == "fp32" else half)
    return None


def utilisation(
    macs: int, images_per_s: float, device: torch.device, precision: str
) -> dict[str, float]:
    """{"mfu": the part of the peak, 0 to 1} of a training; {} on a CPU and on an unknown GPU.

    Args:
        macs: multiply-adds of one image, each of which is two operations.
    """
    if device.type != "cuda":
        return {}
    there = peak(torch.cuda.get_device_name(device), precision)
    return {"mfu": 2 * PASSES * macs * images_per_s / there} if there else {}
