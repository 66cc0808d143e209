"""The cost columns of the SCConv paper's Tables 1-3, row by row: the network behind each row, and
how that row was counted.

The columns do not all come from one count. Unless said here, a row is thop's (release
post2005241907): `paper_params` and `paper_flops` of scconv.cost, with 10 classes (100 for
WideResNet and DenseNet) and every option at its default. What differs is what reproduces the
printed digits; where no natural definition does, the row is counted the ordinary way and a word
says so.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scconv import backbones
from scconv.cost import Cost, cost
from scconv.surgery import replace_convs

FIGURES = Path(__file__).parents[1] / "paper"
TABLES = ("table1", "table2", "table3")
CLASSES = {"wideresnet28": 100, "densenet121": 100}  # else 10; ImageNet 1000
CONVS = {
    "octconv": "octave",
    "spconv": "sp",
    "slimconv": "slim",
    "tiedconv": "tied",
    "pflayer": "pf",
}  # where the paper's name is another
ORDERS = {
    "S": ["sru"],
    "C": ["cru"],
    "C&S": "parallel",
    "C+S": ["cru", "sru"],
    "S+C": ["sru", "cru"],
}


@dataclass(frozen=True)
class Count:
    """How a row was counted.

    `flops`: "thop", "old" (its release post2001170342, which counts linear layers twice), "macs"
    (multiply-adds alone), or "relu" (multiply-adds and one per output of a ReLU). `norms`:
    GroupNorm's parameters are in.
    """

    flops: str = "thop"
    norms: bool = False
    backbone: str = ""  # where it is not the row's own
    classes: int = 0  # 0: the backbone's usual head in these tables, CLASSES
    keep_norm: bool = True  # the block's BatchNorm behind the place
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


# (table, backbone, method, setting) -> what is not as in every other row
COUNTS: dict[tuple[str, str, str, str], Count] = {
    ("table1", "resnet50", "standard", ""): Count(classes=100),
    ("table1", "resnet50", "scconv", "S"): Count(norms=True),
    ("table2", "resnet56", "octconv", "alpha=1/2"): Count(
        note="misprint"
    ),  # octave convolution keeps the parameters
    ("table2", "resnet56", "tiedconv", "b=2"): Count(classes=100),
    ("table2", "resnet50", "slimconv", "k=1"): Count("old"),
    ("table2", "resnet50", "tiedconv", "b=2"): Count("relu"),
    ("table2", "resnet50", "scconv", "alpha=1/2"): Count(classes=100, options={"lower": "eq11"}),
    ("table2", "resnext29", "standard", ""): Count(backbone="resnext29_8x56d", classes=100),
    ("table2", "resnext29", "tiedconv", "b=2"): Count(keep_norm=False),
    ("table2", "resnext29", "scconv", "alpha=1/2"): Count(
        norms=True, keep_norm=False, options={"lower": "eq11-full"}
    ),
    ("table2", "wideresnet28", "scconv", "alpha=1/2"): Count(
        norms=True, options={"lower": "eq11", "lower_pool": "after"}
    ),
    ("table2", "wideresnet28", "tiedconv", "b=2"): Count(options={"bias": False}),
    ("table2", "densenet121", "ghost", "s=2"): Count("old"),
    ("table2", "densenet121", "spconv", "alpha=1/2"): Count("old"),
    ("table2", "densenet121", "slimconv", "k=1"): Count("old"),
    ("table2", "densenet121", "tiedconv", "b=2"): Count(options={"bias": True}),
    ("table3", "resnet50", "standard", ""): Count("macs"),
    ("table3", "resnet50", "slimconv", "k=8/3"): Count("macs", keep_norm=False),
    ("table3", "resnet50", "slimconv", "k=4/3"): Count("macs", keep_norm=False),
}


@dataclass(frozen=True)
class Row:
    """A printed row and ours: absolute numbers, not millions. `params` and `paper_flops` are
    counted as the row was; `macs` never so.
    """

    table: str
    backbone: str
    method: str
    setting: str
    printed_params: int
    params: int
    params_match: bool
    printed_flops: int
    paper_flops: int
    flops_match: bool
    macs: int
    note: str


def rows(table: str) -> list[Row]:
    """Every row of "table1", "table2" or "table3", counted on the meta device."""
    with open(FIGURES / f"{table}.csv", newline="") as file:
        return [_row(table, line) for line in csv.DictReader(file)]


def _row(table: str, line: dict[str, str]) -> Row:
    how = COUNTS.get((table, line["backbone"], line["method"], line["setting"]), Count())
    params, flops, counted = _count(table, line, how)
    params_match, flops_match = _agree(line["params_m"], params), _agree(line["flops_m"], flops)
    note = how.note or ("" if params_match and flops_match else "unexplained")
    printed = [round(Fraction(line[key]) * 1_000_000) for key in ("params_m", "flops_m")]
    return Row(
        table,
        line["backbone"],
        line["method"],
        line["setting"],
        printed[0],
        params,
        params_match,
        printed[1],
        flops,
        flops_match,
        counted.macs,
        note,
    )


def _count(table: str, line: dict[str, str], how: Count) -> tuple[int, int, Cost]:
    """(params, flops) by the row's own convention, and the plain cost."""
    large = table == "table3"
    with torch.device("meta"):
        name = how.backbone or line["backbone"] + ("_imagenet" if large else "")
        model = backbones.build(
            name, 1000 if large else how.classes or CLASSES.get(line["backbone"], 10)
        )
        conv = CONVS.get(line["method"], line["method"])
        replace_convs(
            model,
            conv,
            keep_norm=how.keep_norm or conv == "standard",
            **_options(line) | how.options,
        )
    relu = 0

    def count(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        nonlocal relu
        relu += output.numel()

    image = (3, 224, 224) if large else (3, 32, 32)
    if how.flops == "relu":
        # of one pass; the count below makes several
        rectifiers = [module for module in model.modules() if isinstance(module, nn.ReLU)]
        hooks = [module.register_forward_hook(count) for module in rectifiers]
        model.eval()(torch.zeros(1, *image, device="meta"))
        for hook in hooks:
            hook.remove()
    counted = cost(model, image)
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    flops = {
        "thop": counted.paper_flops,
        "old": counted.paper_flops + linear,
        "macs": counted.macs,
        "relu": counted.macs + relu,
    }[how.flops]
    return counted.params if how.norms else counted.paper_params, flops, counted


def _options(line: dict[str, str]) -> dict[str, Any]:
    """The row's setting as options of ours."""
    key, _, value = line["setting"].partition("=")
    if line["method"] == "slimconv":
        return {"k": value}
    if line["method"] == "scconv":
        return {"alpha": float(Fraction(value))} if value else {"order": ORDERS[key]}
    return {}


def _agree(printed: str, ours: int) -> bool:
    """To the printed digits: from 1,000 millions on, the paper prints billions with two
    decimals.
    """
    if float(printed) >= 1000:
        return f"{ours / 1e9:.2f}" == f"{float(printed) / 1000:.2f}"
    return f"{ours / 1e6:.{len(printed.partition('.')[2])}f}" == printed
