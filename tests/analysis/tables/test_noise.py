"""The report's noise floor, and the trials that took more than one attempt."""

from dataclasses import replace

import pytest

from analysis import report, tables
from analysis.tables.noise import noise_floor
from runners.plan import load
from runners.store import Store
from tests import records
from tests.analysis.tables.test_table import fill

SCORES = {"R20": [70.0, 72.5, 71.25], "P": [71.25, 72.5, 70.0], "S+C": [66.25, 67.5, 67.5]}
VARIANTS = {"R20": {}, "P": {"conv": "placebo"}, "S+C": {"conv": "scconv"}}


@pytest.fixture
def read(write_sweep, tmp_path):
    def table(scores=SCORES, **changes):
        sweep = load(
            write_sweep(variants=VARIANTS, seeds=3) if not changes else write_sweep(**changes)
        )
        return tables.read(sweep, fill(Store(tmp_path / "runs"), sweep, scores))

    return table


def test_the_placebos_difference_stands_beside_the_largest(read):
    table = read()
    d = table.rows[1].difference
    assert noise_floor(table) == [
        "Noise floor: P is the network of R20 with other first weights, and differs from it by "
        f"{d.mean:+.2f} points (95 % {d.low:+.2f} to {d.high:+.2f}); "
        "the largest difference seen is that of S+C, -4.17."
    ]
    assert d.mean == 0 and noise_floor(table)[0] in report.text(table)


def test_without_an_interval_it_is_said_so(read):
    one = {name: values[:1] for name, values in SCORES.items()}
    assert "by +1.25 points (no interval); the largest" in noise_floor(read(one))[0]


def test_no_placebo_no_floor(read):
    assert noise_floor(read({v: SCORES[v] for v in ("R20", "S+C")} | {"P": [None] * 3})) == []
    other = VARIANTS | {"P": {"conv": "placebo", "lr": 0.02}}
    assert noise_floor(read(variants=other, seeds=3)) == []


def test_trials_that_took_more_than_one_attempt_are_named(read, tmp_path):
    table = read(SCORES | {"P": [71.25, None, 70.0]})
    assert "attempt" not in report.text(table)
    store = Store(tmp_path / "runs")
    for trial in table.sweep.trials:
        if trial.seed == 1:
            record, attempts = store.record(trial.id), 3 if trial.variant == "P" else 2
            evidence = record.provenance | {"attempts": attempts}
            records.overwrite(store, replace(record, provenance=evidence))
    table = tables.read(table.sweep, store)
    line = "Trials that took more than one attempt: R20 seed 1 (2), P seed 1 (3), S+C seed 1 (2)."
    assert line in tables.footer(table)
