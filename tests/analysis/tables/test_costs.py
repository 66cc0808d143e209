"""The columns of what a variant costs: counts that earlier records lack, and a report's figures."""

import pytest

from analysis.tables import variants
from analysis.tables.table import read
from runners.plan import load
from runners.store import Store
from tests import records

LATER = {"layers": 20, "spatial": 19, "calflops": 2_000_000, "train_mib": 12.34}


def cost_table(write_sweep, tmp_path, costs: dict, **changes):
    sweep = load(write_sweep(**changes))
    store = Store(tmp_path / "runs")
    for trial in sweep.trials:
        store.commit(records.record(trial, result=records.result(**costs)))
    grid = variants.cost(read(sweep, store))
    return [dict(zip(grid.headers, line, strict=True)) for line in grid.lines]


def test_earlier_records_show_what_they_have(write_sweep, tmp_path):
    rows = cost_table(write_sweep, tmp_path, {})
    assert "calflops G @ batch" not in rows[0] and "train MiB" not in rows[0]


def test_depth_memory_and_calflops(write_sweep, tmp_path):
    row = cost_table(write_sweep, tmp_path, LATER, base={"batch_size": 32})[0]
    assert row["layers"] == "20 (19)" and row["train MiB"] == "12.3"
    assert row["calflops G @ batch"] == "0.064 @ 32"


def test_the_part_of_a_gpus_peak_is_shown_where_it_is_known(write_sweep, tmp_path):
    row = cost_table(write_sweep, tmp_path, {"mfu": 0.314})[0]
    assert row["MFU"] == "31%"
    assert "MFU" not in cost_table(write_sweep, tmp_path / "other", {})[0]


@pytest.mark.parametrize(
    "name, memory, calflops", [("R20", "3096", "70.1987"), ("v1", "1998", "46.0907")]
)
def test_a_reports_figures_stand_beside(name, memory, calflops, write_sweep, tmp_path):
    changes = {"reference": "shallow", "variants": {"R20": {}, "v1": {"backbone": "shallow"}}}
    rows = cost_table(write_sweep, tmp_path, LATER, **changes)
    row = next(row for row in rows if row["variant"] == name)
    assert (row["printed memory MB"], row["printed calflops G"]) == (memory, calflops)
