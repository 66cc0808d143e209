"""The columns of a table of variants: the comparison, the cost, and the CSV that has both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from analysis.tables import text
from analysis.tables.columns import Column, Grid, csv_text, grid
from analysis.tables.table import Row, Table

# the printed tables that a column names
RESULT, STATISTICS, PAPER = "result", "statistics", "paper"
# the columns of the cost table, in its order
COST = (
    "variant",
    "params",
    "macs",
    "images_per_s",
    "peak_memory_gb",
    "minutes",
    "paper_flops",
)
# and where the paper's figures stand beside, these
COST_PRINTED = ("printed_flops_m", "paper_params", "printed_params_m")


def comparison(table: Table) -> Grid:
    """The table that answers the question; 80 letters wide where the names are short."""
    return _shown(table, RESULT, table.rows)


def statistics(table: Table) -> Grid:
    """What the comparison rests on: the intervals and p."""
    return _shown(table, STATISTICS, table.rows)


def paper(table: Table) -> Grid:
    """The measured figures beside the paper's, of the variants that the paper has."""
    return _shown(table, PAPER, [row for row in table.rows if row.printed])


def _shown(table: Table, name: str, rows: list[Row]) -> Grid:
    # a column's place is that in the list
    shown = [column for column in columns(table) if name in column.tables]
    return grid(shown, rows, bold=table.best)


def cost(table: Table) -> Grid:
    """The cost of each variant: counted, measured, and as the paper counts and prints it."""
    named = {column.key: column for column in columns(table)}
    keys = [*COST, *COST_PRINTED] if _has_printed(table) else COST
    return grid([named[key] for key in keys], table.rows)


def to_csv(table: Table) -> str:
    """One line per variant, in full precision, with the trials' ids."""
    return csv_text(columns(table), table.rows)


def columns(table: Table) -> list[Column[Row]]:
    """Every column, in the CSV's order: a new figure is one more of them."""
    found = [*_trials(), *_scores(table), *_differences(table), *_costs(), *_printed(table)]
    ids = Column[Row](
        "trials",
        "The ids of the finished trials.",
        fields={"trials": lambda row: " ".join(r.id for r in row.records)},
    )
    return [*found, ids]


def _trials() -> list[Column[Row]]:
    return [
        Column(
            "variant",
            "The variant's name in the sweep file.",
            "variant",
            lambda row: row.variant,
            {"variant": lambda row: row.variant},
            tables=(RESULT, STATISTICS, PAPER),
        ),
        Column(
            "n",
            "Finished trials, one per seed; of how many planned, where some are missing.",
            "n",
            lambda row: f"{len(row.records)}" + (f" of {row.planned}" if row.missing else ""),
            {"n": lambda row: len(row.records), "planned": lambda row: row.planned},
            tables=(RESULT, STATISTICS),
        ),
    ]


def _scores(table: Table) -> list[Column[Row]]:
    name = table.measure.name
    return [
        Column(
            "score",
            "On the test set after the last epoch: the mean and the standard deviation over seeds.",
            f"{table.measure.label} % ± sd",
            lambda row: text.mean_sd(row.score),
            {f"{name}_mean": _part("score", "mean"), f"{name}_sd": _part("score", "sd")},
            tables=(RESULT, STATISTICS, PAPER),
        ),
        Column(
            "interval",
            "Student's interval of the mean, for other seeds.",
            "95 %",
            lambda row: text.interval(row.score),
            {f"{name}_low": _part("score", "low"), f"{name}_high": _part("score", "high")},
            tables=[STATISTICS],
        ),
        Column(
            "images_interval",
            "The interval of the mean for other test images as well as other seeds.",
            fields={
                f"{name}_images_low": _part("images", "low"),
                f"{name}_images_high": _part("images", "high"),
            },
        ),
    ]


def _differences(table: Table) -> list[Column[Row]]:
    base, method = table.sweep.baseline, table.comparison.method
    return [
        Column(
            "difference",
            f"The mean minus that of {base}, in percentage points.",
            f"Δ {base}",
            lambda row: f"{row.difference.mean:+.2f}" if row.difference else "-",
            {
                "difference_n": _part("difference", "n"),
                "difference_mean": _part("difference", "mean"),
            },
            tables=(RESULT, STATISTICS, PAPER),
        ),
        Column(
            "difference_interval",
            "The interval of the difference, adjusted for the number of comparisons.",
            f"95 % ({method})" if method else "95 %",
            lambda row: text.interval(row.difference),
            {
                "difference_low": _part("difference", "low"),
                "difference_high": _part("difference", "high"),
            },
            tables=(RESULT, STATISTICS),
        ),
        Column(
            "p",
            "That there is no difference; adjusted for the number of comparisons.",
            "p",
            lambda row: text.p_value(row.difference.p if row.difference else None),
            {"p": _part("difference", "p"), "equivalent_p": _part("difference", "equivalent_p")},
            tables=[STATISTICS],
        ),
        Column(
            "verdict",
            "better or worse: p is below 0.05; equivalent: the difference is within the margin.",
            "verdict",
            lambda row: row.difference.verdict if row.difference else "-",
            {"verdict": _part("difference", "verdict")},
            tables=(RESULT, STATISTICS),
        ),
    ]


def _costs() -> list[Column[Row]]:
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
        _measured("images_per_s", "Speed of training, mean over trials.", "images/s", "{:.0f}"),
        _measured("peak_memory_gb", "Mean over trials.", "peak memory GB", "{:.2f}"),
        _measured("minutes", "Time of a trial, mean over trials.", "minutes/trial", "{:.1f}"),
    ]


def _printed(table: Table) -> list[Column[Row]]:
    """The paper's figures."""
    return [
        Column[Row](
            "printed_top1",
            "The paper's accuracy, in per cent.",
            "paper top-1",
            lambda row: f"{row.printed.top1:.2f}" if row.printed else "-",
            {"printed_top1": _part("printed", "top1")},
            tables=[PAPER],
        ),
        Column[Row](
            "printed_change",
            "The paper's difference to its own baseline, in percentage points.",
            "paper Δ",
            lambda row: _printed_change(table, row),
            tables=[PAPER],
        ),
        _paper_count("params_m", "The paper's parameters, in millions."),
        _paper_count("flops_m", "The paper's FLOPs, in millions."),
        Column[Row](
            "against_paper",
            "Whether the paper's figure lies in the interval, if the training was the paper's.",
            "against the paper",
            lambda row: row.against_paper[0] or "-",
            {
                "against_paper": lambda row: row.against_paper[0],
                "against_paper_why": lambda row: row.against_paper[1],
            },
            tables=[PAPER],
        ),
    ]


def _has_printed(table: Table) -> bool:
    return any(row.printed for row in table.rows)


def _printed_change(table: Table, row: Row) -> str:
    base = table.reference.rows.get(table.sweep.baseline)
    if not row.printed or not base or row.printed is base:
        return "-"
    return f"{row.printed.top1 - base.top1:+.2f}"


def _part(part: str, name: str) -> Callable[[Row], Any]:
    """A figure of a part of the row; None where the row has no such part."""
    return lambda row: getattr(getattr(row, part), name, None)


def _counted(
    name: str, means: str, header: str, form: str = "{:.2f}", tables: Sequence[str] = ()
) -> Column[Row]:
    """A count that all trials of a variant have in common; printed in millions."""

    def printed(row: Row) -> str:
        return form.format(getattr(row.result, name) / 1e6) if row.result else "-"

    return Column(name, means, header, printed, {name: _part("result", name)}, tables)


def _measured(name: str, means: str, header: str, form: str) -> Column[Row]:
    def printed(row: Row) -> str:
        return form.format(row.mean(name)) if row.records else "-"

    return Column(name, means, header, printed, {name: lambda row: row.mean(name)})


def _paper_count(name: str, means: str) -> Column[Row]:
    def printed(row: Row) -> str:
        # a paper's count stands beside ours, and not alone
        return f"{getattr(row.printed, name):g}" if row.printed and row.result else "-"

    key = f"printed_{name}"
    return Column(key, means, "printed", printed, {key: _part("printed", name)})
