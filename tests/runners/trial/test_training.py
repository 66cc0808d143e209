"""One trial: it learns, repeats bit for bit, and goes on from where it was cut off."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners import data
from runners.errors import Diverged
from runners.plan import Config, Trial, load
from runners.store import Epoch, Result, Store
from runners.train import main
from runners.trial.run import run
from runners.trial.schedule import learning_rate
from runners.trial.training import Training, train

pytestmark = pytest.mark.slow

SHORT = {"epochs": 3, "lr": 0.1, "batch_size": 32, "schedule": "cosine", "warmup": 0.15}
TRIAL = Trial("s", "S+C", Config("resnet20", "synthetic", "scconv", **SHORT), 0)


def weights(store: Store, trial: Trial) -> dict:
    return torch.load(store.folder(trial.id) / "weights.pt", weights_only=True)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_and_ends_with_a_result():
    *epochs, result = train(
        Trial("s", "R20", Config("resnet20", "synthetic", epochs=8, batch_size=32), 0),
        data.load("synthetic"),
    )
    assert [e.epoch for e in epochs] == [*range(1, 9)] and isinstance(result, Result)
    assert epochs[-1].train_loss < epochs[0].train_loss / 2 and result.test_top1 > 50
    assert bin(int(result.correct, 16)).count("1") == round(result.test_top1 * 160 / 100)
    assert result.test_top5 >= result.test_top1 and result.params == 272_474 and result.swapped == 0


def test_trials_of_a_seed_see_the_same_data_and_start_alike():
    """The block of the analysis: initial weights that both variants have, and batches, are the
    seed's alone.
    """
    synthetic = data.load("synthetic")
    a, b = (
        Training(replace(TRIAL, config=replace(TRIAL.config, conv=c)), synthetic)
        for c in ("standard", "scconv")
    )
    shared = [k for k in a.model.state_dict() if "conv2" not in k]
    assert len(shared) > 60 and all(
        torch.equal(a.model.state_dict()[k], b.model.state_dict()[k]) for k in shared
    )
    other = Training(replace(TRIAL, seed=1), synthetic)
    assert not torch.equal(
        other.model.state_dict()["stem.0.weight"], b.model.state_dict()["stem.0.weight"]
    )


@pytest.mark.parametrize("conv", ["standard", "scconv"])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(conv, tmp_path):
    trial = replace(TRIAL, config=replace(TRIAL.config, conv=conv))
    undisturbed, disturbed = Store(tmp_path / "a"), Store(tmp_path / "b")
    assert [len(e) for e in run(trial, undisturbed, device="cpu")] == [1, 1, 1]
    for stop in range(2):  # after the first epoch, and after the second
        torch.rand(7)  # whatever else happens in the process must not matter
        epochs = run(trial, disturbed, device="cpu")
        for _ in range(1 + bool(stop)):
            next(epochs)
        epochs.close()
    assert [[e.epoch for e in rows] for rows in run(trial, disturbed, device="cpu")] == [
        [1, 2],
        [3],
    ]
    assert same(weights(undisturbed, trial), weights(disturbed, trial))
    a, b = undisturbed.record(trial.id), disturbed.record(trial.id)
    assert a.result.correct == b.result.correct and [e.val_loss for e in a.epochs] == [
        e.val_loss for e in b.epochs
    ]
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("checkpoint.pt"))


def test_an_ended_trial_is_not_trained_again(tmp_path):
    store = Store(tmp_path)
    list(run(TRIAL, store, device="cpu"))
    before = (store.folder(TRIAL.id) / "weights.pt").stat().st_mtime_ns
    assert [[e.epoch for e in rows] for rows in run(TRIAL, store, device="cpu")] == [[1, 2, 3]]
    assert (store.folder(TRIAL.id) / "weights.pt").stat().st_mtime_ns == before


def test_a_damaged_checkpoint_is_set_aside(tmp_path, capsys):
    store = Store(tmp_path)
    next(epochs := run(TRIAL, store, device="cpu"))
    epochs.close()
    checkpoint = store.folder(TRIAL.id) / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-2000])
    assert [[e.epoch for e in rows] for rows in run(TRIAL, store, device="cpu")] == [[1], [2], [3]]
    assert "damaged" in capsys.readouterr().out and checkpoint.with_suffix(".damaged").exists()


@pytest.mark.parametrize("harm", ["cut", "flipped", "both"])
def test_a_damaged_checkpoint_costs_the_epochs_since_the_one_before(harm, tmp_path, capsys):
    whole, store = Store(tmp_path / "whole"), Store(tmp_path / "harmed")
    list(run(TRIAL, whole, device="cpu"))
    epochs = run(TRIAL, store, device="cpu")
    first, _ = next(epochs), next(epochs)
    epochs.close()
    last, before = (
        store.folder(TRIAL.id) / "checkpoint.pt",
        store.folder(TRIAL.id) / "checkpoint.before.pt",
    )
    for path in (last, before) if harm == "both" else (last,):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content if harm == "flipped" else content[:-2000])
    seen = list(run(TRIAL, store, device="cpu"))
    assert [[e.epoch for e in rows] for rows in seen] == [[1], [2], [3]]
    assert (seen[0] == first) == (
        harm != "both"
    )  # epoch 1 is the one that was trained before, or another
    assert "damaged" in capsys.readouterr().out and last.with_suffix(".damaged").exists()
    a, b = (
        torch.load(s.folder(TRIAL.id) / "weights.pt", weights_only=True) for s in (whole, store)
    )
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not list((tmp_path / "harmed").rglob("checkpoint*.pt"))


def test_a_loss_that_is_not_finite_ends_the_trial_with_its_epoch(tmp_path):
    trial = replace(TRIAL, config=replace(TRIAL.config, lr=1e20, momentum=0.0, warmup=0.0))
    with pytest.raises(Diverged, match=r"the training loss was (nan|inf) in epoch 1"):
        list(train(trial, data.load("synthetic")))
    store = Store(tmp_path)
    list(run(trial, store, device="cpu"))
    record = store.record(trial.id)
    assert record.status == "diverged" and "epoch 1" in record.reason and record.result is None


def test_without_a_validation_split_nothing_is_held_out():
    *epochs, _ = train(
        replace(TRIAL, config=replace(TRIAL.config, val_fraction=0.0, epochs=1)),
        data.load("synthetic"),
    )
    assert epochs[0].val_score is None and epochs[0].val_loss is None


def test_the_test_set_is_read_once_after_the_last_epoch(monkeypatch):
    seen = []
    evaluate = Training._evaluate
    monkeypatch.setattr(
        Training,
        "_evaluate",
        lambda self, split: seen.append(split is self.data.test) or evaluate(self, split),
    )
    list(train(TRIAL, data.load("synthetic")))
    assert seen == [False, False, False, True]


def test_bf16_and_compile_are_not_refused_on_a_cpu():
    *_, result = train(
        replace(TRIAL, config=replace(TRIAL.config, precision="bf16", epochs=1)),
        data.load("synthetic"),
    )
    assert math.isfinite(result.test_top1)


@pytest.mark.parametrize(
    "progress, factor",
    [(0, 1), (0.4999, 1), (0.5, 0.1), (0.7499, 0.1), (0.75, 0.01), (0.999, 0.01)],
)
def test_the_papers_schedule(progress, factor):
    assert learning_rate(Config("resnet20", "digits"), progress) == pytest.approx(0.05 * factor)


def test_cosine_with_warm_up_rises_then_falls_to_zero():
    config = Config("resnet20", "digits", lr=0.1, schedule="cosine", warmup=0.2)
    assert [round(learning_rate(config, p), 4) for p in (0, 0.1, 0.2, 0.6, 1)] == [
        0,
        0.05,
        0.1,
        0.05,
        0,
    ]


def test_the_command_needs_neither_ray_nor_mlflow(write_sweep, tmp_path):
    code = (
        "import sys\nfor name in ('ray', 'mlflow', 'rich', 'matplotlib'): sys.modules[name] = "
        "None\n"
        "from runners.train import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        str(write_sweep()),
        "--variant",
        "S+C",
        "--storage",
        str(tmp_path / "runs"),
        "--threads",
        "1",
    ]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2: loss" in done.stdout and "S+C seed0: test top-1" in done.stdout
    record = Store(tmp_path / "runs").record(
        next(
            t.id for t in load(tmp_path / "tiny.yaml").trials if t.variant == "S+C" and t.seed == 0
        )
    )
    assert (
        record.status == "finished"
        and isinstance(record.epochs[0], Epoch)
        and record.provenance["data"] == data.load("synthetic").digest
    )


@pytest.mark.parametrize("options, threads", [((), 2), (("--threads", "1"), 1)])
def test_by_hand_a_trial_has_the_sweeps_threads_and_so_its_figures(
    options, threads, write_sweep, tmp_path
):
    path, store = write_sweep(resources={"gpu": 0, "cpu": 2}), Store(tmp_path / "runs")
    before = torch.get_num_threads()
    try:
        assert main([str(path), "--variant", "R20", "--storage", str(store.root), *options]) == 0
    finally:
        torch.set_num_threads(before)
    assert store.record(load(path).trials[0].id).provenance["threads"] == threads


def test_the_command_says_what_is_wrong(write_sweep, tmp_path, capsys):
    assert main([str(write_sweep()), "--variant", "S", "--storage", str(tmp_path / "runs")]) == 2
    assert "no variant is called 'S'" in capsys.readouterr().err
    assert (
        main(
            [
                str(write_sweep(base={"backbone": "resnet21"})),
                "--variant",
                "R20",
                "--storage",
                str(tmp_path / "runs"),
            ]
        )
        == 2
    )
    assert (
        "unknown backbone 'resnet21'" in capsys.readouterr().err
        and not (tmp_path / "runs").exists()
    )
    assert (
        main(
            [
                str(write_sweep()),
                "--variant",
                "R20",
                "--storage",
                str(tmp_path / "runs"),
                "--device",
                "cuda:77",
            ]
        )
        == 2
    )
    assert "--device cuda:77: " in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "bf16"}, {"precision": "fp16"}, {"precision": "fp32"}, {"compile": True}],
)
def test_on_a_gpu(options, tmp_path):
    trial = replace(TRIAL, config=replace(TRIAL.config, **options))
    store = Store(tmp_path)
    next(epochs := run(trial, store, device="cuda"))
    epochs.close()
    assert [[e.epoch for e in rows] for rows in run(trial, store, device="cuda")] == [[1], [2], [3]]
    record = store.record(trial.id)
    assert (
        record.status == "finished"
        and record.result.peak_memory_gb > 0
        and record.epochs[-1].train_loss < record.epochs[0].train_loss
    )
