"""A table as Markdown."""

from __future__ import annotations

from analysis.tables.columns import Grid


def markdown(table: Grid) -> str:
    """A table that reads well as it stands, too."""
    body = []
    for line in [table.headers, *table.lines]:
        escaped = [cell.replace("|", "\\|") for cell in line]
        body.append(_bold(escaped, "**{}**") if table.stands_out(line) else escaped)
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    rules = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    lines = [_padded(line, widths) for line in body]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]]) + "\n"


def _padded(line: list[str], widths: list[int]) -> str:
    """Names to the left, figures to the right."""
    first, *rest = zip(line, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(cells)} |"


def _bold(cells: list[str], form: str) -> list[str]:
    return [cell if cell == "-" else form.format(cell) for cell in cells]
