"""Whatever characters a name has, every figure draws it as it is written, and says nothing about it."""

import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.text import Text

from analysis import figures, tables
from analysis.figures import confusion, features
from analysis.figures.features import Side
from runners.plan import load
from runners.store import Store
from tests.analysis.tables.test_table import fill
from tests.runners.search.test_searching import FRONT, drive

pytestmark = pytest.mark.slow

TINY = {
    "question": "Does it work?",
    "baseline": "R20",
    "base": {"backbone": "resnet20", "dataset": "synthetic", "recipe": "short", "epochs": 2},
    "seeds": 3,
}
VARIANTS = {"R20": {}, "S": {"lr": 0.02}, "C": {"lr": 0.03}, "L": {"lr": 0.04}}
MAPS = np.arange(16, dtype=float).reshape(4, 2, 2)

# what matplotlib, LaTeX or an SVG could read, letters that DejaVu Sans lacks, and any other ones
ODD = st.sampled_from(
    [*"$\\_^{}%#&~<>'\"|", "$x_$", "$$$", "\\frac{1}", "模型", "😀", "𝓐", "ب", "é"]
)
PARTS = st.one_of(ODD, st.characters(categories=("L", "M", "N", "P", "S")))
NAMES = st.lists(PARTS, min_size=1, max_size=20).map("".join).map(lambda name: name[:60])


def load_tiny(folder, name: str, **changes):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(TINY | changes, sort_keys=False))
    return load(path)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(a comparison, a finished search for a front, a search that tunes every variant)."""
    folder = tmp_path_factory.mktemp("names")
    plain = load_tiny(folder, "plain", variants=VARIANTS, reference="table1")
    store = Store(folder / "plain")
    scores = {v: [70.0 + i, 71.25 + i, 70.625 + i] for i, v in enumerate(VARIANTS)}
    compared = tables.read(plain, fill(store, plain, scores))
    base = TINY["base"] | {"conv": "scconv"}
    variants = {"R20": {"conv": "standard"}, "alpha=0.5": {}}
    searched = []
    for name, search in (("front", FRONT), ("tune", {"mode": "tune", "sampler": "grid"})):
        if name == "tune":
            search = search | {"space": {"lr": [0.05, 0.1]}, "trials": 2, "ahead": 1}
        sweep = load_tiny(folder, name, base=base, variants=variants, search=search)
        store = Store(folder / name)
        drive(sweep, store, order=0)
        searched.append(tables.read(sweep, store))
    return compared, *searched


def named(table, names: list[str]):
    """The table with other names for its first variants, of which the first is the baseline."""
    rows = [replace(row, variant=name) for row, name in zip(table.rows, names, strict=False)]
    sweep = replace(table.sweep, baseline=names[0], question=f"Is {names[1]} better?")
    studies = table.studies
    for study, name in zip(studies, names, strict=False):
        study.variant = name
    rows += table.rows[len(rows) :]
    new = {old.variant: row.variant for old, row in zip(table.rows, rows, strict=True)}
    scores = {new[variant]: seeds for variant, seeds in table.scores.items()}
    return replace(table, sweep=sweep, rows=rows, scores=scores)


def every_figure(drawn, names: list[str]):
    """(name of the figure, what draws it, texts of the user's that it must have)."""
    compared, front, tune = (named(table, names) for table in drawn)
    question = compared.sweep.question
    left, right = (Side(name, MAPS, {0: 0.5}, 2) for name in names[:2])
    image, pairs = np.zeros((2, 2, 3), np.uint8), [(np.array([0, 1]), np.array([0, 0]))]
    return [
        ("curves", lambda: figures.curves(compared), [question, *names]),
        ("tradeoff", lambda: figures.tradeoff(compared), [question, *names]),
        ("front", lambda: figures.front(front), [question]),
        ("history", lambda: figures.history(tune), names[:2]),
        ("confusion", lambda: confusion.figure(pairs, names[0]), names[:1]),
        ("features", lambda: features.figure(image, left, right, question), names[:2]),
    ]


@given(names=st.lists(NAMES, min_size=4, max_size=4, unique=True))
@example(names=["plain ($0)", "ours ($$$)", "$x_$", "_S"])
@example(names=["模型甲", "模型乙", "\\alpha^{2}", "$\\frac{1}{2"])
@settings(max_examples=8, deadline=None, derandomize=True)
def test_every_figure_draws_names_as_they_are_written(drawn, tmp_path_factory, names):
    folder, log = tmp_path_factory.mktemp("figures"), []
    handler = logging.Handler()
    handler.emit = lambda record: log.append(record.getMessage())
    logging.getLogger("matplotlib").addHandler(handler)
    try:
        for stem, draw, written in every_figure(drawn, names):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                figure = draw()
                shown = [squeezed(text.get_text()) for text in figure.findobj(Text)]
                files = figures.save(figure, folder / stem)
            assert all(path.stat().st_size > 1000 for path in files)
            for text in written:
                assert any(squeezed(text) in part for part in shown), (stem, text)
    finally:
        logging.getLogger("matplotlib").removeHandler(handler)
    assert log == []


def squeezed(text: str) -> str:
    """Without the spaces and line breaks that wrapping moves."""
    return "".join(text.split())
