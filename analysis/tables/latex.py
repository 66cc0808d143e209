"""A table as LaTeX: booktabs rules, figures aligned by siunitx, a caption and a label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.tables.columns import Grid

NUMBER = r"[-+]?\d+(?:\.\d+)?"
BETWEEN = {"±": r"$\pm$", "to": "to", "of": "of"}  # two figures of one cell
CHOSEN = "% columns: "
PAIR = re.compile(rf"({NUMBER}) ({'|'.join(BETWEEN)}) ({NUMBER})")
SPELT = {
    "\\": r"\textbackslash{}",
    **{character: rf"\{character}" for character in "&%$#_"},
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "∞": r"$\infty$",
    "<": "$<$",
    ">": "$>$",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
    "“": "``",
    "”": "''",
}
SPECIAL = re.compile(r"[{}]|" + "|".join(map(re.escape, SPELT)))


@dataclass(frozen=True)
class _Kind:
    """How a column of the table is set: in one column of LaTeX's, or in three.

    Attributes:
        spec: of LaTeX's columns.
        figures: whether cells are figures, which siunitx aligns.
        pairs: whether they are two figures each, such as a mean and its deviation.
    """

    spec: str
    figures: bool = False
    pairs: bool = False


def chosen(text: str) -> list[str]:
    """The columns that were chosen for a table, as it says itself; empty for the usual ones."""
    found = re.search(rf"^{re.escape(CHOSEN)}(.+)$", text, re.MULTILINE)
    return found[1].split(",") if found else []


def latex(
    table: Grid, notes: Sequence[str], caption: str, label: str, columns: Sequence[str] = ()
) -> str:
    """A table for \\input, with the notes as comments above it.

    It needs \\usepackage{booktabs,siunitx}, and XeLaTeX where a name has letters that LaTeX does
    not know.

    Args:
        columns: those that were chosen; the table says so, for `chosen` to read.
    """
    figures = [*zip(*table.lines, strict=True)][1:]
    # a name is no figure, whatever it is made of
    kinds = [_Kind("l"), *(_kind(column) for column in figures)]
    if not table.lines:
        kinds = [_Kind("l") for _ in table.headers]
    body = []
    for line in table.lines:
        bold = table.stands_out(line)
        cells = [_cell(*cell, bold=bold) for cell in zip(line, kinds, strict=True)]
        # the empty group keeps a name that begins with a bracket from being read as an option
        body.append(f"    {{}}{' & '.join(cells)} \\\\")
    heads = [_head(*head) for head in zip(table.headers, kinds, strict=True)]
    return "\n".join(
        [
            *(f"% {line}" for line in notes),
            "% \\usepackage{booktabs,siunitx}",
            *([f"{CHOSEN}{','.join(columns)}"] if columns else ()),
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{tex(caption)}}}",
            f"  \\label{{tab:{label}}}",
            f"  \\begin{{tabular}}{{{''.join(kind.spec for kind in kinds)}}}",
            "    \\toprule",
            f"    {' & '.join(heads)} \\\\",
            "    \\midrule",
            *body,
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}\n",
        ]
    )


def tex(text: str) -> str:
    """A text as LaTeX prints it, with a minus for the hyphen before a figure."""
    spelt = SPECIAL.sub(lambda found: SPELT.get(found[0], rf"\{found[0]}"), text)
    # two hyphens would be a dash
    spelt = re.sub(r"-(?=-)", "-{}", spelt)
    return re.sub(r"(?<![\w$-])-(?=\d)", "$-$", spelt)


def _kind(cells: Sequence[str]) -> _Kind:
    """Figures where every cell is one or "-", pairs of them, or text."""
    filled = [cell for cell in cells if cell != "-"]
    pairs = [found for cell in filled if (found := PAIR.fullmatch(cell))]
    if filled and all(re.fullmatch(NUMBER, cell) for cell in filled):
        return _Kind(_format(filled), figures=True)
    # a mean of one seed has no deviation
    alone = [cell for cell in filled if re.fullmatch(NUMBER, cell)]
    if pairs and len(pairs) + len(alone) == len(filled):
        first, second = [p[1] for p in pairs] + alone, [p[3] for p in pairs]
        return _Kind(
            f"{_format(first)}@{{\\,}}c@{{\\,}}{_format(second)}", figures=True, pairs=True
        )
    return _Kind("l")


def _format(figures: list[str]) -> str:
    """A column of siunitx that has room for these."""
    signed = "+" if any(figure[0] in "+-" for figure in figures) else ""
    before = max(len(figure.lstrip("+-").partition(".")[0]) for figure in figures)
    after = max(len(figure.partition(".")[2]) for figure in figures)
    point = f".{after}" if after else ""
    return f"S[table-format={signed}{before}{point},retain-explicit-plus,detect-weight,mode=text]"


def _cell(text: str, kind: _Kind, *, bold: bool) -> str:
    weight = "\\bfseries " if bold else ""
    if not kind.figures:
        return weight + tex(text) if text != "-" else "--"
    if text == "-":
        return "\\multicolumn{3}{c}{--}" if kind.pairs else "{--}"
    found = PAIR.fullmatch(text)
    if kind.pairs and found:
        return f"{weight}{found[1]} & {weight}{BETWEEN[found[2]]} & {weight}{found[3]}"
    return weight + text + " & &" * kind.pairs


def _head(text: str, kind: _Kind) -> str:
    if kind.pairs:
        return f"\\multicolumn{{3}}{{c}}{{{tex(text)}}}"
    return f"{{{tex(text)}}}"
