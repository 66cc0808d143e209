"""How many trials train at a time is found by measuring, on made-up devices and on this machine."""

import contextlib
import json
from dataclasses import replace

import pytest

from runners import estimate, packing, sweep, train
from runners.errors import SweepError
from runners.plan import load
from runners.trial import pace
from runners.trial.measured import Measured

AUTO = {"gpu": "auto"}
MEASURED = pace._measured  # the fixture of all tests takes its place


class Machine:
    """Cores, GPUs of so many MiB, and how fast the networks train on it when they are packed."""

    def __init__(self, monkeypatch, tmp_path, *, cores=8, gpus=0, mib=80_000.0, together=None):
        self.asked: list[tuple[int, int, bool]] = []
        self.together = together or (lambda trials, threads: trials * threads * 100.0)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(packing, "cores", lambda: cores)
        monkeypatch.setattr(pace, "gpus", lambda: ["H100"] * gpus)
        monkeypatch.setattr(estimate, "gpu_mib", lambda: mib if gpus else None)
        monkeypatch.setattr(pace, "_measured", self.measured)

    def measured(self, networks, abreast, threads, gpu, together):
        if not networks:
            return {}
        self.asked.append((abreast, threads, gpu))
        rate = self.together(abreast, threads)
        return {network.key: rate / abreast for network in networks} if rate else {}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return lambda **settings: Machine(monkeypatch, tmp_path, **settings)


def sizes(found, mib: float = 100.0) -> dict[str, Measured]:
    return {name: Measured({"macs": 10 + n}, 0, "", mib) for n, name in enumerate(found.variants)}


def resolved(path, mib: float = 100.0, *, here: bool = True):
    found = load(path)
    return packing.resolved(found, sizes(found, mib), here=here)


def test_numbers_stay_as_they_are_written(write_sweep, machine):
    device = machine()
    for resources in ({}, {"gpu": 0.5}, {"gpu": 0, "cpu": 2}):
        found, said = resolved(write_sweep(resources=resources))
        assert found.resources.gpu == resources.get("gpu") and not said and not device.asked


def test_a_gpu_gets_as_many_trials_as_make_it_fastest(write_sweep, machine):
    """Two trials fill it; more gain nothing."""
    device = machine(gpus=2, cores=32, together=lambda n, _: min(1000.0 * n, 2000.0))
    found, said = resolved(write_sweep(resources=AUTO, seeds=20))
    assert device.asked == [(n, 1, True) for n in (1, 2, 4, 8)]
    assert found.resources.gpu == 0.5 and found.resources.cpu == 1
    assert said.startswith("packing: 2 trials at a time, of 1 thread each on each GPU: 2,000 im")
    assert "1 trial at a time, of 1 thread: 1,000; 4 trials" in said


def test_a_gain_within_noise_is_not_worth_more_trials(write_sweep, machine):
    machine(gpus=1, together=lambda n, _: 1000.0 + n)
    assert resolved(write_sweep(resources=AUTO, seeds=20))[0].resources.gpu == 1


@pytest.mark.parametrize(
    ("mib", "cores", "most"),
    [(100.0, 64, 8), (4000.0, 64, 4), (9000.0, 64, 2), (30_000.0, 64, 1), (100.0, 3, 2)],
)
def test_trials_that_do_not_fit_beside_each_other_are_not_tried(
    mib, cores, most, write_sweep, machine
):
    """By their memory, on a GPU of 20 GB, and by the machine's cores."""
    device = machine(gpus=1, cores=cores, mib=20_000.0)
    found, _ = resolved(write_sweep(resources=AUTO, seeds=20), mib)
    assert max(abreast for abreast, *_ in device.asked) == most
    assert found.resources.gpu == 1 / most


def test_what_runs_out_of_memory_while_it_is_measured_is_not_chosen(write_sweep, machine):
    machine(gpus=1, cores=64, together=lambda n, _: n * 1000.0 if n < 4 else 0.0)
    assert resolved(write_sweep(resources=AUTO, seeds=20))[0].resources.gpu == 0.5


def test_without_a_gpu_the_cores_are_split(write_sweep, machine):
    device = machine(cores=8, together=lambda n, threads: 100.0 * n * min(threads, 4) ** 1.1)
    found, said = resolved(write_sweep(resources=AUTO, seeds=20))
    assert [*device.asked] == [(1, 8, False), (2, 4, False), (4, 2, False), (8, 1, False)]
    assert (found.resources.gpu, found.resources.cpu, found.resources.threads) == (0, 4, 4)
    assert said.startswith("packing: 2 trials at a time, of 4 threads each: 919 images/s in all")


def test_few_trials_do_not_leave_cores_idle(write_sweep, machine):
    """Alone on eight cores, each would do best; two trials are over sooner with four threads."""
    machine(cores=8, together=lambda n, threads: 100.0 * n * threads**0.9)
    one = {"R20": {"conv": "standard"}, "S+C": {"conv": "scconv"}}
    few, many = (write_sweep(f"s{n}", variants=one, resources=AUTO, seeds=n) for n in (1, 20))
    assert resolved(few)[0].resources.threads == 4
    assert resolved(many)[0].resources.threads == 1


@pytest.mark.parametrize("cpu", [4, 0.5, 1.5])
def test_cores_that_are_written_are_kept(cpu, write_sweep, machine):
    device = machine(cores=8)
    found, said = resolved(write_sweep(resources=AUTO | {"cpu": cpu}))
    assert (found.resources.gpu, found.resources.cpu) == (0, cpu) and not device.asked
    assert said == f"packing: by resources.cpu: {cpu:g}"


def test_what_was_chosen_stays(write_sweep, machine):
    """A trial that is gone on with has the same threads, however the next measurement ends."""
    device = machine(cores=4, together=lambda n, _: 100.0 * n)
    path = write_sweep(resources=AUTO, seeds=9)
    first = resolved(path)
    device.together = lambda n, threads: 100.0 * threads
    device.asked.clear()
    again = resolved(path)
    assert (again[0].resources, again[1]) == (first[0].resources, first[1]) and not device.asked
    # with more seeds as well, and when its file is edited
    more = resolved(write_sweep(resources=AUTO, seeds=20, question="And now?"))
    assert more[0].resources == first[0].resources and not device.asked
    # another sweep is another choice, and so is one whose threads are written
    other = write_sweep("other", resources=AUTO, base={"batch_size": 16})
    assert resolved(other)[0].resources.threads == 4
    written = resolved(write_sweep(resources=AUTO | {"cpu": 2}, seeds=9))[0].resources
    assert (written.threads, written.cpu) == (2, 2)


@pytest.mark.parametrize(("gpus", "cpu"), [(0, 1), (1, 2)])
def test_what_could_not_be_measured_is_as_without_auto_and_tried_again(
    gpus, cpu, write_sweep, machine
):
    device = machine(gpus=gpus, together=lambda n, _: 0.0)
    path = write_sweep(resources=AUTO | {"cpu": cpu})
    found, said = resolved(path)
    assert (found.resources.gpu, found.resources.cpu) == (None, cpu)
    assert said.startswith("packing: nothing could be measured")
    device.together = lambda n, _: 100.0 * n
    assert resolved(path)[0].resources.gpu is not None


def test_a_compiled_variant_is_left_out_of_the_measurement(write_sweep, machine):
    device = machine(cores=4, together=lambda n, _: 100.0 * n)
    variants = {"R20": {}, "S+C": {"conv": "scconv", "compile": True}}
    found, _ = resolved(write_sweep(variants=variants, resources=AUTO, seeds=9))
    assert found.resources.threads == 1 and len(device.asked) == 3
    compiled = write_sweep("all", base={"compile": True}, resources=AUTO)
    assert resolved(compiled)[1].startswith("packing: nothing could be measured (`compile: true`")


def test_no_more_trials_are_tried_at_a_time_than_there_are(write_sweep, machine):
    device = machine(cores=128, together=lambda n, _: 100.0 * n)
    resolved(write_sweep(resources=AUTO, seeds=3))  # six trials
    assert max(n for n, *_ in device.asked) == 8
    resolved(write_sweep("large", resources=AUTO, seeds=99, base={"batch_size": 16}))
    assert max(n for n, *_ in device.asked) == 32


def test_a_gpus_trials_have_the_cores_that_are_written(write_sweep, machine):
    device = machine(gpus=1, cores=8)
    resolved(write_sweep(resources=AUTO | {"cpu": 2.5}, seeds=20))
    assert max(n for n, *_ in device.asked) == 2


@pytest.mark.parametrize(
    ("visible", "seen"),
    [(None, "ABC"), ("", ""), ("-1", ""), ("1", "B"), ("2,0", "CA"), ("0,-1,1", "A"), ("7", ""),
     ("GPU-1a,GPU-2b", "AB"), ("0,7,1", "A"), ("0,0", "A"), ("NoDevFiles", ""), ("none", "")],
)  # fmt: skip
def test_gpus_that_this_process_may_not_use_are_not_counted(visible, seen, monkeypatch, tmp_path):
    for n, name in enumerate("ABC"):
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / "information").write_text(f"Model: {name}\nIRQ: 1\n")
    monkeypatch.setattr(pace, "GPUS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [model[-1] for model in pace.gpus()] == [*seen]


def test_a_cluster_is_not_measured(write_sweep, machine):
    machine()
    with pytest.raises(SweepError, match=r"auto measures this machine.*resources\.gpu=0\.5"):
        resolved(write_sweep(resources=AUTO), here=False)


@pytest.mark.parametrize(
    ("value", "rule"),
    [("all", "a number or 'auto'"), (-1, "at least 0"), ([], "a number or 'auto'")],
)
def test_what_a_gpu_can_be_is_said(value, rule, write_sweep):
    with pytest.raises(SweepError, match=rf"resources\.gpu: must be {rule}"):
        load(write_sweep(resources={"gpu": value}))


def test_the_cheapest_the_dearest_and_one_between_are_measured(write_sweep, machine, monkeypatch):
    machine()
    seen = []
    monkeypatch.setattr(
        pace,
        "paces",
        lambda networks, *_, together: seen.append(len(networks)) or {n.key: 1.0 for n in networks},
    )
    rates = {f"v{n}": {"lr": n / 100} for n in range(1, 9)}
    resolved(write_sweep(baseline="v1", variants=rates, resources=AUTO))
    assert {*seen} == {3}


def test_the_command_and_a_single_trial_train_with_what_was_chosen(
    write_sweep, machine, monkeypatch, tmp_path, capsys
):
    machine(cores=2, together=lambda n, threads: 100.0 * threads**2)
    monkeypatch.chdir(tmp_path)
    path = write_sweep(resources=AUTO, seeds=2)
    started = []
    monkeypatch.setattr(
        "runners.phases.run", lambda found, *_: started.append(found.resources) or 0
    )
    monkeypatch.setattr("runners.launch.early.started", lambda _: contextlib.nullcontext())
    assert sweep.main([str(path)]) == 0
    assert "packing: 1 trial at a time, of 2 threads: 400 im" in capsys.readouterr().out
    assert [(r.share, r.threads) for r in started] == [(0, 2)]
    assert sweep.main([str(path), "--plan"]) == 0
    assert "1 trials at a time" in (out := capsys.readouterr().out) and out.startswith("packing")
    assert sweep.main([str(path), "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resources"] == {"gpu": 0, "cpu": 2}

    threads = []
    monkeypatch.setattr(train.torch, "set_num_threads", threads.append)
    assert train.main([str(path), "--variant", "R20"]) == 0
    assert threads[0] == 2


@pytest.mark.slow
def test_this_machine_is_measured_for_what_it_is(write_sweep, monkeypatch, tmp_path):
    """Nothing made up: whichever packing is chosen, it is the one with the most images a second."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packing, "cores", lambda: 2)
    monkeypatch.setattr(pace, "_measured", MEASURED)
    path = write_sweep(resources=AUTO, seeds=20)
    asked, paces = {}, pace.paces

    def noted(networks, trials, threads, gpu, **settings):
        found = paces(networks, trials, threads, gpu, **settings)
        asked[threads] = packing._together({n.key: found[n.key] for n in networks}, trials)
        return found

    monkeypatch.setattr(pace, "paces", noted)
    found, said = packing.resolved(loaded := load(path), sizes(loaded), here=True)
    assert {*asked} == {1, 2} and min(asked.values()) > 0
    best = 2 if asked[2] * packing.GAIN > asked[1] else 1
    assert found.resources == replace(loaded.resources, gpu=0.0, cpu=best), said
