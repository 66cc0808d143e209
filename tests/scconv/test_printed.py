"""The command that lays the paper's cost columns beside ours."""

import contextlib
import csv
import io
import json
from dataclasses import dataclass

import pytest

from scconv.cost import __main__ as command
from scconv.cost import printed
from scconv.cost.printed import FIGURES, TABLES

# what no natural definition reproduces: (table, backbone, method, setting) -> which columns
DIFFERENT = {
    ("table2", "resnet56", "octconv", "alpha=1/2"): "both",
    ("table2", "resnet50", "octconv", "alpha=1/2"): "flops",
    ("table2", "resnet50", "ghost", "s=2"): "both",
    ("table2", "resnet50", "slimconv", "k=4/3"): "both",
    ("table2", "resnet50", "spconv", "alpha=1/2"): "both",
    ("table2", "resnet50", "slimconv", "k=1"): "flops",
    ("table2", "resnext29", "standard", ""): "flops",
    ("table2", "resnext29", "ghost", "s=2"): "both",
    ("table2", "resnext29", "slimconv", "k=4/3"): "params",
    ("table2", "wideresnet28", "ghost", "s=2"): "both",
    ("table2", "densenet121", "slimconv", "k=1"): "flops",
    ("table2", "densenet121", "scconv", "alpha=1/2"): "flops",
    ("table3", "resnet50", "versatile", ""): "both",
    ("table3", "resnet50", "ghost", "s=2"): "both",
    ("table3", "resnet50", "spconv", "alpha=1/2"): "both",
    ("table3", "resnet50", "octconv", "alpha=1/2"): "flops",
    ("table3", "resnet50", "pflayer", "max"): "both",
}


# 53 networks are built
pytestmark = pytest.mark.slow


@dataclass
class Printed:
    """A table's rows, the devices of the networks that were built for them, and its text."""

    rows: list[dict]
    devices: list[set[str]]
    text: str


@pytest.fixture(scope="module")
def tables() -> dict[str, Printed]:
    """Each table by its command, once as JSON and once, from the same rows, as text."""
    found = {}
    count = printed.cost
    for table in TABLES:
        devices: list[set[str]] = []

        def counted(model, image, devices=devices):
            devices.append({p.device.type for p in model.parameters()})
            return count(model, image)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(printed, "cost", counted)
            made = printed.rows(table)
            patch.setattr(command, "rows", lambda name, made=made: made)
            rows = json.loads(_said(table, "--json"))
            found[table] = Printed(rows, devices, _said(table))
    return found


def _said(*args: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert command.main([*args]) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def found(tables) -> dict[str, list[dict]]:
    return {name: table.rows for name, table in tables.items()}


def test_one_row_per_printed_line_in_its_order(found):
    for table, rows in found.items():
        with open(FIGURES / f"{table}.csv", newline="") as file:
            lines = [*csv.DictReader(file)]
        assert [[r[k] for k in ("backbone", "method", "setting")] for r in rows] == [
            [x[k] for k in ("backbone", "method", "setting")] for x in lines
        ]
        assert [r["printed_params"] / 1e6 for r in rows] == [float(x["params_m"]) for x in lines]
        assert [r["printed_flops"] / 1e6 for r in rows] == [float(x["flops_m"]) for x in lines]


def test_all_but_the_rows_that_nothing_explains_agree_to_the_printed_digits(found):
    rows = [r for table in found.values() for r in table]
    different = {}
    for r in rows:
        if not (r["params_match"] and r["flops_match"]):
            columns = "flops" if r["params_match"] else "params" if r["flops_match"] else "both"
            different[r["table"], r["backbone"], r["method"], r["setting"]] = columns
    assert different == DIFFERENT
    assert (
        len(rows),
        sum(r["params_match"] for r in rows),
        sum(r["flops_match"] for r in rows),
    ) == (53, 42, 37)
    assert {bool(r["note"]) == (not r["params_match"] or not r["flops_match"]) for r in rows} == {
        True
    }


def test_agreement_is_what_the_digits_say(found):
    """Told from the numbers themselves, not from the code that decides it."""
    for r in (r for table in found.values() for r in table):
        step = 0.1e6 if r["printed_params"] == 18_700_000 else 0.01e6
        assert r["params_match"] == (abs(r["params"] - r["printed_params"]) <= step / 2), r
        step = 10e6 if r["printed_flops"] >= 1e9 else 0.01e6
        assert r["flops_match"] == (abs(r["paper_flops"] - r["printed_flops"]) <= step / 2), r


def test_macs_are_below_every_count_that_adds_to_them(found):
    assert all(r["macs"] <= r["paper_flops"] for table in found.values() for r in table)


def test_the_text_has_a_line_per_row_and_each_network_is_built_once_without_arithmetic(tables):
    for name, table in tables.items():
        assert table.devices == [{"meta"}] * len(table.rows), name
    lines = tables["table2"].text.splitlines()
    assert lines[-1] == "33 rows; to the printed digits: 26 of params, 22 of FLOPs, 21 of both."
    assert sum(line.startswith(("resn", "wide", "dense")) for line in lines) == 33
    assert "misprint" in lines[2] and lines[1].count("=") == 2
