"""Looking into finished trials: what is computed is what was recorded, and what cannot be looked at
is told in one line.
"""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import f1_score

from analysis.stats.redundancy import redundancy
from runners import data
from runners.errors import SweepError
from runners.inspect import feature_maps, main, predictions
from runners.plan import load
from runners.store import State, Store
from runners.trial.network import build
from runners.trial.run import run
from runners.trial.testing import likeliest
from tests import records

pytestmark = pytest.mark.slow

SWEEP = {
    "question": "Does it work?",
    "baseline": "R20",
    "base": {
        "backbone": "resnet20",
        "dataset": "synthetic",
        "recipe": "short",
        "epochs": 1,
        "batch_size": 32,
    },
    "variants": {
        "R20": {},
        "S & : C": {"conv": "scconv", "options": {"order": ["sru"]}},
        "Octave": {"conv": "octave"},
        "bf16": {"precision": "bf16"},
        "digits": {"dataset": "digits"},
        "new": {"conv": "scconv"},
    },
    "seeds": 2,
}
SRU = "S & : C"
TRAINED = [("R20", 0), ("R20", 1), (SRU, 0), (SRU, 1), ("Octave", 0), ("bf16", 0), ("digits", 0)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a sweep file, and the store of some of its trials."""
    folder = tmp_path_factory.mktemp("inspect")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    for trial in load(folder / "tiny.yaml").trials:
        if (trial.variant, trial.seed) in TRAINED:
            list(run(trial, Store(folder / "runs"), device="cpu"))
    return folder


@pytest.fixture
def inspect(home, tmp_path, monkeypatch):
    """inspect(*options) -> exit status of the command, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "runners.trial.trained.pick_device", lambda name: "cpu"
    )  # where the trials were trained

    def command(*options: str, storage=home / "runs") -> int:
        return main([str(home / "tiny.yaml"), "--storage", str(storage), *options])

    return command


@pytest.fixture
def copy(home, tmp_path):
    """A copy of the store, to be damaged."""
    shutil.copytree(home / "runs", tmp_path / "copy")
    return Store(tmp_path / "copy")


def trial(home, variant: str, seed: int = 0):
    return next(
        t for t in load(home / "tiny.yaml").trials if (t.variant, t.seed) == (variant, seed)
    )


@pytest.mark.parametrize("variant, seed", TRAINED)
def test_predictions_are_those_of_the_record(home, variant, seed):
    store, one = Store(home / "runs"), trial(home, variant, seed)
    truth, predicted = predictions(one, store, device="cpu")
    result, right = store.record(one.id).result, truth == predicted
    assert (
        truth.tolist() == data.load(one.config.dataset).test.labels.tolist()
        and predicted.shape == truth.shape
    )
    assert 100 * right.sum() / len(right) == result.test_top1
    assert np.packbits(right).tobytes().hex() == result.correct


def test_a_tie_is_broken_as_in_training(home, monkeypatch):
    """All logits are equal, as two of them often are in bf16."""
    one, store = trial(home, "R20"), Store(home / "runs")
    monkeypatch.setattr(
        "runners.trial.trained.Trained.run", lambda self, model, x: torch.zeros(len(x), 10)
    )
    _, predicted = predictions(one, store, device="cpu")
    assert {*predicted.tolist()} == {int(likeliest(torch.zeros(1, 10))[0, 0])}


def test_feature_maps_are_the_first_stages_output_in_eval_mode(home):
    store, one, synthetic = Store(home / "runs"), trial(home, SRU), data.load("synthetic")
    maps, images = feature_maps(one, store, None, 5, device="cpu")
    model, _ = build(one.config, 10)
    model.load_state_dict(torch.load(store.folder(one.id) / "weights.pt", weights_only=True))
    seen = []
    model.stages[0].register_forward_hook(lambda module, given, made: seen.append(made))
    with torch.no_grad():
        model.eval()(synthetic.normalise(synthetic.test.images[:5]))
    assert maps.shape == (5, 16, 8, 8) and maps.dtype == np.float32
    np.testing.assert_allclose(maps, seen[0].numpy(), rtol=1e-4, atol=1e-5)
    assert images.dtype == np.uint8 and np.array_equal(images, synthetic.test.images[:5].numpy())


def test_no_more_images_than_there_are(home):
    maps, images = feature_maps(trial(home, "R20"), Store(home / "runs"), None, 1000, device="cpu")
    assert len(maps) == len(images) == 160


def test_octaves_small_maps_are_doubled(home):
    maps, _ = feature_maps(trial(home, "Octave"), Store(home / "runs"), None, 2, device="cpu")
    assert maps.shape == (2, 16, 8, 8)
    low = maps[:, :8]
    assert np.array_equal(low, low[:, :, ::2, ::2].repeat(2, 2).repeat(2, 3)) and np.ptp(low) > 0
    assert not np.array_equal(maps, maps[:, :, ::2, ::2].repeat(2, 2).repeat(2, 3))


def test_the_precision_is_the_trainings(home):
    """What has passed through bfloat16 has its 8 bits; float32 maps have more."""
    store = Store(home / "runs")
    half, full = (
        torch.from_numpy(feature_maps(trial(home, v), store, None, 2, device="cpu")[0])
        for v in ("bf16", "R20")
    )
    assert torch.equal(half, half.bfloat16().float()) and not torch.equal(
        full, full.bfloat16().float()
    )


def test_the_command(home, inspect, tmp_path, capsys):
    assert inspect("--variant", SRU, "--against", "R20") == 0
    out, folder = capsys.readouterr().out, tmp_path / "results" / "tiny"
    names = [
        "classes-S_C.csv",
        "confusion-S_C.png",
        "confusion-S_C.svg",
        "features-R20-S_C.png",
        "features-R20-S_C.svg",
    ]
    # whose results the folder has is in a file of its own
    assert sorted(p.name for p in folder.iterdir()) == [".made-by.json", *names]
    assert all(f"results/tiny/{name}" in out for name in names)
    store = Store(home / "runs")
    f1 = [
        100 * f1_score(*predictions(trial(home, SRU, s), store), average="macro", zero_division=0)
        for s in (0, 1)
    ]
    assert (
        f"{SRU}: macro F1 {np.mean(f1):.2f} ± {np.std(f1, ddof=1):.2f} % (n=2); 160 test images of "
        "synthetic, 2 seeds (0, 1)" in out
    )
    values = {
        v: [redundancy(feature_maps(trial(home, v, s), store, None, 100)[0]) for s in (0, 1)]
        for v in (SRU, "R20")
    }
    for variant, pair in values.items():
        assert (
            f"{variant}: redundancy {np.mean(pair):.3f} ± {np.std(pair, ddof=1):.3f} (n=2)" in out
        )
    difference = np.subtract(values[SRU], values["R20"])
    assert (
        f"{SRU} - R20: redundancy {np.mean(difference):+.3f} ± {np.std(difference, ddof=1):.3f} "
        "(n=2), paired by seed" in out
    )
    assert "otherwise" not in out


@pytest.mark.parametrize("seed", [0, 1])
def test_the_picture_is_of_the_first_image_and_the_seed_asked_for(home, inspect, tmp_path, seed):
    assert inspect("--variant", SRU, "--against", "R20", "--seed", str(seed)) == 0
    drawn = (tmp_path / "results/tiny/features-R20-S_C.svg").read_text(encoding="utf-8")
    assert f"seed {seed}." in drawn and "(not picked)" in drawn
    assert drawn.index("R20 (all 16 channels)") < drawn.index(
        ": C (all 16 channels)"
    )  # the one that it is held against is left
    for variant in ("R20", SRU):
        maps, _ = feature_maps(trial(home, variant, seed), Store(home / "runs"), None, 1)
        assert f"redundancy {redundancy(maps):.3f} in this image" in drawn


def test_one_variant_alone_is_not_drawn_beside_anything(inspect, tmp_path, capsys):
    assert inspect("--variant", "R20", "--out", str(tmp_path / "here")) == 0
    assert {p.name for p in (tmp_path / "here").iterdir()} == {
        "classes-R20.csv",
        "confusion-R20.svg",
        "confusion-R20.png",
    }
    assert "R20: redundancy 0." in capsys.readouterr().out and not (tmp_path / "results").exists()


def test_the_seed_drawn_by_default_is_one_that_both_have(home, copy, inspect, tmp_path):
    (copy.folder(trial(home, "R20", 0).id) / "record.json").unlink()
    assert inspect("--variant", SRU, "--against", "R20", storage=copy.root) == 0
    assert "seed 1." in (tmp_path / "results/tiny/features-R20-S_C.svg").read_text()


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--variant", "R2"],
            r"tiny\.yaml: --variant: no variant is called 'R2': did you mean 'R20'\?",
        ),
        (
            ["--variant", "R20", "--against", "S"],
            r"--against: no variant is called 'S'; there are .*R20",
        ),
        (
            ["--variant", "new"],
            r"--variant new: no trial of it has finished in .*runs \(2 not finished\); run the "
            r"sweep first",
        ),
        (
            ["--variant", "R20", "--set", "base.lr=0.3"],
            r"--variant R20: no trial of it has finished in .* give the --set and --storage",
        ),
        (
            ["--variant", "Octave", "--against", "R20", "--seed", "1"],
            r"--seed: must be one that Octave and R20 have finished \(0\), got 1",
        ),
        (
            ["--variant", "digits", "--against", "R20"],
            r"--against: digits and R20 must have one data set",
        ),
        (["--variant", "R20", "--set", "base.epoch=1"], r"unknown key 'epoch'"),
    ],
)
def test_bad_input_is_one_line(inspect, tmp_path, capsys, options, message):
    assert inspect(*options) == 2
    error = capsys.readouterr().err
    assert (
        re.search(message, error) and error.count("\n") == 1 and not (tmp_path / "results").exists()
    )


STAGES = {
    "neither": "self.body = nn.Conv2d(3, 8, 3, 2, 1)",
    "a stem alone": "self.stem = self.body = nn.Conv2d(3, 8, 3, 2, 1)",
    "empty stages": "self.body = nn.Conv2d(3, 8, 3, 2, 1); self.stages = nn.Sequential()",
}
BACKBONE = """from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        {layers}
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def build(classes: int) -> nn.Module:
    return Net(classes)
"""


@pytest.mark.parametrize("case", STAGES)
def test_a_backbone_without_a_first_stage_has_its_classes_looked_at(
    case, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("runners.trial.trained.pick_device", lambda name: "cpu")
    (tmp_path / "mine.py").write_text(BACKBONE.format(layers=STAGES[case]))
    base = SWEEP["base"] | {"backbone": "mine"}
    sweep = SWEEP | {"base": base, "variants": {"R20": {}, "fast": {"lr": 0.3}}, "seeds": 1}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    for one in load(tmp_path / "own.yaml").trials:
        list(run(one, Store(tmp_path / "runs"), device="cpu"))

    assert main(["own.yaml", "--variant", "R20"]) == 0
    said = capsys.readouterr()
    assert "R20: macro F1" in said.out and said.err.count("\n") == 1
    assert "backbone 'mine': feature maps are those behind its `stem` and `stages[0]`" in said.err
    assert main(["own.yaml", "--variant", "R20", "--against", "fast"]) == 2
    assert "leave --against out" in capsys.readouterr().err


def test_no_seed_in_common(home, copy, inspect, capsys):
    (copy.folder(trial(home, "R20", 0).id) / "record.json").unlink()
    assert inspect("--variant", "Octave", "--against", "R20", storage=copy.root) == 2
    assert (
        "must have finished a seed in common, and have none; run the sweep further"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "options", [["--variant", "R20", "--seed", "0"], ["--variant", "R20", "--against", "R20"]]
)
def test_options_that_do_not_go_together(inspect, capsys, options):
    with pytest.raises(SystemExit) as stopped:
        inspect(*options)
    assert stopped.value.code == 2 and "--against" in capsys.readouterr().err


def test_weights_that_are_missing_damaged_or_of_another_network(home, copy, inspect, capsys):
    weights = copy.folder(trial(home, "R20", 1).id) / "weights.pt"
    whole = weights.read_bytes()
    for content in (
        whole[: len(whole) // 2],
        whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:],
        b"",
        b"not weights",
        (copy.folder(trial(home, SRU).id) / "weights.pt").read_bytes(),
    ):
        weights.write_bytes(content)
        assert inspect("--variant", "R20", storage=copy.root) == 2
        error = capsys.readouterr().err
        assert f"{weights}: these weights are damaged: its checksum" in error
        assert error.count("\n") == 1
    # a record of version 1 has no checksum of them
    records.overwrite(copy, replace(copy.record(trial(home, "R20", 1).id), weights_sha256=""))
    assert inspect("--variant", "R20", storage=copy.root) == 2
    error = capsys.readouterr().err
    assert "weights.pt: not the weights of R20 seed1 as this code builds it (" in error
    weights.unlink()
    assert inspect("--variant", "R20", storage=copy.root) == 2
    assert re.search(
        r"weights\.pt: the weights of R20 seed1 are missing; restore them",
        capsys.readouterr().err,
    )
    assert not (copy.root.parent / "results").exists()


def test_other_data_than_it_was_trained_on(home, copy, inspect, capsys):
    record = copy.record(trial(home, "R20").id)
    records.overwrite(copy, replace(record, provenance=record.provenance | {"data": "0123"}))
    assert inspect("--variant", "R20", storage=copy.root) == 2
    assert re.search(
        r"R20 seed0 was trained on synthetic with digest 0123, this is \w{16}; .* --data",
        capsys.readouterr().err,
    )


def test_an_unfinished_trial_is_refused(home, copy):
    record = copy.record(trial(home, "R20").id)
    records.overwrite(copy, replace(record, status=State.DIVERGED, result=None))
    with pytest.raises(
        SweepError, match="R20 seed0 is diverged: only a finished trial can be inspected"
    ):
        predictions(trial(home, "R20"), copy)
    with pytest.raises(SweepError, match="new seed0 is not finished: only a finished trial"):
        feature_maps(trial(home, "new"), copy, None, 1)


def test_predictions_that_are_not_the_records_are_told(home, copy, inspect, capsys):
    record = copy.record(trial(home, "R20").id)
    result = record.result
    # some of the first four images
    flip = "0" if result.correct[0] != "0" else "8"
    correct = flip + result.correct[1:]
    top1 = 100 * int(correct, 16).bit_count() / 160
    other = replace(result, correct=correct, scores=result.scores | {"top1": top1})
    records.overwrite(copy, replace(record, result=other))
    assert inspect("--variant", "R20", storage=copy.root) == 0
    assert re.search(
        r"R20 seed0: [1-4] of 160 test images come out otherwise than in its record \(top-1 ",
        capsys.readouterr().out,
    )
