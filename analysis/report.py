"""The command that answers a sweep's question from its finished trials; it works while the sweep still runs, too.

python -m analysis.report sweeps/order.yaml      ->  results/order/: report.html, table.md, table.tex, table.csv, figures
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

from analysis import answer as conclusion
from analysis import tables
from analysis.tables import Row, Table, markdown, read, search
from runners import command
from runners.errors import SweepError
from runners.plan import load
from runners.store import Store, results
from runners.trial.datasets import identified

__all__ = ["Table", "aggregates", "main", "markdown", "read", "text", "write"]


def text(table: Table) -> str:
    """The question, the answer, the comparison and what it rests on, in Markdown."""
    notes = "\n".join(
        f"- {line}"
        for line in conclusion.footer(table) + conclusion.factors(table) + search.lines(table)
    )
    head = f"**{table.sweep.question}**\n\n{conclusion.answer(table)}\n"
    return f"{head}\n{markdown(*tables.comparison(table), bold=table.best)}\n{notes}\n"


def contents(table: Table) -> dict[str, str]:
    """File name -> text of the tables."""
    headers, lines = tables.comparison(table)
    found = f"\n{markdown(*search.front_table(table))}" if table.studies else ""
    return {
        **({"search.csv": search.to_csv(table)} if table.studies else {}),
        "table.md": f"{text(table)}\n{markdown(*tables.cost(table))}{found}",
        "table.csv": tables.to_csv(table),
        "table.tex": tables.latex(headers, lines, conclusion.footer(table), table.best),
    }


def write(table: Table, folder: Path, x: str = "macs", pairs: bool = False) -> list[Path]:
    """Write tables, figures and the page of one sweep; returns their paths, the page first."""
    from analysis import page

    folder.mkdir(parents=True, exist_ok=True)
    texts = contents(table)
    for name, content in texts.items():
        (folder / name).write_text(content, encoding="utf-8")
    for old in (
        folder / f"{stem}.{kind}"
        for stem in ("tradeoff", "curves", "front", "history")
        for kind in ("svg", "png")
    ):
        old.unlink(missing_ok=True)  # of an earlier report that had more to draw
    drawn, drawings = _draw(table, folder, x)
    report = folder / "report.html"
    report.write_text(page.html([table], {table.sweep.label: drawings}, pairs), encoding="utf-8")
    return [report, *(folder / name for name in texts), *drawn]


def _draw(table: Table, folder: Path, x: str) -> tuple[list[Path], dict[str, Path]]:
    """(all files, title -> SVG) of the figures that the sweep asks for."""
    from analysis import figures  # matplotlib, which a table does not need

    wanted = {}
    if table.records and {"tradeoff", "cost"} & {*table.sweep.report}:
        wanted["Accuracy against cost"] = "tradeoff", figures.tradeoff(table, x)
    if table.records and "curves" in table.sweep.report:
        wanted["Accuracy over the epochs"] = "curves", figures.curves(table)
    if any(p.top1 is not None for study in table.studies for p in study.proposals):
        if table.studies[0].written.mode == "front":
            wanted["The front that the search found"] = "front", figures.front(table)
        wanted["The search's history, and what mattered"] = "history", figures.history(table)
    paths, drawings = [], {}
    for title, (stem, figure) in wanted.items():
        paths += figures.save(figure, folder / stem)
        drawings[title] = folder / f"{stem}.svg"
    return paths, drawings


def aggregates(table: Table) -> list[dict[str, Any]]:
    """Every variant's name and figures over its seeds, for MLflow's summary."""
    return [_aggregate(row) for row in table.rows]


def _aggregate(row: Row) -> dict[str, Any]:
    metrics: dict[str, float | None] = {"n": len(row.records), "planned": row.planned}
    if row.top1:
        t = row.top1
        metrics |= {
            "test/top1_mean": t.mean,
            "test/top1_sd": t.sd,
            "test/top1_low": t.low,
            "test/top1_high": t.high,
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


def differences(table: Table, folder: Path) -> list[str]:
    """What the stored tables say that the trials do not say (any more); a line each.

    Raises:
        OSError: there are no stored tables.
    """
    texts = contents(table)
    stored, now = (
        {row.get("variant", ""): row for row in csv.DictReader(io.StringIO(part))}
        for part in ((folder / "table.csv").read_text(encoding="utf-8"), texts["table.csv"])
    )
    found = [f"{v}: not in the stored report" for v in now if v not in stored] + [
        f"{v}: not in the sweep" for v in stored if v not in now
    ]
    for v in (v for v in now if v in stored):
        for key in dict.fromkeys([*stored[v], *now[v]]):
            was, is_ = stored[v].get(key), now[v].get(key)
            if was != is_:
                found.append(
                    f"{v}, {key}: stored {was or 'nothing'}, the trials say {is_ or 'nothing'}"
                )
    for name in (n for n in texts if n != "table.csv"):
        was = (folder / name).read_text(encoding="utf-8").splitlines()
        changed = [line for line in texts[name].splitlines() if line not in was]
        if changed or len(was) != len(texts[name].splitlines()):
            found.append(
                f"{name}: differs"
                + (
                    f", first in what should be: {changed[0].strip()}"
                    if changed
                    else " in its length"
                )
            )
    return found


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report",
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
    parser.add_argument("--pairs", action="store_true", help="compare all pairs, too (Tukey)")
    parser.add_argument(
        "--trials", metavar="VARIANT", help="only list the trials behind a row, with their evidence"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only say in what the stored tables differ from the trials",
    )
    return parser.parse_args(argv)


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: done; 1: --verify found differences; 2: bad input."""
    args = _arguments(argv)
    store = Store(args.storage)
    sweeps = [load(path, args.set, args.seeds, args.only) for path in args.sweeps]
    found = [read(identified(sweep, store, args.data), store) for sweep in sweeps]
    several = len(found) > 1
    labels = [table.sweep.label for table in found]
    if twin := next((label for label in labels if labels.count(label) > 1), None):
        raise SweepError(
            f"two of these sweeps are called {twin}, and would overwrite each other's report; "
            "rename one, or report on them apart"
        )
    if args.trials:
        return _list_trials(found, store, args.trials)
    if args.verify:
        return _verify(found, store, args.out)
    paths = []
    for table in found:
        folder = _claimed(table, store, args.out, several)
        paths += write(table, folder, args.x, args.pairs)
    if several:
        paths.insert(0, _together(found, store, args))
    for table in found:
        print(text(table))
        if args.pairs:
            print(markdown(*conclusion.pairs_table(table)))
    print("written:", ", ".join(map(str, paths)))
    return command.DONE


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


def _together(found: list[Table], store: Store, args: argparse.Namespace) -> Path:
    """One page of several sweeps, over the figures just drawn."""
    from analysis import page

    drawings = {}
    for table in found:
        folder = _folder(table, store, args.out, several=True)
        titles = {
            "The front that the search found": "front",
            "Accuracy against cost": "tradeoff",
            "Accuracy over the epochs": "curves",
        }
        drawings[table.sweep.label] = {
            t: folder / f"{stem}.svg"
            for t, stem in titles.items()
            if (folder / f"{stem}.svg").exists()
        }
    path = Path(args.out or "results") / f"{'+'.join(t.sweep.label for t in found)}.html"
    path.write_text(page.html(found, drawings, args.pairs), encoding="utf-8")
    return path


def _list_trials(found: list[Table], store: Store, variant: str) -> int:
    having = [table for table in found if variant in table.sweep.variants]
    if not having:
        known = ", ".join(dict.fromkeys(v for table in found for v in table.sweep.variants))
        raise SweepError(f"--trials: no variant is called {variant!r}; there are {known}")
    for table in having:
        headers, lines = conclusion.trials_table(table)
        kept = [[*line[1:], store.address(line[1], "")] for line in lines if line[0] == variant]
        print(markdown([*headers[1:], "folder"], kept))
    return 0


def _verify(found: list[Table], store: Store, out: str | None) -> int:
    wrong = {}
    for table in found:
        lines = differences(table, _folder(table, store, out, len(found) > 1))
        wrong[table.sweep.label] = lines + _damaged_weights(table, store)
    for label, lines in wrong.items():
        print(
            "\n".join(f"{label}: {line}" for line in lines)
            or f"{label}: the stored report says what the trials say"
        )
    return int(any(wrong.values()))


def _damaged_weights(table: Table, store: Store) -> list[str]:
    """A line for each trial of the table whose weights are damaged."""
    found = []
    for record in table.records:
        try:
            store.weights(record, parse=False)
        except FileNotFoundError:
            # removed to save space, perhaps: no figure of the tables rests on them
            continue
        except SweepError as error:
            found.append(str(error))
    return found


if __name__ == "__main__":
    sys.exit(main())
