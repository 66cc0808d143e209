"""Things of one's own, as the pages show them, from the sweep file to the record."""

import re
from pathlib import Path

import pytest

from analysis import report
from runners.errors import SweepError
from runners.plan import load, reference
from runners.store import Store
from runners.train import main as train
from runners.trial.datasets import identified

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[1] / "sweeps/README.md").read_text()


def example(name: str) -> str:
    """The block under the line that names its file."""
    found = re.search(rf"`{name}`:\n\n```(?:python|csv)\n(.*?)```", PAGE, re.S)
    assert found, f"sweeps/README.md has no {name}"
    return found[1]


@pytest.fixture
def sweep(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "small.py", "bars.py", "published.csv"):
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
    told = load(sweep, ["reference=published"])
    assert [t.id for t in identified(told, store, None).trials] == [t.id for t in planned.trials]
    table = report.read(identified(told, store, None), store)
    assert [row.printed and row.printed.top1 for row in table.rows] == [91.25, 90.5]
    assert all(row.against_paper[0] in ("differs", "underpowered") for row in table.rows)
    assert "Paper: published.csv: bars." in report.text(table)
    # the grouped convolution has fewer parameters than the one that it replaces
    assert mine.result.costs["params"] < plain.result.costs["params"]


BAD_TABLES = {
    "variant,params_m,bars\n": "must have the columns variant, params_m, flops_m, bars .* got variant",
    "": "must have the columns .* got none",
    "variant,params_m,flops_m,bars\nmine,1,1,high\n": "row 2: bars must be a number, got 'high'",
    "variant,params_m,flops_m,bars\nmine,1,1\n": "row 2: bars must be a number, got ''",
    "variant,params_m,flops_m,bars\nmine,nan,1,1\n": "row 2: params_m must be a number, got 'nan'",
    "variant,params_m,flops_m,bars\nmine,1,1,1\nmine,1,1,2\n": "must have one row, got 2 of it: 'mine'",
}


@pytest.mark.parametrize("content", BAD_TABLES)
def test_a_reference_that_is_none_is_refused_by_one_line(content, sweep, tmp_path):
    (tmp_path / "published.csv").write_text(content)
    with pytest.raises(SweepError, match=BAD_TABLES[content]) as refused:
        reference.load(load(sweep, ["reference=published"]))
    assert str(tmp_path / "published.csv") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_option_of_a_file_that_it_does_not_have_is_named(sweep):
    for key, name in (("backbone_options", "small"), ("dataset_options", "bars")):
        with pytest.raises(ValueError, match=f"'{name}' has no option 'depth'"):
            load(sweep, [f"base.{key}={{depth: 3}}"])
