"""What the paper printed, as CSV: figures only, joined to a sweep's variants by name.

SCConv, CVPR 2023, Tables 1-3. `flops_m` is the paper's word and counting; see scconv/cost. Where a row prints several accuracies, the sweep's
data set says which one is meant.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from runners.plan import Sweep

TABLES = ("table1", "table2", "table3")
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}


@dataclass(frozen=True)
class Printed:
    """One row as printed: millions, and per cent."""

    params_m: float
    flops_m: float
    top1: float


@dataclass(frozen=True)
class Reference:
    """The printed rows of one network on one data set, by the sweep's variants; `title` says where they are from."""

    title: str
    rows: dict[str, Printed]


def load(sweep: Sweep) -> Reference:
    """The rows of the table that the sweep names; none where it names none. The printed baseline goes by the sweep's own baseline name.

    A table of one network, or of one data set, is laid beside a sweep on any other, and its title then says what it is.

    Raises:
        ValueError: no such table, or it has several networks and none is the sweep's.
    """
    if not sweep.reference:
        return Reference("", {})
    if sweep.reference not in TABLES:
        raise ValueError(f"reference: unknown table {sweep.reference!r}; there are {', '.join(TABLES)}")
    with open(Path(__file__).parent / f"{sweep.reference}.csv", newline="") as file:
        lines = [*csv.DictReader(file)]
    config = sweep.variants.get(sweep.baseline) or next(iter(sweep.variants.values()))
    backbones = [*dict.fromkeys(line["backbone"] for line in lines)]
    backbone = backbones[0] if len(backbones) == 1 else config.backbone.partition("_")[0]
    if backbone not in backbones:
        raise ValueError(f"reference: {sweep.reference} has no rows of {backbone}; it has {', '.join(backbones)}")
    lines = [line for line in lines if line["backbone"] == backbone]
    dataset = config.dataset if lines[0].get(config.dataset) else next(d for d in ("cifar100", "imagenet") if lines[0][d])
    rows = {
        (sweep.baseline if line["variant"] == "baseline" else line["variant"]): Printed(
            float(line["params_m"]), float(line["flops_m"]), float(line[dataset])
        )
        for line in lines
    }
    protocol = "100 epochs" if dataset == "imagenet" else "200 epochs, median of several runs"
    title = f"SCConv (CVPR 2023), Table {sweep.reference[-1]}: {backbone}, {DATASETS[dataset]}, {protocol}"
    return Reference(title, rows)
