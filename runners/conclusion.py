"""The end of a sweep's command: its report, its table, MLflow's summary and the exit status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from analysis import report
from runners import command
from runners.launch.limits import ALL_FAIL
from runners.plan import Sweep, Trial
from runners.search import searching as search
from runners.store import Record, State, Store, results, stamp
from runners.store.evaluations import lacking
from runners.tracking import database, phase
from runners.tracking.summary import Summary
from runners.tracking.tracker import Tracker


def conclude(
    table: report.Table, ended: dict[str, Record], store: Store, tracker: Tracker, stopped: str
) -> int:
    """Write the report, print the table, tell MLflow; the exit status."""
    sweep = table.sweep
    records = [(t, ended[t.id]) for t in sweep.distinct if t.id in ended]
    unevaluated = lacking(sweep.distinct, ended, table.measure.evaluations)
    files, written = _write_report(table, store)
    said = f"\n{report.text(table)}"
    print(said)
    print(written, file=sys.stdout if files else sys.stderr)
    _summarise(sweep, report.aggregates(table), tracker, records, [*files, Path(sweep.path)])
    charts = f"charts: {tracker.charts}"
    print(charts)

    bad = [(t, r) for t, r in records if r.status != State.FINISHED]
    searched = [p for study in table.studies for p in study.proposals if p.trained]
    bad += [
        (p.trial, p.record) for p in searched if p.trial and p.record and p.status == State.FAILED
    ]
    for trial, record in bad:
        line = f"{trial.name} {record.status}: {record.reason} (again with --retry-failed)"
        print(line, file=sys.stderr)
    for trial in unevaluated if not stopped else ():
        log = store.address(trial.id, "log.txt")
        print(f"{trial.name}: not evaluated ({log} says why)", file=sys.stderr)
    left = len(sweep.distinct) - len(records) + len(unevaluated)
    in_vain = stopped.startswith(ALL_FAIL)
    if in_vain:
        print(f"{stopped}, {left} trials to go; mend what fails first", file=sys.stderr)
    elif to_go := _to_go(table, left):
        print(f"{stopped + ', ' if stopped else ''}{to_go}", file=sys.stderr)
    if in_vain:
        return command.SOME_FAILED  # the same command would not continue, but fail again
    if stopped:
        return command.INTERRUPTED if stopped == "interrupted" else command.UNFINISHED
    if not (files and sweep.settled and not left) or bad:
        return command.SOME_FAILED
    # what MLflow missed is made up for by the next start
    if not tracker.connection.failures:
        place = database.sqlite_path(tracker.connection.uri)
        stamp.write(files[0].parent, sweep, store, place, files, f"{said}\n{written}\n{charts}")
    return command.DONE


def _write_report(table: report.Table, store: Store) -> tuple[list[Path], str]:
    """The files written, and lines that say so; before anything is printed, which may fail."""
    sweep = table.sweep
    try:
        folder, line = results.claim(Path("results"), sweep.label, sweep.path, store)
        files = report.write(table, folder)
    except (OSError, ValueError) as error:
        return [], f"the report could not be written: {error}"
    return files, "\n".join(part for part in (line, f"report: {files[0]}") if part)


def _to_go(table: report.Table, left: int) -> str:
    """What the sweep lacks, for a person; empty: nothing."""
    if table.sweep.settled:
        of = len(table.sweep.distinct)
        return f"{left} of {of} trials to go; the same command continues" if left else ""
    planned = sum(study.written.trials for study in table.studies)
    proposals = [p for study in table.studies for p in study.proposals]
    to_go = planned - sum(p.trained and p.record is not None for p in proposals)
    return (
        search.fruitless(table.studies)
        or f"{to_go} of {planned} trials of the search to go; the same command continues"
    )


def _summarise(
    sweep: Sweep,
    lines: list[dict[str, Any]],
    tracker: Tracker,
    records: list[tuple[Trial, Record]],
    files: list[Path],
) -> None:
    """Show the means and the report in MLflow."""
    ended = max((r.epochs[-1].ended for _, r in records if r.epochs), default=0)
    summary = Summary(phase.summary(sweep), tracker.connection, tracker.origin)
    with tracker.connection.until_signal():
        summary.write(lines, ended, files)
