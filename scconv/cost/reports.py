"""The cost columns of a student's two reports beside ours: first convolutions for images of which
channels are missing (`channels`), and networks of a few layers (`shallow`).

Their images are 84x84 of 50 classes, and their FLOPs those of the tool calflops for a whole batch.
The printed memory is a process's in nvidia-smi, which no count reproduces; `train_mib` is ours,
with Adam, as they trained.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scconv import backbones
from scconv.cost import Cost, cost
from scconv.surgery import replace_convs

FIGURES = Path(__file__).parents[1] / "paper"
CLASSES, IMAGE = 50, (3, 84, 84)
POOL = {"pool": True}
Network = tuple[str, dict[str, Any], str, dict[str, Any]]  # backbone, options, stem, options
# report -> variant -> the network behind the row
NETWORKS: dict[str, dict[str, Network]] = {
    "channels": {
        "baseline": ("resnet18", POOL, "standard", {}),
        "v1": ("resnet18", {}, "subset", {"by": "fixed"}),
        "v1 with pool": ("resnet18", POOL, "subset", {"by": "fixed"}),
        "v2": ("resnet18", POOL, "subset", {}),
        "v3": ("resnet18", POOL, "dynamic", {}),
        "v4": ("resnet18", POOL, "subset", {}),
    },
    "shallow": {
        "baseline": ("resnet34", POOL, "standard", {}),
        "v1": ("shallow", {"kernel": 3, "stride": 1}, "standard", {}),
        "v2": ("shallow", {"kernel": 7, "stride": 2}, "standard", {}),
    },
}
NOTES = {
    ("channels", "v1"): "without the others' max-pool",
    ("channels", "v1 with pool"): "the fair one, not printed",
    ("channels", "v3"): "printed: the network without its stem",
}


@dataclass(frozen=True)
class Row:
    """A printed row and ours. Printed figures are texts, empty where there is none.

    Attributes:
        printed_params: millions.
        printed_calflops: billions, of a batch.
        calflops: of a batch.
        printed_memory: MB.
    """

    report: str
    variant: str
    batch: int
    printed_params: str
    printed_calflops: str
    printed_memory: str
    counted: Cost
    note: str = ""

    @property
    def calflops(self) -> int:
        return self.batch * self.counted.calflops

    @property
    def train_mib(self) -> float:
        return self.counted.train_mib(self.batch, "adam")

    @property
    def cells(self) -> list[str]:
        """One for each of HEADERS."""
        c = self.counted
        return [
            self.variant,
            self.printed_params or "-",
            f"{c.params:,}",
            _agreement(self.printed_params, c.params / 1e6),
            self.printed_calflops or "-",
            f"{self.calflops:,}",
            _agreement(self.printed_calflops, self.calflops / 1e9),
            f"{c.macs:,}",
            f"{c.layers} ({c.spatial})",
            self.printed_memory or "-",
            f"{self.train_mib:,.1f}",
            self.note,
        ]


HEADERS = (
    "variant",
    *("params M", "ours", ""),
    *("calflops G", "ours", ""),
    "MACs of an image",
    "layers",
    *("memory MB", "train MiB, ours", ""),
)
LEGEND = (
    "calflops: of a batch of {batch} images of 84x84; MACs: all matrix products too, which "
    "calflops leaves out; layers: on the longest path, in brackets the convolutions larger than "
    "1x1; memory MB: a process's figure in nvidia-smi, not reproducible."
)


def rows(report: str) -> list[Row]:
    """Every row of "channels" or "shallow", counted on the meta device."""
    with open(FIGURES / f"{report}.csv", newline="", encoding="utf-8") as file:
        lines = {line["variant"]: line for line in csv.DictReader(file)}
    batch = int(next(iter(lines.values()))["batch"])
    found = []
    for variant, network in NETWORKS[report].items():
        line = lines.get(variant, {})
        params, calflops, memory = (
            line.get(key, "") for key in ("params_m", "calflops_g", "memory_mb")
        )
        note = NOTES.get((report, variant), "")
        counted = _count(network)
        found.append(Row(report, variant, batch, params, calflops, memory, counted, note))
    return found


def _count(network: Network) -> Cost:
    backbone, options, stem, stem_options = network
    with torch.device("meta"):
        model = backbones.build(backbone, CLASSES, **options)
        if stem != "standard":
            replace_convs(model, stem, where="first", **stem_options)
    return cost(model, IMAGE)


def _agreement(printed: str, ours: float) -> str:
    """= where they agree to the printed digits, else the relative error."""
    if not printed:
        return ""
    if f"{ours:.{len(printed.partition('.')[2])}f}" == printed:
        return "="
    return f"{100 * (ours / float(printed) - 1):+.3f}%"
