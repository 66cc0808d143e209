"""Every notebook runs from its first cell to its last, defines nothing, and is stored with what
its code shows.
"""

import json
import os
import re
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
import torch
import yaml

from runners.plan import load
from runners.store import Store
from runners.trial.run import run
from tests import notebooks

ROOT = Path(__file__).parents[2]
OF_TRIALS = notebooks.paths()
EVERY = sorted(notebooks.FOLDER.glob("*.ipynb"))


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


def test_there_are_four():
    assert [p.stem for p in EVERY] == ["colab", "features", "order", "tradeoff"]


@pytest.fixture
def executed(tmp_path):
    """executed(path, sweep's file, folder of its trials) -> the notebook with its outputs."""

    def execute(path: Path, sweep: Path, storage: Path) -> nbformat.NotebookNode:
        notebook = notebooks.read(path)
        given = {"SWEEP": sweep, "STORAGE": storage, "DRAWINGS": tmp_path}
        notebooks.execute(notebook, path.parent, {k: str(v) for k, v in given.items()})
        return notebook

    return execute


@pytest.mark.parametrize("path", OF_TRIALS, ids=lambda p: p.stem)
def test_without_a_finished_trial_a_notebook_says_what_to_run(path, executed, tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError) as error:
        executed(path, ROOT / "sweeps/quickstart.yaml", tmp_path / "runs")
    # the kernel colours it
    last = re.sub(r"\x1b\[\d+m", "", str(error.value).strip().splitlines()[-1])
    assert last.startswith("SystemExit: No ") and "first run  sweeps run " in last


@pytest.mark.parametrize("path", OF_TRIALS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, quickstart, executed, tmp_path):
    shown = shown_in(executed(path, *quickstart))
    assert "image/svg+xml" in shown and list(tmp_path.glob("*.svg"))
    if path.stem == "order":
        assert (
            "that is a screening, to be confirmed with five or more" in shown
            and "S+C - R20" in shown
        )
    if path.stem == "features":
        assert "S: seed 0: 0." in shown and "precision_mean" in shown


def test_the_one_for_colab_runs_on_any_machine_and_goes_on_where_it_ended(tmp_path):
    """But for its cells for Google's machine, and on digits; the second time nothing is trained."""
    raw = {
        "question": "Does it work?",
        "baseline": "R20",
        "base": {"backbone": "resnet20", "dataset": "digits", "recipe": "short", "epochs": 1},
        "variants": {"R20": {}, "S+C": {"conv": "scconv"}},
        "seeds": 1,
    }
    (tmp_path / "colab.yaml").write_text(yaml.safe_dump(raw))
    env = {
        "DRIVE": str(tmp_path),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MLFLOW_TRACKING_URI": "",
    }
    for trained in (2, 0):
        notebook = notebooks.read(notebooks.FOLDER / "colab.ipynb")
        elsewhere = [c for c in notebook.cells if notebooks.COLAB in c.metadata.get("tags", [])]
        assert len(elsewhere) == 2
        notebook.cells = [c for c in notebook.cells if c not in elsewhere]
        notebooks.execute(notebook, tmp_path, env)
        shown = shown_in(notebook)
        assert len({*re.findall(r"\[\d/2\] (.*?): test top-1", shown)}) == trained
        assert "one seed has no spread" in shown and "2 finished" in shown
    assert (tmp_path / "results/colab/report.html").exists()


def test_the_question_for_colab_can_be_asked(tmp_path):
    """The file that it writes where there is none."""
    notebook = notebooks.read(notebooks.FOLDER / "colab.ipynb")
    (text,) = [m[1] for c in notebook.cells if (m := re.search(r'"""\\\n(.*?)"""', c.source, re.S))]
    (tmp_path / "colab.yaml").write_text(text)
    sweep = load(tmp_path / "colab.yaml")
    assert len(sweep.trials) == 6 and sweep.limits.hours == 3 and sweep.resources.gpu == 0.5


def shown_in(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    # what is printed may come in several pieces, cut anywhere
    return "".join(output.get("text", "") for output in outputs) + json.dumps(outputs)


@pytest.mark.parametrize("path", EVERY, ids=lambda p: p.stem)
def test_a_notebook_is_prose_and_calls(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(
        line.startswith(("def ", "class ", "    def ")) for cell in code for line in cell["source"]
    )
    assert sum(cell["cell_type"] == "markdown" for cell in cells) >= 3


@pytest.mark.parametrize("path", OF_TRIALS, ids=lambda p: p.stem)
def test_what_a_notebook_shows_is_of_its_code_and_of_the_quickstart_that_the_readme_has(path):
    """`make notebooks` stores it again."""
    notebook = notebooks.read(path)
    assert notebook.metadata[notebooks.FRESH] == notebooks.digest(notebook)
    shown = shown_in(notebook)
    assert "image/svg+xml" in shown and '"ename"' not in shown
    # neither the machine's paths nor its names
    assert not re.search(r"/(home|root|work|tmp|Users)/", shown)
    if path.stem == "order":
        table = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(), re.M)
        rows = [line for line in table if re.match(r"\| (R20|S|C|C&S|C\+S|S\+C) +\|", line)]
        assert len(rows) == 6 and all(json.dumps(row)[1:-1] in shown for row in rows)


def test_a_changed_cell_is_noticed():
    notebook = notebooks.read(OF_TRIALS[0])
    before = notebooks.digest(notebook)
    next(c for c in notebook.cells if c.cell_type == "code").source += "\n"
    assert notebooks.digest(notebook) != before == notebook.metadata[notebooks.FRESH]
