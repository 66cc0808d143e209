"""Things of one's own, as the pages show them, from the sweep file to the record."""

import re
from pathlib import Path

import pytest

from runners.plan import load
from runners.store import Store
from runners.train import main as train
from runners.trial.datasets import identified

PAGE = (Path(__file__).parents[1] / "sweeps/README.md").read_text()


def example(name: str) -> str:
    """The Python block under the line that names its file."""
    found = re.search(rf"`{name}`:\n\n```python\n(.*?)```", PAGE, re.S)
    assert found, f"sweeps/README.md has no {name}"
    return found[1]


@pytest.fixture
def sweep(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "small.py", "bars.py"):
        (tmp_path / name).write_text(example(name))
    base = {
        "backbone": "small",
        "backbone_options": {"width": 16},
        "dataset": "bars",
        "dataset_options": {"noise": 80},
    }
    return write_sweep(base=base, variants={"R20": {}, "mine": {"conv": "mine"}}, seeds=1)


def test_the_pages_examples_train_together(sweep, tmp_path, capsys):
    for variant in ("R20", "mine"):
        assert train([str(sweep), "--variant", variant, "--threads", "1"]) == 0, capsys.readouterr()
    store = Store(tmp_path / "runs")
    planned = identified(load(sweep), store, None)
    plain, mine = (store.record(trial.id) for trial in planned.trials)
    assert plain.config["dataset_options"] == {"noise": 80}
    assert plain.config["backbone_options"] == {"width": 16}
    assert len(plain.provenance["data"]) == 16 and plain.config["data"] == plain.provenance["data"]
    assert plain.provenance["test_images"] == 40
    # the grouped convolution has fewer parameters than the one that it replaces
    assert mine.result.costs["params"] < plain.result.costs["params"]


def test_an_option_of_a_file_that_it_does_not_have_is_named(sweep):
    for key, name in (("backbone_options", "small"), ("dataset_options", "bars")):
        with pytest.raises(ValueError, match=f"'{name}' has no option 'depth'"):
            load(sweep, [f"base.{key}={{depth: 3}}"])
