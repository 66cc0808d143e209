"""A sweep's search: its proposals, its finds, its cost.

All of it is validation; the test set is the comparison's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from analysis.tables.columns import Column, Grid, csv_text, grid
from analysis.tables.table import Table
from runners.plan import space
from runners.search.proposal import Proposal
from runners.search.searching import front, picks
from runners.search.study import Study
from runners.store import label


class Proposed(NamedTuple):
    study: Study
    proposal: Proposal


def sentences(table: Table) -> list[str]:
    """The search in sentences, one a line."""
    if not table.studies:
        return []
    found = [_study(study) for study in table.studies]
    if not table.sweep.settled:
        return found
    return [*found, *_unequal(table), *_finds(table)]


def _study(study: Study) -> str:
    """How a study was made, and what became of its proposals."""
    w, ps, cells = study.written, study.proposals, study.search.cells
    names = ", ".join(p.name.removeprefix("options.") for p in study.search.parameters)
    over = f"over {names}" + (f" ({len(cells)} cells)" if cells is not None else "")
    of = f" for {study.variant}" if study.variant else ""
    trained = [p for p in ps if p.trained]
    parts = [f"{len(trained)} of {w.trials} trials proposed"]
    for status in ("finished", "pruned", "diverged", "failed", "not finished"):
        if n := sum(p.status == status for p in trained):
            parts.append(f"{n} {status}")
    # proposals that cost no training are counted, so that the budget adds up
    if again := sum(p.trial is not None and not p.trained for p in ps):
        parts.append(f"{again} proposed again and answered from the store")
    if refused := sum(bool(p.why) for p in ps if p.first == p.number):
        parts.append(f"{refused} cells impossible or out of bounds, not trained")
    minutes = sum(p.record.minutes for p in trained if p.record)
    parts.append(f"{minutes:.3g} minutes of training")
    return f"Search{of} ({w.mode}, {w.sampler}, seed {w.seed}) {over}: {'; '.join(parts)}."


def _unequal(table: Table) -> list[str]:
    """A warning where one variant was tuned with more finished trials than another."""
    finished = {}
    for study in table.studies:
        # only a finished trial informs the search
        judged = [p for p in study.proposals if p.trained and p.score is not None]
        finished[study.variant] = len(judged)
    if len({*finished.values()}) == 1:
        return []
    counts = ", ".join(f"{variant} {n}" for variant, n in finished.items())
    return [
        f"The variants were not tuned with the same number of finished trials ({counts}): "
        "part of a difference may be due to that."
    ]


def _finds(table: Table) -> list[str]:
    best = [p for study in table.studies for p in picks(study)]
    chosen = []
    for p in best:
        of = f"{p.variant}: " if p.variant else ""
        chosen.append(f"{of}{space.name(p.cell)} ({p.score:.2f} %)")
    return [
        f"Found, by validation after the last epoch: {'; '.join(chosen)}.",
        "No trial of the search read the test set; its finds were trained anew, "
        "with the comparison's seeds.",
    ]


def proposals(table: Table) -> Grid:
    """Everything that was proposed."""
    return _grid(table, lambda study: study.proposals)


def finds(table: Table) -> Grid:
    """The front, or the best where there is only one goal."""
    return _grid(table, lambda s: front(s.proposals) if s.written.mode == "front" else picks(s))


def _grid(table: Table, only: Callable[[Study], list[Proposal]]) -> Grid:
    items = []
    for study in table.studies:
        items += [Proposed(study, p) for p in only(study)]
    return grid([column for column in columns(table) if column.header], items)


def to_csv(table: Table) -> str:
    """Every proposal with its parameters, in full precision."""
    items = []
    for study in table.studies:
        items += [Proposed(study, p) for p in study.proposals]
    return csv_text(columns(table), items, number="{}")


def columns(table: Table) -> list[Column[Proposed]]:
    return [*_cells(table), *_outcomes(table)]


def _cells(table: Table) -> list[Column[Proposed]]:
    """A proposal's number and its cell."""
    parameters = dict.fromkeys(p.name for s in table.studies for p in s.search.parameters)
    values = {name: _value(name) for name in parameters}
    return [
        Column("variant", "The one being tuned.", fields={"variant": lambda x: x.study.variant}),
        Column(
            "proposal",
            "Its number; a cell that is proposed again is answered from the first proposal of it.",
            "proposal",
            lambda x: f"{x.proposal.number}",
            {"proposal": lambda x: x.proposal.number, "first": lambda x: x.proposal.first},
        ),
        Column("cell", "The parameters' values.", "cell", _cell, values),
    ]


def _outcomes(table: Table) -> list[Column[Proposed]]:
    """The outcome of a proposal."""
    return [
        Column(
            "status",
            "How its trial ended, and why.",
            "status",
            _status,
            {"status": lambda x: x.proposal.status, "why": _why},
        ),
        Column(
            "score",
            "On the validation split after the last epoch.",
            f"val {label(table.primary)} %",
            lambda x: "-" if x.proposal.score is None else f"{x.proposal.score:.2f}",
            {f"val_{table.primary}": lambda x: x.proposal.score},
        ),
        _counted("macs_m", "Multiply-adds of one image, in millions.", "MACs M"),
        _counted("params_m", "Parameters, in millions.", "params M"),
        Column(
            "epochs",
            "Trained.",
            "epochs",
            lambda x: f"{len(x.proposal.record.epochs)}" if x.proposal.record else "-",
            {"ran_epochs": lambda x: x.proposal.record and len(x.proposal.record.epochs)},
        ),
        Column(
            "minutes",
            "Of training and validation.",
            "minutes",
            lambda x: f"{x.proposal.record.minutes:.3g}" if x.proposal.record else "-",
            {"minutes": lambda x: x.proposal.record and round(x.proposal.record.minutes, 3)},
        ),
        Column(
            "trial",
            "Its id, and its folder's name in the store.",
            "trial",
            lambda x: x.proposal.trial.id if x.proposal.trial else "-",
            {"trial": lambda x: x.proposal.trial.id if x.proposal.trial else ""},
        ),
    ]


def _counted(name: str, means: str, header: str) -> Column[Proposed]:
    """A count that is known before training."""

    def text(x: Proposed) -> str:
        return f"{x.proposal.cost[name]:.4g}" if name in x.proposal.cost else "-"

    return Column(name, means, header, text, {name: lambda x: x.proposal.cost.get(name)})


def _value(name: str) -> Callable[[Proposed], Any]:
    """A parameter's value: a number as it is, a list as text."""

    def value(x: Proposed) -> Any:
        found = x.proposal.cell.get(name)
        return found if found is None or isinstance(found, int | float) else space.short(found)

    return value


def _cell(x: Proposed) -> str:
    name = space.name(x.proposal.cell)
    return f"{x.study.variant}: {name}" if x.study.variant else name


def _status(x: Proposed) -> str:
    p = x.proposal
    if p.why:
        return p.why
    # a repeated cell has the outcome of the proposal that was trained
    status = p.status if p.trained else f"as proposal {p.first}"
    return f"{status}: {p.record.reason}" if p.record and p.record.reason else status


def _why(x: Proposed) -> str:
    return x.proposal.why or (x.proposal.record.reason if x.proposal.record else "")
