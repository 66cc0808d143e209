"""Every notebook runs from its first cell to its last on a short quickstart, defines nothing, and
is stored without outputs.
"""

import json
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
import torch
import yaml

from runners.plan import load
from runners.store import Store
from runners.trial.run import run

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "analysis/notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> tuple[Path, Path]:
    """The quickstart with three of its variants, two seeds and one epoch: its file and its
    trials.
    """
    folder = tmp_path_factory.mktemp("quickstart")
    raw = yaml.safe_load((ROOT / "sweeps/quickstart.yaml").read_text())
    raw["base"]["epochs"], raw["seeds"] = 1, 2
    raw["variants"] = {v: raw["variants"][v] for v in ("R20", "S", "S+C")}
    path = folder / "quickstart.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    torch.set_num_threads(1)
    for trial in load(path).trials:
        list(run(trial, Store(folder / "runs"), device="cpu"))
    return path, folder / "runs"


def test_there_are_three():
    assert [p.stem for p in NOTEBOOKS] == ["features", "order", "tradeoff"]


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """executed(path, sweep's file, folder of its trials) -> the notebook with its outputs."""

    def execute(path: Path, sweep: Path, storage: Path) -> nbformat.NotebookNode:
        given = {"SWEEP": sweep, "STORAGE": storage, "DRAWINGS": tmp_path, "PYTHONPATH": ROOT}
        for name, value in given.items():
            monkeypatch.setenv(name, str(value))
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(
            notebook,
            timeout=180,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
        ).execute()
        return notebook

    return execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_without_a_finished_trial_a_notebook_says_what_to_run(path, executed, tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError) as error:
        executed(path, ROOT / "sweeps/quickstart.yaml", tmp_path / "runs")
    # the kernel colours it
    last = re.sub(r"\x1b\[\d+m", "", str(error.value).strip().splitlines()[-1])
    assert last.startswith("SystemExit: No ") and "first run  sweeps run " in last


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, quickstart, executed, tmp_path):
    notebook = executed(path, *quickstart)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    # what is printed may come in several pieces, cut anywhere
    shown = "".join(output.get("text", "") for output in outputs) + json.dumps(outputs)
    assert "image/svg+xml" in shown and list(tmp_path.glob("*.svg"))
    if path.stem == "order":
        assert (
            "that is a screening, to be confirmed with five or more" in shown
            and "S+C - R20" in shown
        )
    if path.stem == "features":
        assert "S: seed 0: 0." in shown and "precision_mean" in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_prose_and_calls_without_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not any(
        line.startswith(("def ", "class ", "    def ")) for cell in code for line in cell["source"]
    )
    assert sum(cell["cell_type"] == "markdown" for cell in cells) >= 3
