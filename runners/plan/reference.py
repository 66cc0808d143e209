"""The figures that a sweep names as its reference: the paper's, or a CSV of one's own.

The paper's are those of SCConv, CVPR 2023, Tables 1-3, and of Figure 4, which prints no numbers,
the two points that Table 1 prints. `flops_m` is the paper's word and counting; see scconv/cost.
Rows are joined to a sweep's variants by name; the sweep's data set says which of a row's accuracies
is meant. Two more tables are a student's reports on other data, `channels` and `shallow`; see
scconv/cost/reports.py.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.errors import SweepError
from runners.plan.catalogue import find
from runners.plan.config import RECIPES, Config
from runners.plan.kinds import REFERENCE
from runners.plan.sweep import Sweep

TITLES = {
    "table1": "Table 1",
    "table2": "Table 2",
    "table3": "Table 3",
    "figure4": "Figure 4 (those of its points that Table 1 prints)",
}
REPORTS = {"channels": "first convolutions in ResNet-18", "shallow": "networks of a few layers"}
OF_REPORTS = (
    "50 classes of mini-ImageNet at 84x84, one training each, 450 test images; the report's "
    "channels R and B are swapped, and its pictures negatives"
)
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
    "optimizer",
    "grad_clip",
    "early_stop",
)


# what a table of one's own must have, beside a column with the name of the sweep's data set
COLUMNS = ("variant", "params_m", "flops_m")


@dataclass(frozen=True)
class Printed:
    """One row as printed: millions, and per cent.

    Attributes:
        flops_m: None where FLOPs are not the paper's.
        calflops_g: of a batch of `batch` images, in billions, by the tool calflops.
        memory_mb: of a process, in nvidia-smi.
        conditions: the channels that are there -> top-1.
    """

    params_m: float
    flops_m: float | None
    top1: float
    calflops_g: float | None = None
    batch: int = 0
    memory_mb: float | None = None
    conditions: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """The printed rows of one network on one data set, by the sweep's variants.

    Attributes:
        title: where they are from.
        backbone: that the paper trained; empty of a table of one's own.
        elsewhere: why none of its figures can be this training's.
    """

    title: str = ""
    backbone: str = ""
    dataset: str = ""
    rows: dict[str, Printed] = field(default_factory=dict)
    elsewhere: str = ""

    def departures(self, config: Mapping[str, Any], train_images: int) -> list[str]:
        """In what a trial's training was not the paper's: "epochs 8, not 200", ...

        How the figures of a table of one's own were trained is not known: it has none.
        """
        if not self.backbone:
            return [self.elsewhere] if self.elsewhere else []
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


def file_of(sweep: Sweep) -> Path | None:
    """The table that the sweep names; None where it names none.

    Raises:
        SweepError: there is no such table.
    """
    if not sweep.reference:
        return None
    return find(REFERENCE, sweep.reference, sweep.lookup.folder, "reference")


def load(sweep: Sweep) -> Reference:
    """The rows of the table that the sweep names; none where it names none.

    The printed baseline goes by the sweep's own baseline name.

    Raises:
        SweepError: no such table, or it has not what the sweep needs.
    """
    if (file := file_of(sweep)) is None:
        return Reference()
    if file.parent != REFERENCE.folder:
        return _own(sweep, file)
    return _report(sweep, file) if sweep.reference in REPORTS else _papers(sweep)


def _report(sweep: Sweep, file: Path) -> Reference:
    """A table of a student's report: accuracies by the channels that are there."""
    with open(file, newline="", encoding="utf-8") as text:
        lines = [*csv.DictReader(text)]
    rows = {}
    for line in lines:
        figures = {key: float(value) for key, value in line.items() if key != "variant" and value}
        conditions = {key: value for key, value in figures.items() if set(key) <= set("RGB")}
        name = line["variant"]
        rows[sweep.baseline if name == "baseline" else name] = Printed(
            figures["params_m"],
            None,
            conditions["RGB"],
            calflops_g=figures.get("calflops_g"),
            batch=int(figures["batch"]),
            memory_mb=figures["memory_mb"],
            conditions=conditions,
        )
    title = f"a student's report, {REPORTS[sweep.reference]}: {OF_REPORTS}"
    return Reference(title, rows=rows, elsewhere="other data and another protocol")


def _papers(sweep: Sweep) -> Reference:
    """A table of the paper.

    One of a single network, or of a single data set, is laid beside a sweep on any other, and its
    title then says what it is.
    """
    with open(REFERENCE.folder / f"{sweep.reference}.csv", newline="") as file:
        lines = [*csv.DictReader(file)]
    config = sweep.variants.get(sweep.baseline) or next(iter(sweep.variants.values()))
    backbones = [*dict.fromkeys(line["backbone"] for line in lines)]
    backbone = backbones[0] if len(backbones) == 1 else config.backbone.partition("_")[0]
    if backbone not in backbones:
        raise SweepError(
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


def _own(sweep: Sweep, file: Path) -> Reference:
    """A table of one's own, as sweeps/README.md has it."""
    dataset = next(iter(sweep.variants.values())).dataset
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            lines, columns = [*reader], reader.fieldnames or []
    except (csv.Error, UnicodeDecodeError) as error:
        raise SweepError(f"{file}: must be a CSV in UTF-8: {error}") from None
    needed = (*COLUMNS, dataset)
    if any(key not in columns for key in needed):
        raise SweepError(
            f"{file}: must have the columns {', '.join(needed)} (the last is the sweep's data set),"
            f" got {', '.join(columns) or 'none'}"
        )
    names = Counter(line["variant"] for line in lines)
    if twice := [name for name, n in names.items() if n > 1]:
        raise SweepError(
            f"{file}: each variant must have one row, got {names[twice[0]]} of it: {twice[0]!r}"
        )
    rows = {}
    for number, line in enumerate(lines, 2):
        params, flops, top1 = (
            _number(line[key], f"{file}, row {number}: {key}") for key in needed[1:]
        )
        name = line["variant"]
        rows[sweep.baseline if name == "baseline" else name] = Printed(params, flops, top1)
    return Reference(f"{file.name}: {dataset}", "", dataset, rows)


def _number(text: str | None, place: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SweepError(f"{place} must be a number, got {text or ''!r}")
    return value
