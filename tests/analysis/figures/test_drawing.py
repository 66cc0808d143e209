"""Letters that the font lacks, a style that no matplotlibrc changes, and room for what is written."""

import re
import warnings

import pytest
from matplotlib.font_manager import findfont
from matplotlib.text import Text

from analysis import figures, tables
from analysis.figures import letters, plt, save, style
from runners.plan import load
from runners.store import Store
from tests.analysis.tables.test_table import fill


def drawing(title: str):
    with style():
        figure, axes = plt.subplots()
        axes.set_title(title)
    return figure


@pytest.fixture
def many(write_sweep, tmp_path):
    """More variants than a figure names at its points, with long names."""
    names = [f"variant number {i}, with=a,long=name,of={i}" for i in range(14)]
    rates = {name: {"lr": round(0.01 + 0.001 * i, 4)} for i, name in enumerate(names)}
    sweep = load(write_sweep(variants={"R20": {}} | rates, seeds=2))
    scores = {name: [70.0 - i, 71.25 - i] for i, name in enumerate(sweep.variants)}
    return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))


def test_letters_of_another_font_are_taken_from_it(tmp_path):
    """STIX comes with matplotlib, and has script letters that DejaVu Sans lacks."""
    script = "𝒜𝓐"
    figure = drawing(script)
    own = letters._letters(findfont("DejaVu Sans"))
    assert not any(ord(letter) in own for letter in script)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg, png = save(figure, tmp_path / "f")
    assert figure.axes[0].get_title("left") == script
    blank = save(drawing(""), tmp_path / "blank")[1]
    assert png.read_bytes() != blank.read_bytes() and "<text" not in svg.read_text()


def test_letters_that_no_font_here_has_stay_text_on_the_page_and_are_spelled_in_the_png(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(letters, "_fallback", lambda missing: ([], missing))
    pictures = []
    for name in ("模型甲", "模型乙"):
        figure = drawing(f"{name} é")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            svg, png = save(figure, tmp_path / name)
        assert f"{name} é</text>" in svg.read_text()
        pictures.append(png.read_bytes())
        title = figure.axes[0].get_title("left")
        assert title == "".join(f"\\u{ord(letter):04x}" for letter in name) + " é"
    assert pictures[0] != pictures[1]


def test_a_figure_is_the_same_bytes_each_time_it_is_drawn(many, tmp_path):
    first, second = (save(figures.curves(many), tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_users_own_matplotlibrc_changes_nothing(many, tmp_path):
    plain = save(figures.curves(many), tmp_path / "plain")
    with plt.rc_context({"text.usetex": True, "font.size": 30, "savefig.bbox": "tight"}):
        own = save(figures.curves(many), tmp_path / "own")
    for one, other in zip(plain, own, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("draw", [figures.curves, figures.tradeoff])
def test_long_names_have_room(draw, many, tmp_path):
    figure = draw(many)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the layout of a second axis needs one drawing more to come to rest
        for _ in range(2):
            figure.canvas.draw()
        _, height = figure.get_size_inches() * figure.dpi
        texts = [text for text in figure.findobj(Text) if re.search(r"\w{4}", text.get_text())]
        boxes = {text.get_text(): text.get_window_extent() for text in texts}
        save(figure, tmp_path / "f")
    assert len(boxes) > 3
    for text, box in boxes.items():
        assert box.y0 > -2 and box.y1 < height + 2 and box.x0 > -2, text
