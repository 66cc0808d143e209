"""A second start of a finished sweep prints the table at once, and does more where it must."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runners import phases, sweep, train
from runners.store import Store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TEXT = """
question: Does it work?
baseline: R20
base: {backbone: resnet20, dataset: synthetic, epochs: 1, batch_size: 32}
variants: {R20: {}, S+C: {conv: scconv}}
reference: printed
seeds: 1
"""
PRINTED = "variant,params_m,flops_m,synthetic\nR20,0.27,2.5,90\nS+C,0.16,1.6,91\n"
TRIALS = "select run_uuid from tags where key = 'trial'"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a sweep that has finished, and whose report is written."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TEXT)
    (folder / "printed.csv").write_text(PRINTED)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for variant in ("R20", "S+C"):
            assert train.main(["tiny.yaml", "--variant", variant]) == 0
        assert sweep.main(["tiny.yaml"]) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def start(folder, monkeypatch, capsys):
    """Start the sweep again -> (what it printed, whether it did more than that)."""
    monkeypatch.chdir(folder)

    def begin(*arguments: str) -> tuple[str, bool]:
        whole, ran = phases.run, []
        with monkeypatch.context() as patched:
            patched.setattr(phases, "run", lambda *given: ran.append(1) or whole(*given))
            capsys.readouterr()
            assert sweep.main(["tiny.yaml", *arguments]) == 0
        return capsys.readouterr().out, bool(ran)

    return begin


def test_a_second_start_prints_the_same_and_loads_no_heavy_package(folder, start):
    first, _ = start("--set", "seeds=1")
    code = (
        "import sys; from runners import sweep; status = sweep.main(sys.argv[1:]);"
        "print(sorted({'torch', 'ray', 'mlflow', 'optuna', 'scipy', 'matplotlib'} & {*sys.modules}),"
        " file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "tiny.yaml", "--set", "seeds=1"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"
    assert "| S+C" in done.stdout and first.endswith(done.stdout)


def delete_figure(folder):
    (folder / "results/tiny/forest.svg").unlink()


def edit_report(folder):
    path = folder / "results/tiny/table.md"
    path.write_text(path.read_text().replace("S+C", "C+S"))


def write_to_mlflow(folder):
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute(f"update runs set status = 'FAILED' where run_uuid in ({TRIALS})")


def edit_sweep(folder):
    (folder / "tiny.yaml").write_text(TEXT.replace("Does it work?", "Did it work?"))


def edit_reference(folder):
    (folder / "printed.csv").write_text(PRINTED.replace("91", "92"))


def rewrite_record(folder):
    store = Store(folder / "runs")
    path = next(store.root.glob("trials/*/record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))


@pytest.mark.parametrize(
    "change",
    [delete_figure, edit_report, write_to_mlflow, edit_sweep, edit_reference, rewrite_record],
)
def test_whatever_has_changed_since_is_made_again(change, folder, start):
    start()
    assert not start()[1]
    change(folder)
    out, ran = start()
    assert ran and "| S+C" in out
    assert "| S+C" in (folder / "results/tiny/table.md").read_text()
    assert not start()[1]
    with sqlite3.connect(folder / "mlflow.db") as database:
        statuses = database.execute(
            f"select distinct status from runs where run_uuid in ({TRIALS})"
        ).fetchall()
    assert statuses == [("FINISHED",)]


def test_other_settings_or_another_mlflow_are_more_to_do(folder, start):
    start()
    assert not start()[1]
    assert start("--only", "R20")[1]
    (folder / "mlflow.db").rename(folder / "moved.db")
    assert start()[1]
