"""Whose is it: a store keeps its name, and a report is overwritten by its own sweep alone."""

import shutil

import pytest

from runners.plan import load
from runners.store import Store, results
from runners.store.origin import Origin
from tests import records


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("harm", ["deleted", "emptied", "garbled", "copy deleted"])
def test_a_store_keeps_its_name_when_one_file_is_lost(harm, store, capsys):
    name, path = store.identity, store.root / "identity"
    if harm == "copy deleted":
        (store.root / ".identity").unlink()
    elif harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"" if harm == "emptied" else b"\xff\xfe nonsense")
    assert Store(store.root).identity == name
    assert path.read_text() == (store.root / ".identity").read_text() == name
    said = capsys.readouterr().err
    assert ("restored from its copy" in said) == (harm != "copy deleted")


def test_a_store_of_before_the_copy_keeps_its_name(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "identity").write_text("a" * 32)
    assert Store(tmp_path / "runs").identity == "a" * 32
    assert (tmp_path / "runs" / ".identity").read_text() == "a" * 32


def claimed(path, store, base):
    return results.claim(base, path.stem, path, store)


def two_files(write_sweep, tmp_path):
    """Two sweep files of one name and one question, in two folders."""
    paths = []
    for folder, epochs in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        written = write_sweep(base={"epochs": epochs})
        paths.append(written.rename(tmp_path / folder / "tiny.yaml"))
    return paths


def test_two_sweep_files_of_one_name_have_two_reports(write_sweep, tmp_path, store):
    first, second = two_files(write_sweep, tmp_path)
    base = tmp_path / "results"
    folder, line = claimed(first, store, base)
    assert (folder, line) == (base / "tiny", "")
    other, line = claimed(second, store, base)
    assert other.parent == base and other != folder and "a/tiny.yaml" in line and str(other) in line
    # each finds its own again, in whatever order
    assert claimed(first, store, base)[0] == folder and claimed(second, store, base)[0] == other
    assert results.choose(base, "tiny", second, store) == other


def test_two_stores_have_two_reports_while_both_are_there(write_sweep, tmp_path, store):
    path, base, second = write_sweep(), tmp_path / "results", Store(tmp_path / "runs2")
    assert store.identity != second.identity
    folder, _ = claimed(path, store, base)
    other, _ = claimed(path, second, base)
    assert other != folder == base / "tiny"
    shutil.rmtree(store.root)
    assert claimed(path, Store(tmp_path / "runs3"), base)[0] == folder, "its maker is no more"


@pytest.mark.parametrize(
    "how", ["moved", "copied", "renamed folder of the file", "second checkout"]
)
def test_the_same_sweep_keeps_its_report(how, write_sweep, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "sweeps").mkdir(parents=True)
    path = write_sweep().rename(old / "sweeps" / "tiny.yaml")
    store = Store(old / "runs")
    assert store.identity and claimed(path, store, old / "results")[0] == old / "results" / "tiny"
    if how == "moved":
        old.rename(new)
    elif how == "copied":
        shutil.copytree(old, new)
        (new / "sweeps" / "tiny.yaml").write_text(path.read_text() + "\n# edited\n")
    elif how == "second checkout":
        (old / "more").mkdir()
        shutil.copy(path, old / "more" / "tiny.yaml")
        assert claimed(old / "more" / "tiny.yaml", store, old / "results")[0].name == "tiny"
        return
    else:
        (old / "sweeps").rename(old / "questions")
        new = old
    where = "questions" if new == old else "sweeps"
    store = Store(new / "runs")
    assert claimed(new / where / "tiny.yaml", store, new / "results")[0] == new / "results" / "tiny"


def test_a_report_on_a_store_writes_nothing_into_it(write_sweep, tmp_path, monkeypatch):
    from analysis import report

    monkeypatch.chdir(tmp_path)
    path = write_sweep()
    Store("runs").commit(records.record(load(path).trials[0]))
    before = sorted((tmp_path / "runs").rglob("*"))
    assert report.main([str(path)]) == 0
    assert sorted((tmp_path / "runs").rglob("*")) == before
    assert (tmp_path / "results" / "tiny" / results.MARKER).exists()


def test_a_file_is_told_by_its_place_beside_the_store(write_sweep, tmp_path, store):
    path = write_sweep()
    origin = Origin.of(path, store)
    assert origin.sweep == "tiny" and origin.file == "../tiny.yaml"
    assert origin.is_mine(store.identity, "../tiny.yaml")
    assert origin.is_mine(store.identity, "/gone/from/here/tiny.yaml")
    assert not origin.is_mine("another", "../tiny.yaml")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "tiny.yaml").write_text("question: another\n")
    assert not origin.is_mine(store.identity, "../b/tiny.yaml")


def test_the_command_says_where_a_second_report_is(write_sweep, tmp_path, monkeypatch, capsys):
    from analysis import report

    monkeypatch.chdir(tmp_path)
    Store("runs").identity  # noqa: B018 - made by the first sweep
    first, second = two_files(write_sweep, tmp_path)
    for trial in (load(first).trials[0], load(second).trials[0]):
        Store("runs").commit(records.record(trial))
    assert report.main([str(first)]) == 0 and report.main([str(second)]) == 0
    assert "results/tiny is the report of" in capsys.readouterr().out
    assert load(first).question == load(second).question
    assert len(list((tmp_path / "results").iterdir())) == 2
    # and it is verified there
    assert report.main([str(second), "--verify"]) == 0
