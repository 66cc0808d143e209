"""A table as Markdown and as LaTeX."""

from __future__ import annotations

import re

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


def latex(table: Grid, notes: list[str]) -> str:
    """A booktabs table, with the notes as comments above it.

    It needs \\usepackage{booktabs}, and XeLaTeX where names have letters that LaTeX does not know.
    """
    body = []
    for line in table.lines:
        cells = [_tex(cell) for cell in line]
        if table.stands_out(line):
            cells = _bold(cells, r"\textbf{{{}}}")
        # the empty group keeps a name that begins with a bracket from being read as an option
        body.append(f"  {{}}{' & '.join(cells)} \\\\")
    comments = [f"% {line}" for line in notes]
    return "\n".join(
        [
            *(comments or [""]),
            f"\\begin{{tabular}}{{l{'r' * (len(table.headers) - 1)}}}",
            "  \\toprule",
            f"  {' & '.join(map(_tex, table.headers))} \\\\",
            "  \\midrule",
            *(body or [""]),
            "  \\bottomrule",
            "\\end{tabular}\n",
        ]
    )


def _bold(cells: list[str], form: str) -> list[str]:
    return [cell if cell == "-" else form.format(cell) for cell in cells]


def _tex(text: str) -> str:
    text = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))
    for character, command in (
        ("±", r"$\pm$"),
        ("Δ", r"$\Delta$"),
        ("α", r"$\alpha$"),
        ("<", "$<$"),
        (">", "$>$"),
    ):
        text = text.replace(character, command)
    return text.replace("~", r"\textasciitilde ").replace("^", r"\^{}")
