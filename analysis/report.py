"""The command that answers a sweep's question from its finished trials.

python -m analysis.report sweeps/order.yaml      ->  results/order/: table.md, table.tex, table.csv, figures
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from analysis import tables
from runners.plan import Sweep, load
from runners.store import Store
from runners.strict import SweepError


def text(sweep: Sweep, store: Store) -> str:
    """The question, the comparison table and what it rests on, in Markdown."""
    table = tables.rows(sweep, store)
    notes = "\n".join(f"- {line}" for line in tables.footer(sweep, table))
    return f"**{sweep.question}**\n\n{tables.markdown(*tables.cells(sweep, table))}\n{notes}\n"


def write(sweep: Sweep, store: Store, folder: Path) -> list[Path]:
    """Write the tables and the figures that the sweep asks for; returns their paths."""
    from analysis import figures  # matplotlib, which a table does not need

    folder.mkdir(parents=True, exist_ok=True)
    table = tables.rows(sweep, store)
    headers, lines = tables.cells(sweep, table)
    contents = {
        "table.md": text(sweep, store),
        "table.csv": tables.to_csv(table),
        "table.tex": tables.latex(headers, lines, tables.footer(sweep, table)),
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    paths = [folder / name for name in contents]
    if any(row.records for row in table):
        for name, draw in (("curves", figures.curves), ("tradeoff", figures.tradeoff)):
            if name in sweep.report or (name == "tradeoff" and "cost" in sweep.report):
                paths += figures.save(draw(sweep, table), folder / name)
    return paths


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Tables and figures of a sweep's finished trials.")
    parser.add_argument("sweep", help="the sweep file")
    parser.add_argument("--set", action="append", default=[], metavar="PLACE=VALUE", help="override, as in the run")
    parser.add_argument("--seeds", type=int, help="how many seeds, as in the run")
    parser.add_argument("--only", action="append", default=[], metavar="VARIANT", help="these variants alone")
    parser.add_argument("--storage", default="runs", metavar="DIR", help="where the trials are (default: ./runs)")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: results/<sweep>)")
    args = parser.parse_args(argv)
    try:
        sweep, store = load(args.sweep, args.set, args.seeds, args.only), Store(args.storage)
        paths = write(sweep, store, Path(args.out or f"results/{sweep.label}"))
    except (SweepError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(text(sweep, store))
    print("written:", ", ".join(map(str, paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
