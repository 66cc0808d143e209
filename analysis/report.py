"""The command that answers a sweep's question from its finished trials; also while it still runs.

python -m analysis.report sweeps/order.yaml
    -> results/order/: report.html, table.md, table.tex, table.csv, figures

It is the door of analysis, too: runners.sweep imports nothing of analysis but this.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis import tables
from analysis.programs import report_of
from analysis.stats.power import detectable, seeds_for
from analysis.tables import Grid, Row, Table, growth, pairs, read, trials
from analysis.verify import damaged_weights, differences
from analysis.writing import text, together, write
from runners import command, output
from runners.errors import SweepError
from runners.plan import Sweep, load
from runners.store import Evaluation, Record, Store, results, stamp
from runners.trial.datasets import identified

__all__ = [
    "Table",
    "aggregates",
    "detectable",
    "grown",
    "main",
    "markdown",
    "read",
    "seeds_for",
    "text",
    "write",
]


def markdown(headers: list[str], lines: list[list[str]]) -> str:
    """Any table as Markdown."""
    return tables.markdown(Grid(headers, lines))


def grown(
    sweep: Sweep,
    store: Store,
    ended: Mapping[str, Record] | None = None,
    evaluations: Mapping[str, Evaluation] | None = None,
) -> Sweep:
    """The sweep with as many seeds of each variant as its comparisons have asked for so far.

    Args:
        ended: the records of its trials, where they have been read.
        evaluations: of its trials, where they have been read.
    """
    return growth.grow(sweep, store, ended, evaluations).sweep if sweep.growth else sweep


def aggregates(table: Table) -> list[dict[str, Any]]:
    """Every variant's name and figures over its seeds, for MLflow's summary."""
    return [_aggregate(row, table.measure.name) for row in table.rows]


def _aggregate(row: Row, primary: str) -> dict[str, Any]:
    metrics: dict[str, float | None] = {"n": len(row.records), "planned": row.planned}
    if row.score:
        metrics |= {
            f"test/{primary}_mean": row.score.mean,
            f"test/{primary}_sd": row.score.sd,
            f"test/{primary}_low": row.score.low,
            f"test/{primary}_high": row.score.high,
        }
    if row.difference:
        d = row.difference
        metrics |= {
            "test/difference_mean": d.mean,
            "test/difference_low": d.low,
            "test/difference_high": d.high,
            "test/difference_p": d.p,
        }
    return {"variant": row.variant, "metrics": metrics}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=output.called("analysis.report"),
        description="Tables, figures and a page from a sweep's finished trials.",
    )
    parser.add_argument(
        "sweeps", nargs="+", metavar="sweep", help="the sweep file; several make one page"
    )
    command.share(parser, "--set", "--seeds", "--only", "--data", "--storage", "--out")
    parser.add_argument(
        "--x",
        default="macs",
        choices=["macs", "params", "images_per_s", "peak_memory_gb", "minutes"],
        help="accuracy against this",
    )
    parser.add_argument(
        "--columns",
        metavar="KEY,...",
        type=lambda text: [key.strip() for key in text.split(",") if key.strip()],
        default=[],
        help="of the LaTeX table, in this order, such as difference,macs,minutes",
    )
    parser.add_argument("--pairs", action="store_true", help="compare all pairs, too (Tukey)")
    parser.add_argument(
        "--trials", metavar="VARIANT", help="only list the trials behind a row, with their evidence"
    )
    parser.add_argument(
        "--json", action="store_true", help="only print all of it for programs, of one sweep"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only list where the stored tables differ from the trials",
    )
    args = parser.parse_args(argv)
    if args.json and len(args.sweeps) > 1:
        parser.error("--json is of one sweep; name one at a time")
    return args


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: done; 1: no trial has ended, or --verify found differences; 2: bad input."""
    args = _arguments(argv)
    store = Store(args.storage)
    found, inputs = _read(args, store)
    for table in found:
        # a wrong key is found before anything is written
        tables.chosen(table, args.columns)
    if not any(_has_trials(table) for table in found):
        names = ", ".join(table.sweep.label for table in found)
        print(f"{names}: no trial of it has ended in {store.root}; sweeps run trains them")
        return command.SOME_FAILED
    if args.json:
        print(json.dumps(asdict(report_of(found[0])), indent=1))
        return command.DONE
    if args.trials:
        return _list_trials(found, store, args.trials)
    several = len(found) > 1
    if args.verify:
        folders = [_folder(table, store, args.out, several) for table in found]
        return _verify(found, folders, store)
    folders = [_claimed(table, store, args.out, several) for table in found]
    paths = _write(found, folders, args, inputs)
    for table in found:
        print(text(table))
        if args.pairs:
            print(tables.markdown(pairs.pairs(table)))
    print("written:", ", ".join(map(str, paths)))
    return command.DONE


def _has_trials(table: Table) -> bool:
    ended = [record for row in table.rows for record in (*row.records, *row.unfinished)]
    return bool(ended) or any(study.proposals for study in table.studies)


def _read(args: argparse.Namespace, store: Store) -> tuple[list[Table], list[Any]]:
    """The tables of all sweeps that were named, and what each was read from.

    Raises:
        SweepError: two of them have one name.
    """
    sweeps = [load(path, args.set, args.seeds, args.only) for path in args.sweeps]
    with store.files.listed("trials", sum(len(sweep.distinct) for sweep in sweeps)):
        sweeps = [identified(sweep, store, args.data) for sweep in sweeps]
        # before the records are read: one that comes meanwhile makes the next report draw again
        inputs = [stamp.made_from(sweep, store) for sweep in sweeps]
        found = [read(sweep, store) for sweep in sweeps]
    # the label names the folder that a report is written to
    labels = [table.sweep.label for table in found]
    for label in labels:
        if labels.count(label) > 1:
            raise SweepError(
                f"two of these sweeps are called {label}, and would overwrite each other's report; "
                "rename one, or report on them apart"
            )
    return found, inputs


def _folder(table: Table, store: Store, out: str | None, several: bool) -> Path:
    """Where a sweep's report is; below `out` or results/ it is not another sweep's of this name."""
    if out and not several:
        return Path(out)
    return results.choose(Path(out or "results"), table.sweep.label, table.sweep.path, store)


def _claimed(table: Table, store: Store, out: str | None, several: bool) -> Path:
    """The same folder, marked as this sweep's."""
    if out and not several:
        return Path(out)
    base, sweep = Path(out or "results"), table.sweep
    folder, line = results.claim(base, sweep.label, sweep.path, store)
    if line:
        print(line)
    return folder


def _write(
    found: list[Table], folders: list[Path], args: argparse.Namespace, inputs: list[Any]
) -> list[Path]:
    """A report of each sweep and, of several, the page of all of them; its path is the first."""
    paths = []
    for table, folder, made_from in zip(found, folders, inputs, strict=True):
        paths += write(table, folder, args.x, args.pairs, args.columns, made_from)
    if len(found) == 1:
        return paths
    page = Path(args.out or "results") / f"{'+'.join(t.sweep.label for t in found)}.html"
    together(found, folders, page, args.pairs)
    return [page, *paths]


def _list_trials(found: list[Table], store: Store, variant: str) -> int:
    having = [table for table in found if variant in table.sweep.variants]
    if not having:
        known = dict.fromkeys(v for table in found for v in table.sweep.variants)
        raise SweepError(
            f"--trials: no variant is called {variant!r}; there are {', '.join(known)}"
        )
    listed = False
    for table in having:
        grid = trials.trials(table)
        kept = []
        for name, trial, *rest in grid.lines:
            if name == variant:
                kept.append([trial, *rest, store.address(trial, "")])
        if not kept:
            print(f"{table.sweep.label}: no trial of {variant} has finished in {store.root}")
            continue
        listed = True
        print(markdown([*grid.headers[1:], "folder"], kept))
    return command.DONE if listed else command.SOME_FAILED


def _verify(found: list[Table], folders: list[Path], store: Store) -> int:
    status = 0
    for table, folder in zip(found, folders, strict=True):
        lines = differences(table, folder) + damaged_weights(table, store)
        status = 1 if lines else status
        for line in lines or ["the stored report agrees with the trials"]:
            print(f"{table.sweep.label}: {line}")
    return status


if __name__ == "__main__":
    output.leave(main())
