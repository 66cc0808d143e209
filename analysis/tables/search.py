"""What a sweep's search did: its front, its history, what mattered, what it cost. All of it is validation; the test set is the comparison's."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from analysis.tables import Table
from runners.plan import space
from runners.search.searching import front, picks
from runners.search.study import Proposal, Study

HEADERS = (
    "proposal",
    "cell",
    "status",
    "val top-1 %",
    "MACs M",
    "params M",
    "epochs",
    "minutes",
    "trial",
)


def lines(table: Table) -> list[str]:
    """The search in sentences, one a line."""
    found = []
    for study in table.studies:
        w, ps = study.written, study.proposals
        trained, cells = [p for p in ps if p.trained], study.search.cells
        names = ", ".join(p.name.removeprefix("options.") for p in study.search.parameters)
        over = f"over {names}" + (f" ({len(cells)} cells)" if cells is not None else "")
        what = f"Search{f' for {study.variant}' if study.variant else ''} ({w.mode}, {w.sampler}, seed {w.seed}) {over}: "
        parts = [f"{len(trained)} of {w.trials} trials proposed"]
        for status in ("finished", "pruned", "diverged", "failed", "not finished"):
            if n := sum(p.status == status for p in trained):
                parts.append(f"{n} {status}")
        if again := sum(p.trial is not None and not p.trained for p in ps):
            parts.append(f"{again} proposed again and answered from the store")
        if refused := sum(bool(p.why) for p in ps if p.first == p.number):
            parts.append(f"{refused} cells impossible or out of bounds, not trained")
        minutes = sum(p.record.minutes for p in trained if p.record)
        found.append(f"{what}{'; '.join(parts)}; {minutes:.1f} minutes of training.")
    finished = {
        study.variant: sum(p.top1 is not None for p in study.proposals if p.trained)
        for study in table.studies
    }
    if table.sweep.settled and len({*finished.values()}) > 1:
        counts = ", ".join(f"{variant} {n}" for variant, n in finished.items())
        found.append(
            f"The variants were not tuned with the same number of finished trials ({counts}): part of a difference may be due to that."
        )
    if table.studies and table.sweep.settled:
        best = [p for study in table.studies for p in picks(study)]
        chosen = "; ".join(
            f"{p.variant + ': ' if p.variant else ''}{space.name(p.cell)} ({p.top1:.2f} %)"
            for p in best
        )
        found.append(f"Found, by validation after the last epoch: {chosen}.")
        found.append(
            "No trial of the search read the test set; what it found was trained anew, with the comparison's seeds."
        )
    return found


def proposals(
    table: Table, *, only: Callable[[Study], list[Proposal]] | None = None
) -> tuple[list[str], list[list[str]]]:
    """(headers, lines) of everything that was proposed, or of what `only` picks from each study."""
    rows = []
    for study in table.studies:
        for p in only(study) if only else study.proposals:
            r = p.record
            status = p.why or (p.status if p.trained else f"as proposal {p.first}") + (
                f": {r.reason}" if r and r.reason else ""
            )
            figures = [
                f"{p.top1:.2f}" if p.top1 is not None else "-",
                *(f"{p.cost[k]:.4g}" if k in p.cost else "-" for k in ("macs_m", "params_m")),
            ]
            ran = [str(len(r.epochs)), f"{r.minutes:.1f}"] if r else ["-", "-"]
            label = ": ".join(filter(None, (study.variant, space.name(p.cell))))
            rows.append(
                [str(p.number), label, status, *figures, *ran, p.trial.id if p.trial else "-"]
            )
    return list(HEADERS), rows


def front_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines) of the front, or of the best where there is only one goal."""
    return proposals(
        table,
        only=lambda study: (
            front(study.proposals) if study.written.mode == "front" else picks(study)
        ),
    )


def to_csv(table: Table) -> str:
    """Every proposal with its parameters, in full precision."""
    keys = list(dict.fromkeys(p.name for study in table.studies for p in study.search.parameters))
    out = io.StringIO()
    columns = [
        "variant",
        "proposal",
        "first",
        *keys,
        "status",
        "why",
        "val_top1",
        "macs_m",
        "params_m",
        "ran_epochs",
        "minutes",
        "trial",
    ]
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for study in table.studies:
        for p in study.proposals:
            line: dict[str, object] = {**{k: space.short(v) for k, v in p.cell.items()}, **p.cost}
            line |= {
                "variant": study.variant,
                "proposal": p.number,
                "first": p.first,
                "status": p.status,
            }
            line |= {
                "why": p.why or (p.record.reason if p.record else ""),
                "trial": p.trial.id if p.trial else "",
            }
            line["val_top1"] = "" if p.top1 is None else p.top1
            line |= (
                {"ran_epochs": len(p.record.epochs), "minutes": round(p.record.minutes, 3)}
                if p.record
                else {}
            )
            writer.writerow(line)
    return out.getvalue()
