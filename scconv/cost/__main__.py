"""The cost columns of the SCConv paper beside ours.

python -m scconv.cost table2            # table1, table2 or table3; --json for programs
"""

import argparse
import json
import sys
from dataclasses import asdict

from runners.output import forgiving
from scconv.cost.printed import TABLES, Row, rows


@forgiving()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scconv.cost",
        description="The cost columns of the SCConv paper beside ours, row by row.",
    )
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--json", action="store_true", help="for programs: counts, not millions")
    args = parser.parse_args(argv)
    found = rows(args.table)
    print(json.dumps([asdict(row) for row in found], indent=1) if args.json else _text(found))
    return 0


def _text(found: list[Row]) -> str:
    headers = [
        "backbone",
        "method",
        "setting",
        "params M",
        "ours",
        "",
        "FLOPs M",
        "ours",
        "",
        "MACs M",
        "",
    ]
    lines = [headers]
    for r in found:
        params = [
            f"{r.printed_params / 1e6:.2f}",
            f"{r.params / 1e6:.4f}",
            _error(r.printed_params, r.params, r.params_match),
        ]
        flops = [
            f"{r.printed_flops / 1e6:.2f}",
            f"{r.paper_flops / 1e6:.2f}",
            _error(r.printed_flops, r.paper_flops, r.flops_match),
        ]
        lines.append(
            [r.backbone, r.method, r.setting, *params, *flops, f"{r.macs / 1e6:.2f}", r.note]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    text = [
        "  ".join(
            c.ljust(w) if i in (0, 1, 2, 10) else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    both = sum(r.params_match and r.flops_match for r in found)
    params, flops = sum(r.params_match for r in found), sum(r.flops_match for r in found)
    counts = f"{params} of params, {flops} of FLOPs, {both} of both"
    legend = (
        "printed, ours, and = where they agree to the printed digits, else the relative error; "
        "FLOPs as the paper counts them, MACs plain"
    )
    return "\n".join(
        [
            *(line.rstrip() for line in text),
            "",
            f"{legend}.",
            f"{len(found)} rows; to the printed digits: {counts}.",
        ]
    )


def _error(printed: int, ours: int, match: bool) -> str:
    return "=" if match else f"{100 * (ours / printed - 1):+.3f}%"


if __name__ == "__main__":
    sys.exit(main())
