"""What the paper printed, as CSV: figures only, joined to a sweep's variants by name; and the
protocol behind them.

SCConv, CVPR 2023, Tables 1-3, and of Figure 4, which prints no numbers, the two points that Table 1
prints. `flops_m` is the paper's word and counting; see scconv/cost. Where a row prints several
accuracies, the sweep's data set says which one is meant.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runners.plan.catalogue import REFERENCE
from runners.plan.config import RECIPES, Config
from runners.plan.sweep import Sweep

TITLES = {
    "table1": "Table 1",
    "table2": "Table 2",
    "table3": "Table 3",
    "figure4": "Figure 4 (those of its points that Table 1 prints)",
}
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet": 1_281_167}  # that the paper trained on
# of a config, what the paper's own training fixes; batches of ImageNet it does not give
FIXED = (
    "epochs",
    "lr",
    "momentum",
    "nesterov",
    "weight_decay",
    "schedule",
    "milestones",
    "warmup",
    "label_smoothing",
    "augment",
)


@dataclass(frozen=True)
class Printed:
    """One row as printed: millions, and per cent."""

    params_m: float
    flops_m: float
    top1: float


@dataclass(frozen=True)
class Reference:
    """The printed rows of one network on one data set, by the sweep's variants; `title` says where
    they are from.
    """

    title: str = ""
    backbone: str = ""
    dataset: str = ""
    rows: dict[str, Printed] = field(default_factory=dict)

    def departures(self, config: Mapping[str, Any], train_images: int) -> list[str]:
        """In what a trial's training was not the paper's: "epochs 8, not 200", ..."""
        paper = Config(
            self.backbone,
            self.dataset,
            **RECIPES["imagenet" if self.dataset == "imagenet" else "paper"],
        )
        wanted = {name: getattr(paper, name) for name in FIXED} | {
            "dataset": self.dataset,
            "backbone": self.backbone,
        }
        if self.dataset != "imagenet":
            wanted["batch_size"] = paper.batch_size
        had = {name: config[name] for name in wanted} | {
            "backbone": config["backbone"].partition("_")[0]
        }
        had["milestones"] = tuple(had["milestones"])
        found = [
            f"{name} {had[name]}, not {wanted[name]}"
            for name in ("dataset", "backbone", *wanted)
            if had[name] != wanted[name]
        ]
        if train_images != IMAGES[self.dataset] and config["dataset"] == self.dataset:
            found.append(f"{train_images:,} training images, not {IMAGES[self.dataset]:,}")
        return [*dict.fromkeys(found)]


def load(sweep: Sweep) -> Reference:
    """The rows of the table that the sweep names; none where it names none. The printed baseline
    goes by the sweep's own baseline name.

    A table of one network, or of one data set, is laid beside a sweep on any other, and its title
    then says what it is.

    Raises:
        ValueError: no such table, or it has several networks and none is the sweep's.
    """
    if not sweep.reference:
        return Reference()
    if sweep.reference not in TITLES:
        raise ValueError(
            f"reference: unknown table {sweep.reference!r}; there are {', '.join(TITLES)}"
        )
    with open(REFERENCE.folder / f"{sweep.reference}.csv", newline="") as file:
        lines = [*csv.DictReader(file)]
    config = sweep.variants.get(sweep.baseline) or next(iter(sweep.variants.values()))
    backbones = [*dict.fromkeys(line["backbone"] for line in lines)]
    backbone = backbones[0] if len(backbones) == 1 else config.backbone.partition("_")[0]
    if backbone not in backbones:
        raise ValueError(
            f"reference: {sweep.reference} has no rows of {backbone}; it has {', '.join(backbones)}"
        )
    lines = [line for line in lines if line["backbone"] == backbone]
    dataset = (
        config.dataset
        if lines[0].get(config.dataset)
        else next(d for d in ("cifar100", "imagenet") if lines[0][d])
    )
    rows = {
        (sweep.baseline if line["variant"] == "baseline" else line["variant"]): Printed(
            float(line["params_m"]), float(line["flops_m"]), float(line[dataset])
        )
        for line in lines
    }
    protocol = "100 epochs" if dataset == "imagenet" else "200 epochs, median of several runs"
    source = f"SCConv (CVPR 2023), {TITLES[sweep.reference]}"
    title = f"{source}: {backbone}, {DATASETS[dataset]}, {protocol}"
    return Reference(title, backbone, dataset, rows)
