"""The columns of a table of variants: the comparison, the cost, and the CSV that has both."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.tables import costs, text
from analysis.tables.columns import PAPER, RESULT, STATISTICS, Column, Grid, csv_text, grid, part
from analysis.tables.table import Row, Table
from runners.errors import SweepError, suggest


def comparison(table: Table) -> Grid:
    """The table that answers the question; 80 letters wide where the names are short."""
    return _shown(table, RESULT, table.rows)


def chosen(table: Table, keys: Sequence[str]) -> Grid:
    """The columns with these keys, in this order, behind the variants' names.

    Raises:
        SweepError: there is no printed column of that name; says which there are.
    """
    named = {column.key: column for column in columns(table) if column.header}
    for key in keys:
        if key not in named:
            raise SweepError(
                f"--columns: no column is called {key!r}{suggest(key, named)}; "
                f"there are {', '.join(named)}"
            )
    wanted = dict.fromkeys(("variant", *keys))
    return grid([named[key] for key in wanted], table.rows, bold=table.best)


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
    return grid([named[key] for key in costs.keys(table)], table.rows)


def to_csv(table: Table) -> str:
    """One line per variant, in full precision, with the trials' ids."""
    return csv_text(columns(table), table.rows)


def columns(table: Table) -> list[Column[Row]]:
    """Every column, in the CSV's order: a new figure is one more of them."""
    found = [*_trials(), *_scores(table), *_differences(table), *costs.columns(), *_printed(table)]
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
            {f"{name}_mean": part("score", "mean"), f"{name}_sd": part("score", "sd")},
            tables=(RESULT, STATISTICS, PAPER),
        ),
        Column(
            "interval",
            "Student's interval of the mean, for other seeds.",
            "95 %",
            lambda row: text.interval(row.score),
            {f"{name}_low": part("score", "low"), f"{name}_high": part("score", "high")},
            tables=[STATISTICS],
        ),
        Column(
            "images_interval",
            "The interval of the mean for other test images as well as other seeds.",
            fields={
                f"{name}_images_low": part("images", "low"),
                f"{name}_images_high": part("images", "high"),
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
                "difference_n": part("difference", "n"),
                "difference_mean": part("difference", "mean"),
            },
            tables=(RESULT, STATISTICS, PAPER),
        ),
        Column(
            "difference_interval",
            "The interval of the difference, adjusted for the number of comparisons.",
            f"95 % ({method})" if method else "95 %",
            lambda row: text.interval(row.difference),
            {
                "difference_low": part("difference", "low"),
                "difference_high": part("difference", "high"),
            },
            tables=(RESULT, STATISTICS),
        ),
        Column(
            "p",
            "That there is no difference; adjusted for the number of comparisons.",
            "p",
            lambda row: text.p_value(row.difference.p if row.difference else None),
            {"p": part("difference", "p"), "equivalent_p": part("difference", "equivalent_p")},
            tables=[STATISTICS],
        ),
        Column(
            "verdict",
            "better or worse: p is below 0.05; equivalent: the difference is within the margin.",
            "verdict",
            lambda row: row.difference.verdict if row.difference else "-",
            {"verdict": part("difference", "verdict")},
            tables=(RESULT, STATISTICS),
        ),
    ]


def _printed(table: Table) -> list[Column[Row]]:
    """The paper's figures."""
    return [
        Column[Row](
            "printed_top1",
            "The paper's accuracy, in per cent.",
            "paper top-1",
            lambda row: f"{row.printed.top1:.2f}" if row.printed else "-",
            {"printed_top1": part("printed", "top1")},
            tables=[PAPER],
        ),
        Column[Row](
            "printed_change",
            "The paper's difference to its own baseline, in percentage points.",
            "paper Δ",
            lambda row: _printed_change(table, row),
            tables=[PAPER],
        ),
        _paper_count("params_m", "The paper's parameters, in millions.", "params M"),
        _paper_count("flops_m", "The paper's FLOPs, in millions.", "FLOPs M"),
        costs.of_report(
            "calflops", "calflops_g", "The report's count of a batch, in billions.", "calflops G"
        ),
        costs.of_report(
            "memory",
            "memory_mb",
            "The report's memory in MB: not reproducible, a process's figure in nvidia-smi.",
            "memory MB",
        ),
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


def _printed_change(table: Table, row: Row) -> str:
    base = table.reference.rows.get(table.sweep.baseline)
    if not row.printed or not base or row.printed is base:
        return "-"
    return f"{row.printed.top1 - base.top1:+.2f}"


def _paper_count(name: str, means: str, what: str) -> Column[Row]:
    def printed(row: Row) -> str:
        # a paper's count stands beside ours, and not alone
        found = getattr(row.printed, name, None)
        return f"{found:g}" if found is not None and row.result else "-"

    key = f"printed_{name}"
    return Column(key, means, f"printed {what}", printed, {key: part("printed", name)})
