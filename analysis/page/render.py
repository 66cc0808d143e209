"""The page's contents, handed to the templates beside this file; jinja2 escapes every text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis import tables
from analysis.answer import answer
from analysis.page.sweep_file import SweepFile, sweep_file
from analysis.tables import Grid, Table, class_scores, factors, pairs, retention, search, trials

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
# the figures above the table, the answer's own first
ANSWERS = ("What is kept of the baseline's accuracy", "Differences to the baseline")
CLASSES = "Classes of"  # in the title of a confusion matrix
FILE = "The sweep file"
Drawings = Mapping[str, Path]  # title of a figure -> its SVG file


@dataclass(frozen=True)
class Part:
    """A table with its title; `folded`: shown at a click."""

    title: str
    grid: Grid
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """The page's contents for one sweep.

    Attributes:
        warning: which trials are missing; empty where none is.
        answers: the drawings of the answer and of the comparison.
        first: tables above the other figures: those that answer the question too.
        drawings: (title, SVG) of every other figure.
    """

    label: str
    question: str
    answer: str
    warning: str
    answers: list[Markup]
    comparison: Grid
    notes: list[str]
    first: list[Part]
    drawings: list[tuple[str, Markup]]
    parts: list[Part]
    file: SweepFile

    @property
    def contents(self) -> list[tuple[str, str]]:
        """(anchor, title) of everything below the comparison, in its order.

        The confusion matrices, of which there may be many, are one line.
        """
        titles = [part.title for part in self.first]
        drawn = [title for title, _ in self.drawings]
        matrices = [title for title in drawn if title.startswith(CLASSES)]
        titles += [title for title in drawn if title not in matrices[1:]]
        titles += [part.title for part in self.parts]
        shown = dict.fromkeys(matrices[:1], f"Confusion matrices ({len(matrices)})")
        return [(self.anchor(title), shown.get(title, title)) for title in (*titles, FILE)]

    def anchor(self, title: str) -> str:
        """Of the part with this title, among those of all sweeps on the page."""
        return re.sub(r"\W+", "-", f"{self.label} {title}".lower()).strip("-")


def html(found: list[Table], drawings: Mapping[str, Drawings], all_pairs: bool = False) -> str:
    """The page of one or several sweeps.

    Args:
        drawings: sweep -> its figures.
        all_pairs: with a table of every pair of variants.
    """
    title = found[0].sweep.question if len(found) == 1 else f"{len(found)} questions"
    sections = []
    for table in found:
        sections.append(_section(table, drawings.get(table.sweep.label, {}), all_pairs))
    return TEMPLATES.get_template("page.html").render(title=title, sections=sections, FILE=FILE)


def _section(table: Table, drawings: Drawings, all_pairs: bool) -> Section:
    drawn = {title: _svg(path, title) for title, path in drawings.items()}
    answers = [drawn.pop(title) for title in ANSWERS if title in drawn]
    return Section(
        label=table.sweep.label,
        question=table.sweep.question,
        answer=answer(table),
        warning=_warning(table),
        answers=answers,
        comparison=tables.comparison(table),
        notes=tables.notes(table),
        first=_first(table),
        drawings=[*drawn.items()],
        parts=_parts(table, all_pairs),
        file=sweep_file(table),
    )


def _warning(table: Table) -> str:
    finished = len(table.records)
    if finished >= table.planned_trials:
        return ""
    reasons = []
    for row in table.rows:
        reasons += [f"{row.variant}: {n} {why}" for why, n in row.missing.items()]
    why = "; ".join(reasons) or "the search chooses what is compared, and has not ended"
    return f"{finished} of {table.planned_trials} trials have finished. {why}."


def _first(table: Table) -> list[Part]:
    """The tables that answer the question beside the comparison, those that have lines."""
    found = []
    kept = retention.grid_of(table)
    if kept.lines:
        found.append(Part(f"Who keeps {retention.asked(table)}", kept))
    if (under := tables.under_conditions(table)) and under.lines:
        found.append(Part("Under conditions: top-1 in per cent", under))
    return found


def _parts(table: Table, all_pairs: bool) -> list[Part]:
    """The tables below the figures, those that have lines."""
    found = []
    if table.studies:
        found += [
            Part("What the search found", search.finds(table)),
            Part("Everything that was proposed", search.proposals(table), folded=True),
        ]
    if "classes" in table.sweep.report and table.conditions:
        by_class = class_scores.grid_of(class_scores.Classes(table))
        found.append(Part("Over the classes", by_class, folded=True))
    paper = tables.paper(table)
    if paper.lines:
        found.append(Part("Beside the paper's figures", paper, folded=not table.retrained))
    found.append(Part("Cost", tables.cost(table)))
    found.append(
        Part("The statistics behind the comparison", tables.statistics(table), folded=True)
    )
    if all_pairs:
        found.append(Part("All pairs", pairs.pairs(table)))
    by_factor, by_image = factors.factors(table), trials.images(table)
    if by_factor.lines:
        found.append(Part("Main effects and interactions", by_factor))
    if by_image.lines:
        title = "Image by image: which test images only one of the two has right"
        found.append(Part(title, by_image, folded=True))
    found.append(Part("The trials behind every row", trials.trials(table), folded=True))
    return found


def _svg(path: Path, title: str) -> Markup:
    """The drawing alone, with its title for those who hear the page.

    It gets ids of its own: two drawings on one page would share clip paths.
    """
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    # the figure's name before each id
    mark = re.sub(r"\W", "_", f"{path.parent.name}_{path.stem}_")
    # written by this package, which escapes the names in it; so it goes in as it is
    drawing = Markup(re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{mark}", text))
    named = Markup('<svg role="img" aria-label="{}" ').format(title)
    return named + drawing[len("<svg ") :]
