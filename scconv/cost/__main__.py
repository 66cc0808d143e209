"""The cost columns of the SCConv paper, or of a student's reports, beside ours.

python -m scconv.cost table2            # table1, table2 or table3; --json for programs
python -m scconv.cost channels          # or shallow
"""

import argparse
import json
import sys
from dataclasses import asdict

from runners.output import called, forgiving
from scconv.cost import reports
from scconv.cost.printed import TABLES, Row, rows


@forgiving()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=called("scconv.cost"),
        description="The cost columns of the SCConv paper, or of a report, beside ours.",
    )
    parser.add_argument("table", choices=(*TABLES, *reports.NETWORKS))
    parser.add_argument("--json", action="store_true", help="for programs: counts, not millions")
    args = parser.parse_args(argv)
    if args.table in reports.NETWORKS:
        printed = reports.rows(args.table)
        print(
            json.dumps([_plain(row) for row in printed], indent=1)
            if args.json
            else _report(printed)
        )
        return 0
    found = rows(args.table)
    print(json.dumps([asdict(row) for row in found], indent=1) if args.json else _text(found))
    return 0


def _plain(row: reports.Row) -> dict:
    return asdict(row) | {"calflops": row.calflops, "train_mib": round(row.train_mib, 1)}


def _report(found: list[reports.Row]) -> str:
    table = _aligned([[*reports.HEADERS], *(row.cells for row in found)], texts=(0, 11))
    return "\n".join([*table, "", reports.LEGEND.format(batch=found[0].batch)])


HEADERS = (
    *("backbone", "method", "setting"),
    *("params M", "ours", ""),
    *("FLOPs M", "ours", ""),
    *("MACs M", ""),
)
TEXTS = (0, 1, 2, 10)  # columns that are no numbers
LEGEND = (
    "printed, ours, and = where they agree to the printed digits, else the relative error; "
    "FLOPs as the paper counts them, MACs plain."
)


def _text(found: list[Row]) -> str:
    table = _aligned([[*HEADERS], *map(_cells, found)])
    both = sum(r.params_match and r.flops_match for r in found)
    params, flops = sum(r.params_match for r in found), sum(r.flops_match for r in found)
    counts = f"{params} of params, {flops} of FLOPs, {both} of both"
    summary = f"{len(found)} rows; to the printed digits: {counts}."
    return "\n".join([*table, "", LEGEND, summary])


def _cells(row: Row) -> list[str]:
    """A row's cells, a text for each header."""
    return [
        row.backbone,
        row.method,
        row.setting,
        f"{row.printed_params / 1e6:.2f}",
        f"{row.params / 1e6:.4f}",
        _error(row.printed_params, row.params, row.params_match),
        f"{row.printed_flops / 1e6:.2f}",
        f"{row.paper_flops / 1e6:.2f}",
        _error(row.printed_flops, row.paper_flops, row.flops_match),
        f"{row.macs / 1e6:.2f}",
        row.note,
    ]


def _aligned(lines: list[list[str]], texts: tuple[int, ...] = TEXTS) -> list[str]:
    """Lines of cells as lines of text, texts to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for line in lines:
        cells = []
        for i, (cell, width) in enumerate(zip(line, widths, strict=True)):
            cells.append(cell.ljust(width) if i in texts else cell.rjust(width))
        aligned.append("  ".join(cells).rstrip())
    return aligned


def _error(printed: int, ours: int, match: bool) -> str:
    return "=" if match else f"{100 * (ours / printed - 1):+.3f}%"


if __name__ == "__main__":
    sys.exit(main())
