"""The page prints the sweep file that planned its trials, and says whether it has changed since."""

from types import SimpleNamespace

import pytest

from analysis.page.render import TEMPLATES
from analysis.page.sweep_file import sweep_file
from analysis.tables.planned import Planned, planned
from runners.plan import load
from runners.store import Store


def record(sweep: str, digest: str | None) -> SimpleNamespace:
    return SimpleNamespace(sweep=sweep, provenance={"sweep_file": digest} if digest else {})


def page(sweep, files: list[Planned], trials: int) -> str:
    table = SimpleNamespace(sweep=sweep, planned=files, records=[None] * trials)
    return TEMPLATES.get_template("sweep_file.html").render(file=sweep_file(table))


@pytest.fixture
def edited(write_sweep, tmp_path):
    """A sweep whose file was edited after it had planned its trials, and its store."""
    path, store = write_sweep(), Store(tmp_path / "runs")
    before = load(path)
    store.keep_sweep(before)
    path.write_text(path.read_text().replace("epochs: 2", "epochs: 30 # <edited>"))
    return before, load(path), store


def test_kept_files_are_found_by_what_the_records_say(edited):
    before, after, store = edited
    store.keep_sweep(after)
    records = [
        *[record("tiny", after.digest)] * 2,
        *[record("tiny/search", before.digest)] * 3,
        record("tiny", None),
        record("tiny", "0123456789abcdef"),
    ]
    assert planned(records, store) == [
        Planned("tiny", 3, before.text),
        Planned("tiny", 2, after.text),
    ]


def test_the_page_prints_what_was_planned_and_not_what_the_file_says_now(edited):
    before, after, store = edited
    files = planned([record("tiny", before.digest)] * 4, store)
    # the command that trained has read the file before it was edited; a report reads it after
    for sweep in (before, after):
        said = page(sweep, files, 4)
        assert "tiny.yaml, as it planned 4 of 4 trials" in said
        assert said.count("\n  epochs: 2\n") == 1
        assert f"{sweep.path} has changed since" in said
        assert "-  epochs: 2\n+  epochs: 30 # &lt;edited&gt;" in said


def test_a_file_that_has_not_changed_is_printed_once(edited):
    _, after, store = edited
    store.keep_sweep(after)
    said = page(after, planned([record("tiny", after.digest)], store), 1)
    assert "has changed since" not in said and said.count("epochs: 30") == 1


def test_trials_that_do_not_say_what_planned_them_have_the_file_that_was_read(edited):
    before, after, _ = edited
    said = page(after, [], 2)
    assert "epochs: 30" in said and "as it planned" not in said and "changed" not in said
    assert "has changed since" in page(before, [], 2)


def test_overrides_are_named(write_sweep):
    sweep = load(write_sweep(), ["base.epochs=3"], seeds=1)
    assert "With these overrides: base.epochs=3, seeds=1" in page(sweep, [], 0)
