"""A report on what has not changed keeps its figures, and draws them where anything has."""

import json

import pytest

from analysis import figures, report, writing
from runners.plan import load
from runners.store import Store
from tests import records

VARIANTS = {"R20": {}, "S+C": {"conv": "scconv"}}
PRINTED = "variant,params_m,flops_m,cifar10\nR20,0.27,2.5,90\nS+C,0.16,1.6,91\n"


@pytest.fixture
def made(write_sweep, tmp_path, monkeypatch):
    """A sweep whose trials have finished, but for the last seed's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "printed.csv").write_text(PRINTED)
    path = write_sweep(
        base={"dataset": "cifar10", "epochs": 2}, variants=VARIANTS, seeds=3, reference="printed"
    )
    for trial in load(path).trials:
        if trial.seed < 2:
            end(trial)
    return path


def end(trial) -> None:
    top1 = 120 + 4 * trial.seed + (trial.seed + 1) ** 2 * (trial.variant == "S+C")
    Store("runs").commit(records.record(trial, result=records.result(top1, 160)))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    names, saved = [], figures.saved
    monkeypatch.setattr(
        figures, "saved", lambda figure, stem: names.append(stem.name) or saved(figure, stem)
    )
    return names


def written(path, *arguments) -> set[str]:
    assert report.main([str(path), *arguments]) == 0
    return {file.name for file in (path.parent / "results" / load(path).label).glob("*.svg")}


def test_of_the_same_records_figures_are_kept(made, drawn):
    found = written(made)
    assert {f"{name}.svg" for name in drawn} == found > set()
    drawn.clear()
    assert written(made) == found and not drawn
    page = (made.parent / "results" / load(made).label / "report.html").read_text()
    assert page.count("<svg") >= len(found)


def another_record(path, folder):
    end(next(t for t in load(path).trials if t.seed == 2))


def edited_figure(path, folder):
    (folder / "forest.svg").write_text("<svg/>")


def lost_figure(path, folder):
    (folder / "forest.png").unlink()


def other_words(path, folder):
    path.write_text(path.read_text().replace("Does it work?", "Did it work?"))


def other_reference(path, folder):
    (path.parent / "printed.csv").write_text(PRINTED.replace("91", "92"))


def damaged_stamp(path, folder):
    (folder / ".figures.json").write_text("{")


def of_a_package_before(path, folder):
    stamp = folder / ".figures.json"
    content = json.loads(stamp.read_text())
    content["made_from"]["packages"][0] = "1.0"
    stamp.write_text(json.dumps(content))


CHANGES = [
    *(another_record, edited_figure, lost_figure, other_words, other_reference),
    *(damaged_stamp, of_a_package_before),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_where_anything_has_changed_they_are_drawn(change, made, drawn):
    found = written(made)
    drawn.clear()
    change(made, made.parent / "results" / load(made).label)
    assert written(made) == found
    assert {f"{name}.svg" for name in drawn} == found
    drawn.clear()
    written(made)
    assert not drawn


def test_other_figures_are_asked_for(made, drawn):
    written(made)
    drawn.clear()
    assert "pairs.svg" in written(made, "--pairs") and "pairs" in drawn
    drawn.clear()
    assert "pairs.svg" not in written(made) and "forest" in drawn


def test_a_record_that_comes_while_the_others_are_read_is_drawn_by_the_next(
    made, drawn, monkeypatch
):
    late = next(t for t in load(made).trials if t.seed == 2)
    read = report.read

    def slow(*given):
        table = read(*given)
        end(late)
        return table

    with monkeypatch.context() as patched:
        patched.setattr(report, "read", slow)
        written(made)
    drawn.clear()
    written(made)
    assert drawn


def test_what_cannot_be_read_is_said_by_who_reads_it(made, capsys):
    written(made)
    trial = next(t for t in load(made).trials if t.seed == 2)
    (Store("runs").root / "trials" / trial.id).write_text("no folder")
    capsys.readouterr()
    assert report.main([str(made)]) == 2
    assert "something else is in its place" in capsys.readouterr().err


def test_with_letters_that_the_figures_own_font_lacks_they_are_drawn(write_sweep, made, drawn):
    """The next machine, or this one tomorrow, may have a font that has them."""
    variants = {"R20": {}, "模": {"conv": "scconv"}}
    base = {"dataset": "cifar10", "epochs": 2}
    path = write_sweep(base=base, variants=variants, seeds=3, reference=None)
    for trial in load(path).trials:
        if Store("runs").record(trial.id) is None:
            end(trial)
    for _ in range(2):
        drawn.clear()
        written(path)
        assert drawn


def test_of_what_cannot_be_compared_they_are_drawn(made, drawn, tmp_path):
    table = report.read(load(made), Store("runs"))
    for _ in range(2):
        drawn.clear()
        writing.write(table, tmp_path / "out")
        assert drawn
