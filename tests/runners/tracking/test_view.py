"""How an experiment opens: its saved view, its colours, its name, and the command that shows it."""

import base64
import json
import zlib

import mlflow
import pytest

from analysis.figures import drawing
from runners.plan import load
from runners.store.colours import OTHERS, colours
from runners.tracking import phase, ui, view
from tests.runners.tracking.shared import connected, record

pytestmark = pytest.mark.slow


def state_of(experiment) -> dict:
    """What MLflow's UI reads from the tag."""
    packed = json.loads(experiment.tags[view.TAG])["state"]
    return json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))


def test_an_experiment_opens_grouped_by_variant_the_result_first(write_sweep, uri):
    sweep = load(write_sweep())
    tracker = connected(uri, sweep)
    tracker.check()
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    state = state_of(experiment)
    assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "variant"}]
    assert state["runsHiddenMode"] == "SHOWALL"
    sections = {section["uuid"] for section in state["compareRunSections"]}
    charts = state["compareRunCharts"]
    assert {chart["metricSectionId"] for chart in charts} <= sections
    assert charts[0]["metricKey"] == "test/top1" and len({c["uuid"] for c in charts}) == len(charts)
    assert "params.`conv`" in state["selectedColumns"]
    assert f"/experiments/{experiment.experiment_id}/runs?" in tracker.link
    assert tracker.link.endswith(f"viewStateShareKey={view.KEY}")
    # a view that a person saved stays, and ours comes back where it was changed
    client.set_experiment_tag(experiment.experiment_id, view.TAG, "changed")
    client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.mine", "kept")
    connected(uri, sweep).check()
    tags = client.get_experiment_by_name("tiny").tags
    assert tags[view.TAG] == view.saved(phase.comparison(sweep))
    assert tags["mlflow.sharedViewState.mine"] == "kept"


def test_the_view_of_many_params_fits_into_a_tag(write_sweep):
    sweep = load(write_sweep())
    many = phase.comparison(sweep)
    many.params = {"S+C": {f"a_setting_with_a_long_name_{i}": i for i in range(60)}}
    assert len(view.saved(many)) <= view.LONGEST


def test_with_overrides_a_sweep_has_an_experiment_of_its_own(write_sweep, uri):
    path = write_sweep()
    plain, changed = load(path), load(path, ["base.epochs=1"])
    for sweep in (plain, changed, plain):
        trial = sweep.trials[0]
        tracker = connected(uri, sweep)
        tracker.end(trial, record(trial))
        tracker.close()
    client = mlflow.MlflowClient(uri)
    counts = {}
    for experiment in client.search_experiments():
        if "sweep" in experiment.tags:
            counts[experiment.name] = len(client.search_runs([experiment.experiment_id]))
    assert counts == {"tiny": 1, changed.label: 1} and changed.label != "tiny"


def test_a_run_has_its_variants_colour_of_the_figures(write_sweep, uri):
    sweep = load(write_sweep())
    tracker = connected(uri, sweep)
    for trial in sweep.trials[:2]:
        tracker.start(trial)
    tracker.close()
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([tracker.experiment])
    shown = {r.data.params["variant"]: r.data.tags["mlflow.runColor"] for r in runs}
    assert shown == {"R20": "#000000", "S+C": OTHERS[0]}


def test_the_figures_style_has_the_same_colours():
    with drawing.style():
        cycle = drawing.plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [f"#{colour.lstrip('#')}" for colour in cycle] == [*OTHERS]
    named = colours("abcdefghi", "c")
    assert named["c"] == "#000000" and named["a"] == named["i"] == OTHERS[0]


def test_the_ui_is_started_over_the_sweeps_on_loopback(uri, tmp_path, monkeypatch, capsys):
    started = []

    class Server:
        def __init__(self, line, env, **_):
            started.append((line, env))

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(ui.subprocess, "Popen", Server)
    monkeypatch.setattr(ui.signal, "signal", lambda *_: None)
    assert ui.main(["--tracking-uri", uri, "--port", "5077"]) == 0
    ((line, environment),) = started
    assert (
        line[line.index("--host") + 1] == "127.0.0.1" and line[line.index("--port") + 1] == "5077"
    )
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri and uri not in line
    assert ui.main(["--tracking-uri", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert "is not there: no sweep has been shown in it yet" in capsys.readouterr().err
    assert ui.main(["--tracking-uri", "http://me:secret@lab:5000"]) == 0
    out = capsys.readouterr().out
    assert "lab:5000" in out and "secret" not in out and len(started) == 1
