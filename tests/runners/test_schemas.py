"""What the commands print for programs is as the schemas beside the code say."""

import io
import json

import pytest

from runners import __main__ as sweeps
from runners import schemas
from runners.launch.events import EventConsole, Events
from runners.plan import load
from runners.store import Store
from tests import records

jsonschema = pytest.importorskip("jsonschema")


def check(kind: str, text: str) -> dict:
    """The JSON in a text, valid by the schema of its kind."""
    found = json.loads(text)
    schema = json.loads((schemas.FOLDER / f"{kind}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert found["schema"] == f"scconv-sweeps/{kind.replace('-', '/')}"
    return found


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_a_schema_is_the_one_that_its_code_makes(kind):
    path = schemas.FOLDER / f"{kind}.json"
    assert path.read_text() == schemas.text(kind), "python -m runners.schemas writes it again"


@pytest.fixture
def half(write_sweep, tmp_path):
    """(path, store, trials) of a sweep of which one variant has finished."""
    path = write_sweep(reference="table1", at_least=0.5)
    store, trials = Store(tmp_path / "runs"), load(path).trials
    for trial in trials[:3]:
        store.commit(records.record(trial, result=records.result(100 + trial.seed)))
    return path, store, trials


def test_a_report_says_the_answer_and_every_figure_behind_it(half, capsys):
    path, store, trials = half
    arguments = ["report", str(path), "--storage", str(store.root), "--json"]
    assert sweeps.main(arguments) == 0
    report = check("report-1", capsys.readouterr().out)
    base, other = report["variants"]
    assert (base["n"], other["n"], other["planned"]) == (2, 1, 2)
    assert [t["id"] for t in base["trials"]] == [trials[0].id, trials[2].id]
    assert base["score"]["mean"] == pytest.approx(100 * 100.5 / 160)
    assert report["answer"].startswith("S+C") and report["screening"]
    assert other["missing"] == {"not finished": 1} and base["paper"]["top1"] == 78.6
    assert not (path.parent / "results").exists()
    with pytest.raises(SystemExit):
        sweeps.main([*arguments, str(path)])


def test_a_status_and_a_plan_have_their_schemas(half, capsys):
    path, store, trials = half
    store.files.write(f"trials/{trials[3].id}/failures.json", b'["error"]')
    assert sweeps.main(["status", str(path), "--storage", str(store.root), "--json"]) == 0
    status = check("status-1", capsys.readouterr().out)
    assert status["counts"] == {"running": 1, "finished": 3} and status["driver"] == ""
    assert [t["trial"] for t in status["trials"]] == [t.id for t in trials]
    assert sweeps.main(["plan", str(path), "--storage", str(store.root), "--json"]) == 0
    plan = check("plan-1", capsys.readouterr().out)
    assert (plan["done"], plan["to_run"]) == (3, 1)


def test_progress_is_an_event_a_line(half):
    _, _, trials = half
    stream = io.StringIO()
    console = EventConsole(Events(stream), "tiny", trials, {})
    console.started(trials[0])
    console.epochs(trials[0], [records.epoch(1), records.epoch(2)])
    console.ended(trials[0], records.record(trials[0]))
    console.started(trials[1])
    console.say("R20: something")
    console.stopped(trials[1])
    console.tick()
    console.close()
    events = [check("progress-1", line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events] == [
        *("trial_started", "epoch", "epoch", "trial_ended"),
        *("trial_started", "message", "trial_stopped"),
    ]
    assert [e["epoch"] for e in events[1:3]] == [1, 2] and events[1]["epochs"] == 2
    assert events[1]["figures"] == {
        "train/loss": 1,
        "train/top1": 50,
        "val/loss": 1,
        "val/top1": 50,
    }
    ended = events[3]
    assert (ended["state"], ended["ended"], ended["planned"]) == ("finished", 1, 4)
    assert ended["figures"]["top1"] == 70.0


def test_a_command_that_cannot_run_ends_with_its_status(tmp_path, capsys):
    path = tmp_path / "none.yaml"
    assert sweeps.main(["run", str(path), "--progress", "json"]) == 2
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert check("progress-1", line)["exit_status"] == 2 and "none.yaml" in err
