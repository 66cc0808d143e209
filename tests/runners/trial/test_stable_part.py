"""Warm-up, stable, decay: the rate, and a longer training that goes on from a shorter one."""

from dataclasses import replace

import pytest
import torch

from analysis import tables
from runners import estimate
from runners.errors import SweepError
from runners.plan import Config, Trial, load
from runners.search.searching import open_studies
from runners.store import Store
from runners.trial.networks import networks
from runners.trial.run import run
from runners.trial.schedule import rate
from tests import records

SEARCH = {"mode": "screen", "space": {}, "trials": 2}
WSD = {"schedule": "wsd", "warmup_epochs": 0.5, "decay_fraction": 0.5}
SHORT = Trial(
    "s", "R20", Config("resnet20", "synthetic", epochs=2, batch_size=32, lr=0.1, **WSD), 0,
    keep_stable=True,
)  # fmt: skip
LONG = replace(SHORT, config=replace(SHORT.config, epochs=4))


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Store:
    """A store with the long trial, trained from its beginning."""
    store = Store(tmp_path_factory.mktemp("alone"))
    list(run(LONG, store, device="cpu"))
    return store


@pytest.fixture
def after(tmp_path) -> Store:
    """A store with the short trial."""
    store = Store(tmp_path)
    list(run(SHORT, store, device="cpu"))
    return store


def test_the_rate_rises_stays_and_falls_to_zero():
    config = Config("resnet20", "digits", epochs=10, lr=0.1, schedule="wsd", warmup_epochs=2)
    assert config.stable_epochs == 8
    # of 4 steps an epoch; the decay is 1 - sqrt of its part
    steps = {0: 0, 4: 0.05, 8: 0.1, 32: 0.1, 34: 0.05, 40: 0}
    assert {s: round(rate(config, s, 4), 9) for s in steps} == steps


@pytest.mark.parametrize("epochs", [3, 7, 30, 61])
def test_the_stable_part_has_the_same_rates_whatever_follows(epochs):
    """To the last bit, also where an epoch's steps do not divide evenly."""
    config = replace(SHORT.config, epochs=epochs, warmup_epochs=1.0, decay_fraction=0.3)
    longer = replace(config, epochs=2 * epochs)
    assert 0 < config.stable_epochs < longer.stable_epochs
    for step in range(7 * config.stable_epochs):
        assert rate(config, step + 0.5, 7) == rate(longer, step + 0.5, 7)


def test_trials_share_a_stable_part_where_nothing_but_the_length_differs():
    other = replace(LONG.config, decay_fraction=0.25)
    assert SHORT.id != LONG.id
    assert SHORT.stable_id == LONG.stable_id == replace(LONG, config=other).stable_id
    different = [
        replace(SHORT, seed=1),
        *(replace(SHORT, config=replace(SHORT.config, **change))
          for change in ({"lr": 0.2}, {"warmup_epochs": 1.0}, {"conv": "scconv"})),
    ]  # fmt: skip
    assert len({t.stable_id for t in (SHORT, *different)}) == 5
    assert replace(SHORT, config=replace(SHORT.config, schedule="cosine")).stable_id == ""


def test_the_longer_training_goes_on_and_ends_as_one_from_the_beginning(alone, after, capsys):
    assert after.stable_epochs(LONG) == 1
    first, *rest = run(LONG, after, device="cpu")
    assert [e.epoch for e in first] == [1] and len(rest) == 3
    said = f"goes on from the stable part of trial {SHORT.id} after epoch 1"
    assert said in capsys.readouterr().out
    a, b = alone.record(LONG.id), after.record(LONG.id)
    assert b.result.correct == a.result.correct and b.result.scores == a.result.scores
    assert [e.train for e in b.epochs] == [e.train for e in a.epochs]
    mine, theirs = after.weights(b), alone.weights(a)
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)
    assert b.provenance["stable_part"] == f"{SHORT.id} after epoch 1"
    assert "stable_part" not in a.provenance | after.record(SHORT.id).provenance


def test_the_record_says_so_after_an_interruption_too(after):
    training = run(LONG, after, device="cpu")
    next(training), next(training)
    training.close()
    assert [len(epochs) for epochs in run(LONG, after, device="cpu")] == [2, 1, 1]
    assert after.record(LONG.id).provenance["stable_part"] == f"{SHORT.id} after epoch 1"


HARMS = (
    *("removed", "damaged", "cut off", "not asked for", "other layers"),
    *("other images", "other precision", "other device"),
)


@pytest.mark.parametrize("harm", HARMS)
def test_what_cannot_be_used_costs_no_more_than_training_from_the_beginning(
    harm, alone, after, tmp_path
):
    path = after.folder(SHORT.id) / "stable.pt"
    content = path.read_bytes()
    if harm == "removed":
        with after.hold(SHORT.id):
            after.remove(SHORT.id)
    if harm == "damaged":
        path.write_bytes(content[:500] + b"x" + content[501:])
    if harm == "cut off":
        path.write_bytes(b"")
    if harm.startswith("other "):
        state, epochs, _ = next(after.stable_parts(LONG))
        other = {
            "images": {"data": "0" * 16},
            "precision": {"made": state["made"] | {"precision": "bf16"}},
            "device": {"made": state["made"] | {"device": "cuda"}},
            "layers": {"model": {f"x.{k}": v for k, v in state["model"].items()}},
        }
        after.keep_stable(SHORT, state | other[harm.removeprefix("other ")], epochs)
    if harm == "not asked for":
        after = Store(tmp_path / "b")
        list(run(replace(SHORT, keep_stable=False), after, device="cpu"))
        assert after.stable_epochs(LONG) == 0
    list(run(LONG, after, device="cpu"))
    record = after.record(LONG.id)
    assert record.result.correct == alone.record(LONG.id).result.correct
    assert "stable_part" not in record.provenance


def test_of_several_the_longest_that_fits_is_taken(alone, after):
    longer = replace(LONG, config=replace(LONG.config, decay_fraction=0.25))
    list(run(longer, after, device="cpu"))
    third = replace(LONG, config=replace(LONG.config, epochs=8))
    found = [(len(epochs), trial_id) for _, epochs, trial_id in after.stable_parts(third)]
    assert found == [(3, longer.id), (1, SHORT.id)] and after.stable_epochs(third) == 3
    state, epochs, _ = next(after.stable_parts(third))
    after.keep_stable(longer, state | {"data": "0" * 16}, epochs)
    next(run(third, after, device="cpu"))
    (after.folder(longer.id) / "stable.pt").unlink()
    list(run(LONG, after, device="cpu"))
    assert after.record(LONG.id).provenance["stable_part"] == f"{SHORT.id} after epoch 1"


def test_it_is_kept_too_by_a_trial_that_stood_there_when_it_was_asked_for(tmp_path):
    store = Store(tmp_path)
    training = run(replace(SHORT, keep_stable=False), store, device="cpu")
    next(training)
    training.close()
    assert store.stable_epochs(LONG) == 0
    list(run(SHORT, store, device="cpu"))
    assert store.stable_epochs(LONG) == 1


@pytest.mark.parametrize("cut_off", ["before its name", "after it was removed"])
def test_a_kill_while_it_is_kept_and_a_removed_trial_do_not_lose_it(cut_off, after):
    (name,) = after.files.listing(f"stable/{SHORT.stable_id}")
    key = f"trials/{SHORT.id}/stable.pt"
    after.files.delete(name if cut_off == "before its name" else key)
    assert not after.keeps_stable(SHORT) and after.stable_epochs(LONG) == 0
    with after.hold(SHORT.id):
        after.remove(SHORT.id)
    list(run(SHORT, after, device="cpu"))
    assert after.keeps_stable(SHORT) and after.stable_epochs(LONG) == 1


def test_a_layer_that_changes_with_the_whole_training_shares_nothing(tmp_path):
    store = Store(tmp_path)
    for trial in (SHORT, LONG):
        dynamic = replace(trial, config=replace(trial.config, stem="dynamic"))
        list(run(dynamic, store, device="cpu"))
        assert "stable_part" not in store.record(dynamic.id).provenance
    assert store.stable_epochs(dynamic) == 0


def test_the_plan_counts_what_is_left_and_the_table_names_what_went_on(
    write_sweep, tmp_path, monkeypatch
):
    base = {"lr": 0.1, "batch_size": 32, "recipe": "paper", **WSD}
    short, long = (
        load(
            write_sweep(base=base, resources={"cpu": 1, "gpu": 0, "keep_stable": True}, seeds=1),
            [f"base.epochs={epochs}"],
        )
        for epochs in (2, 4)
    )
    store = Store(tmp_path / "runs")
    for trial in short.trials:
        list(run(trial, store, device="cpu"))
    monkeypatch.setattr(estimate, "_measured", lambda *_: dict.fromkeys(long.variants, 10.0))
    monkeypatch.setattr(estimate, "_relative", lambda *_: {})
    measures = networks(long)
    found = estimate.estimate(long, store, "", measures, long.trials, {}, measure=True)
    assert found.trials == [30.0, 30.0] and found.whole == [40.0, 40.0]

    for trial in long.trials:
        list(run(trial, store, device="cpu"))
    said = "Trials that went on from the stable part of a shorter training of the same seed"
    assert f"{said}: R20 seed 0, S+C seed 0." in tables.footer(tables.read(long, store))
    record = store.record(long.trials[0].id)
    evidence = record.provenance | {"stable_part_commit": "beef"}
    records.overwrite(store, replace(record, provenance=evidence))
    named = "R20 seed 0, S+C seed 0; that part was trained by commit beef."
    assert f"{said}: {named}" in tables.footer(tables.read(long, store))


def test_a_find_that_could_not_be_compared_is_not_trained(write_sweep, tmp_path):
    """The comparison has its own epochs: every setting has to go with those as well."""
    space = {"decay_fraction": [0.2, 0.8], "warmup_epochs": [1, 4]}
    search = SEARCH | {"space": space, "base": {"epochs": 20}, "trials": 3, "sampler": "grid"}
    base = {"schedule": "wsd", "epochs": 5, "warmup_epochs": 1}
    sweep = load(write_sweep(base=base, search=search))
    study = open_studies(sweep, Store(tmp_path), cost=lambda config, own: {"macs_m": 1.0})[0]
    asked = [study.next() for _ in range(4)]
    (refused,) = [p for p in asked if p.why]
    assert (refused.cell["decay_fraction"], refused.cell["warmup_epochs"]) == (0.8, 4)
    assert "the warm-up must end before the decay" in refused.why


def test_a_file_asks_for_it_and_nothing_is_without_effect(write_sweep):
    sweep = load(write_sweep(base={"schedule": "wsd", "epochs": 10, "recipe": "short"}))
    (config, *_) = sweep.variants.values()
    assert (config.warmup, config.warmup_epochs, config.stable_epochs) == (0, 1, 8)
    assert not sweep.trials[0].keep_stable
    base = {"schedule": "wsd", "epochs": 10, "recipe": "short"}
    kept = load(write_sweep(base=base, resources={"keep_stable": True}))
    assert kept.trials[0].keep_stable and kept.trials[0].id == sweep.trials[0].id


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"base": {"schedule": "wsd", "warmup": 0.1}},
            "base.warmup: wsd has warmup_epochs and decay_fraction instead, and base.schedule is",
        ),
        (
            {"variants": {"R20": {}, "x": {"schedule": "wsd", "milestones": [0.5]}}},
            "variants.x.milestones: wsd has",
        ),
        ({"base": {"warmup_epochs": 5}}, "base.warmup_epochs: is of schedule: wsd, which no"),
        ({"base": {"decay_fraction": 0.1}}, "base.decay_fraction: is of schedule: wsd, which no"),
        (
            {"variants": {"R20": {}, "x": {"decay_fraction": 0.1}}},
            "variants.x.decay_fraction: is of schedule: wsd, and the schedule of recipe short is",
        ),
        ({"resources": {"keep_stable": True}}, "resources.keep_stable: is of schedule: wsd, which"),
        (
            {"base": {"warmup_epochs": 3}, "search": SEARCH | {"space": {"lr": [0.1, 0.2]}}},
            "base.warmup_epochs: is of schedule: wsd, which no variant has",
        ),
        (
            {"base": {"recipe": "short"}, "variants": {"R20": {}, "x": {"warmup_epochs": 2}}},
            "variants.x.warmup_epochs: is of schedule: wsd, and the schedule of recipe short is",
        ),
        (
            {"base": {"schedule": "wsd", "epochs": 5, "warmup_epochs": 4.5}},
            "base.warmup_epochs: the warm-up must end before the decay; it takes 4.5 epochs, and "
            "of 5 the decay begins after 4",
        ),
        (
            {"base": {"schedule": "wsd", "epochs": 1}},
            "the warm-up must end before the decay; it takes 1 epochs, and of 1",
        ),
        (
            {"base": {"schedule": "wsd", "epochs": 9, "early_stop": {"patience": 2}}},
            "an annealing that is cut off is another protocol, and schedule is wsd",
        ),
    ],
)
def test_a_schedule_with_another_ones_settings_is_refused(write_sweep, changes, said):
    with pytest.raises(SweepError) as error:
        load(write_sweep(**changes))
    assert said in str(error.value)
