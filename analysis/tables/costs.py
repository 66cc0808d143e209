"""The columns of what a variant costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from analysis.tables.columns import RESULT, Column, part
from analysis.tables.table import Row, Table

# the columns of the cost table, in its order
COST = (
    "variant",
    "params",
    "macs",
    "images_per_s",
    "peak_memory_gb",
    "minutes",
)
PAPER = "paper_flops"
# where a trial has it: on a GPU whose peak is known
MFU = "mfu"
# and where the paper's figures stand beside it, these
COST_PRINTED = ("printed_flops_m", "paper_params", "printed_params_m")
# where a trial has them; those of earlier records lack them
COUNTED_LATER = ("layers", "train_mib", "calflops")
# and where a report's figures stand beside the last of them, these
REPORT_PRINTED = ("printed_calflops", "printed_memory", "printed_params_m")


def keys(table: Table) -> list[str]:
    """The columns of the cost table, in its order."""
    cost = [*COST, *([MFU] if any(row.mean(MFU) is not None for row in table.rows) else [])]
    later = any(_figure(row, "calflops") is not None for row in table.rows)
    counted = [*COUNTED_LATER] if later else []
    printed = [row.printed for row in table.rows if row.printed]
    # each printed figure stands right of ours
    if any(p.batch for p in printed):
        return [*cost, PAPER, *counted, *REPORT_PRINTED]
    return [*cost, *counted, PAPER, *(COST_PRINTED if printed else ())]


def columns() -> list[Column[Row]]:
    """What a variant costs, counted and measured."""
    return [
        _counted("params", "Parameters, in millions.", "params M", "{:.3f}"),
        _counted("macs", "Multiply-adds of one image, in millions.", "MACs M", tables=[RESULT]),
        _counted(
            "paper_params",
            "Parameters in millions, counted as the paper does.",
            "paper params M, ours",
            "{:.3f}",
        ),
        _counted(
            "paper_flops",
            "FLOPs of one image in millions, counted as the paper does.",
            "paper FLOPs M, ours",
        ),
        *_later(),
        _measured("images_per_s", "Speed of training, mean over trials.", "images/s", "{:.0f}"),
        _measured("peak_memory_gb", "Mean over trials.", "peak memory GB", "{:.2f}"),
        _measured("minutes", "Time of a trial, mean over trials.", "minutes/trial", "{:.3g}"),
        _measured(
            MFU,
            "Model FLOPs utilisation: the part of the GPU's peak that the training's own "
            "multiply-adds come to, mean over trials; of trials that share a GPU, of each alone.",
            "MFU",
            "{:.0%}",
        ),
    ]


def _later() -> list[Column[Row]]:
    """Counts that records of earlier versions lack."""

    def layers(row: Row) -> str:
        found = _figure(row, "layers"), _figure(row, "spatial")
        return "{:.0f} ({:.0f})".format(*found) if None not in found else "-"

    def of_batch(row: Row) -> str:
        found = _figure(row, "calflops")
        return "-" if found is None else f"{found * _batch(row) / 1e9:.3f} @ {_batch(row)}"

    def memory(row: Row) -> str:
        found = _figure(row, "train_mib")
        return "-" if found is None else f"{found:.1f}"

    def field_of(name: str) -> dict[str, Callable[[Row], Any]]:
        return {name: lambda row: _figure(row, name)}

    return [
        Column[Row](
            "layers",
            "Convolutions and linear layers on the longest path; in brackets the convolutions "
            "larger than 1x1.",
            "layers",
            layers,
            field_of("layers") | field_of("spatial"),
        ),
        Column[Row](
            "calflops",
            "The count of the tool calflops for a batch, in billions: without matrix products.",
            "calflops G @ batch",
            of_batch,
            field_of("calflops"),
        ),
        Column[Row](
            "train_mib",
            "Memory of one step, counted without a device: weights, gradients, what the optimizer "
            "and autograd keep.",
            "train MiB",
            memory,
            field_of("train_mib"),
        ),
    ]


def of_report(name: str, field: str, means: str, what: str) -> Column[Row]:
    """A figure that a report prints."""

    def printed(row: Row) -> str:
        found = getattr(row.printed, field, None)
        return f"{found:g}" if found is not None else "-"

    key = f"printed_{name}"
    return Column(key, means, f"printed {what}", printed, {key: part("printed", field)})


def _counted(
    name: str, means: str, header: str, form: str = "{:.2f}", tables: Sequence[str] = ()
) -> Column[Row]:
    """A count that all trials of a variant have in common; printed in millions."""

    def printed(row: Row) -> str:
        return form.format(getattr(row.result, name) / 1e6) if row.result else "-"

    return Column(name, means, header, printed, {name: part("result", name)}, tables)


def _measured(name: str, means: str, header: str, form: str) -> Column[Row]:
    def printed(row: Row) -> str:
        found = row.mean(name)
        return "-" if found is None else form.format(found)

    return Column(name, means, header, printed, {name: lambda row: row.mean(name)})


def _figure(row: Row, name: str) -> float | None:
    """A cost that all trials of a variant have in common; None of those that lack it."""
    return row.result.costs.get(name) if row.result else None


def _batch(row: Row) -> int:
    return int(row.records[0].config["batch_size"]) if row.records else 0
