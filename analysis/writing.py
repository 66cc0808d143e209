"""The files of a report: tables, figures, the page."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import tables
from analysis.answer import answer
from analysis.tables import (
    Table,
    class_scores,
    conditions,
    factors,
    markdown,
    pairs,
    retention,
    search,
)
from runners.store import stamp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# every figure of a report: its file's stem -> its title on the page
FIGURES = {
    "kept": "What is kept of the baseline's accuracy",
    "forest": "Differences to the baseline",
    "tradeoff": "Accuracy against cost",
    "conditions": "Differences under conditions",
    "channels": "Accuracy by the number of channels",
    "curves": "Accuracy over the epochs",
    "pairs": "The difference of every pair",
    "effects": "The effects of the factors",
    "front": "The front that the search found",
    "history": "The search's history, and what mattered",
}


CONFUSION = "classes"  # of the stems of confusion matrices


@functools.lru_cache(maxsize=1)
def text(table: Table) -> str:
    """The question, the answer, the comparison and what it rests on, in Markdown."""
    lines = tables.notes(table)
    notes = "\n".join(f"- {line}" for line in lines)
    head = f"**{table.sweep.question}**\n\n{answer(table)}\n"
    shown = markdown(tables.comparison(table))
    if (kept := retention.grid_of(table)).lines:
        shown += f"\n{markdown(kept)}"
    if (under := tables.under_conditions(table)) and under.lines:
        shown += f"\n{markdown(under)}"
    if table.retrained:
        shown += f"\n{markdown(tables.paper(table))}"
    return f"{head}\n{shown}\n{notes}\n"


def contents(table: Table, columns: Sequence[str] = ()) -> dict[str, str]:
    """File name -> text of the tables.

    Args:
        columns: those of the LaTeX table; the comparison's where none is given.

    Raises:
        SweepError: there is no column of that name.
    """
    of_latex = tables.chosen(table, columns) if columns else tables.comparison(table)
    caption = f"{table.sweep.question} {answer(table)}"
    found = f"{text(table)}\n{markdown(tables.statistics(table))}\n{markdown(tables.cost(table))}"
    if not table.retrained and (paper := tables.paper(table)).lines:
        found += f"\n{markdown(paper)}"
    searched = {}
    if table.studies:
        searched["search.csv"] = search.to_csv(table)
        found += f"\n{markdown(search.finds(table))}"
    if "conditions" in table.sweep.report and table.conditions:
        searched["conditions.csv"] = conditions.to_csv(conditions.Conditions(table))
    if "classes" in table.sweep.report and table.conditions:
        searched["classes.csv"] = class_scores.to_csv(class_scores.Classes(table))
        found += f"\n{markdown(class_scores.grid_of(class_scores.Classes(table)))}"
    return searched | {
        "table.md": found,
        "table.csv": tables.to_csv(table),
        "table.tex": tables.latex(
            of_latex, tables.footer(table), caption, table.sweep.label, columns
        ),
    }


def write(
    table: Table,
    folder: Path,
    x: str = "macs",
    all_pairs: bool = False,
    columns: Sequence[str] = (),
    made_from: dict[str, Any] | None = None,
) -> list[Path]:
    """Write tables, figures and the page of one sweep; returns their paths, the page first.

    Args:
        made_from: what the table was read from, where that can be compared: figures that were drawn
            from the same are kept.

    Raises:
        SweepError: the LaTeX table has no column of a name in `columns`.
    """
    from analysis import page

    texts = contents(table, columns)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        (folder / name).write_text(content, encoding="utf-8")
    inputs = made_from and made_from | {"x": x, "pairs": all_pairs}
    drawn = stamp.kept_figures(folder, inputs)
    if drawn is None:
        # an earlier report may have had more to draw
        for kind in ("svg", "png"):
            for stem in FIGURES:
                (folder / f"{stem}.{kind}").unlink(missing_ok=True)
            for path in folder.glob(f"{CONFUSION}-*.{kind}"):
                path.unlink()
        drawn, anywhere = _draw(table, folder, x, all_pairs)
        if anywhere:
            stamp.keep_figures(folder, inputs, drawn)
    report = folder / "report.html"
    html = page.html([table], {table.sweep.label: drawings(table, folder)}, all_pairs)
    report.write_text(html, encoding="utf-8")
    return [report, *(folder / name for name in texts), *drawn]


def drawings(table: Table, folder: Path) -> dict[str, Path]:
    """Title -> SVG of the figures that a report has."""
    titles = FIGURES | {stem: title for stem, title, _ in _confusions(table)}
    found = {}
    for stem, title in titles.items():
        path = folder / f"{stem}.svg"
        if path.exists():
            found[title] = path
    return found


def _confusions(table: Table) -> list[tuple[str, str, class_scores.Look]]:
    """(stem, title, look) of every confusion matrix that the report has."""
    if "classes" not in table.sweep.report or not table.conditions:
        return []
    looks = class_scores.Classes(table).looks
    return [
        (f"{CONFUSION}-{i}", f"Classes of {look.variant}: {look.condition}", look)
        for i, look in enumerate(looks)
    ]


def _draw(table: Table, folder: Path, x: str, all_pairs: bool) -> tuple[list[Path], bool]:
    """Draw the figures that the sweep asks for; returns their files, and whether they would be the
    same with other fonts.
    """
    from analysis import figures  # matplotlib takes a second, and a table does not need it

    wanted: dict[str, Callable[[], Figure]] = {}
    if any(row.difference for row in table.rows):
        wanted["forest"] = lambda: figures.forest(table)
    if retention.retained(table):
        wanted["kept"] = lambda: figures.kept(table)
    asked = bool({"tradeoff", "cost"} & {*table.sweep.report})
    if asked and table.records and figures.costs_differ(table, x):
        wanted["tradeoff"] = lambda: figures.tradeoff(table, x)
    if table.records and "curves" in table.sweep.report:
        wanted["curves"] = lambda: figures.curves(table)
    if all_pairs and pairs.found(table):
        wanted["pairs"] = lambda: figures.pairs(table)
    if factors.effects_of(table)[1]:
        wanted["effects"] = lambda: figures.effects(table)
    under = conditions.Conditions(table)
    if "conditions" in table.sweep.report and under.p:
        wanted["conditions"] = lambda: figures.conditions(under)
    if "conditions" in table.sweep.report and len(under.sizes) > 1:
        wanted["channels"] = lambda: figures.channels(under)
    for stem, title, look in _confusions(table):
        wanted[stem] = lambda look=look, title=title: figures.class_matrix(look.pairs, title)
    if any(p.score is not None for study in table.studies for p in study.proposals):
        if table.studies[0].written.mode == "front":
            wanted["front"] = lambda: figures.front(table)
        wanted["history"] = lambda: figures.history(table)
    paths, anywhere = [], True
    for stem, figure in wanted.items():
        files, own_letters = figures.saved(figure(), folder / stem)
        paths += files
        anywhere &= own_letters
    return paths, anywhere


def together(found: list[Table], folders: list[Path], path: Path, all_pairs: bool) -> None:
    """Write one page of several sweeps, over the figures of their reports."""
    from analysis import page

    drawn = {t.sweep.label: drawings(t, folder) for t, folder in zip(found, folders, strict=True)}
    path.write_text(page.html(found, drawn, all_pairs), encoding="utf-8")
