"""What the paper printed, as CSV: figures only, joined to a sweep's variants by name.

SCConv, CVPR 2023. `flops_m` is the paper's word and counting; see scconv/cost.py.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

TITLES = {"table1": "SCConv (CVPR 2023), Table 1: ResNet-50, CIFAR-100, 200 epochs, median of several runs"}


@dataclass(frozen=True)
class Printed:
    """One row as printed: millions, and per cent."""

    printed_as: str
    params_m: float
    flops_m: float
    top1: float


def load(name: str, baseline: str) -> dict[str, Printed]:
    """variant -> the printed row. The table's baseline row goes by the sweep's own baseline name.

    Raises:
        ValueError: no such table.
    """
    if name not in TITLES:
        raise ValueError(f"reference: unknown table {name!r}; there are {', '.join(TITLES)}")
    with open(Path(__file__).parent / f"{name}.csv", newline="") as file:
        return {
            (baseline if row["variant"] == "baseline" else row["variant"]): Printed(
                row["printed_as"], float(row["params_m"]), float(row["flops_m"]), float(row["top1"])
            )
            for row in csv.DictReader(file)
        }
