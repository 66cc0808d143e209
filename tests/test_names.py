"""A name is data: whatever characters it has, it names its variant everywhere and reaches nothing
else.
"""

import mlflow
import pytest

from analysis import report, tables
from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from runners.trial.run import run
from tests.runners.tracking.shared import connected, summarise

pytestmark = pytest.mark.slow

ODD = [
    "a b",
    "a;touch evil",
    "$(touch evil)",
    "`touch evil`",
    "<script>x",
    "α|β & 50 %_#",
    "'\"quoted\"'",
    "-rf",
    "%s{0}",
    "report",
]
REFUSED = ["../up", "..", "a/b", "a\\b", "a\nb", "a\x00b", "a\tb", "\u202etxt", "", " ", "x" * 61]


def test_odd_names_stay_names(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rates = {name: {"lr": round(0.011 + 0.01 * i, 3)} for i, name in enumerate(ODD)}
    path = write_sweep(base={"epochs": 1}, variants={"R20": {}} | rates, seeds=1)
    sweep, store = load(path), Store(tmp_path / "runs")
    for trial in sweep.trials:
        list(run(trial, store, device="cpu"))
    table = tables.read(sweep, store)
    files = report.write(table, tmp_path / "results" / sweep.label)
    assert {p.parent for p in files} == {tmp_path / "results" / "tiny"} and not list(
        tmp_path.rglob("evil")
    )
    page = (tmp_path / "results" / "tiny" / "report.html").read_text()
    assert "<script>x" not in page and "&lt;script&gt;x" in page
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = connected(uri, sweep, store.identity)
    tracker.reconcile(sweep.trials, store.record)
    for _ in range(2):
        means = {row.variant: {"n": 1.0} for row in table.rows}
        summarise(uri, sweep, means, 1, files, store.identity)
    assert not tracker.troubled
    client = mlflow.MlflowClient(uri)
    assert {r.data.tags["variant"] for r in client.search_runs([tracker.experiment])} == {
        "R20",
        *ODD,
    }
    summary = client.search_runs([client.get_experiment_by_name("tiny/summary").experiment_id])
    assert sorted(r.data.tags["variant"] for r in summary) == sorted(["", "R20", *ODD])
    assert [r.info.run_name for r in summary if client.list_artifacts(r.info.run_id)] == ["report"]


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_could_leave_their_place_are_refused(name, write_sweep):
    with pytest.raises(SweepError, match="a name is at most 60 printable characters"):
        load(write_sweep(variants={"R20": {}, name: {"conv": "scconv"}}))


@pytest.mark.parametrize("stem", ["a b", "a;b", "a'b", "a\nb", "-x", "."])
def test_a_sweeps_name_is_its_files_and_a_folders(stem, write_sweep):
    with pytest.raises(SweepError, match="a sweep's name is its file's"):
        load(write_sweep(stem))
