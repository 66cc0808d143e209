"""What is wrong with the data is known before anything is trained, its repair costs no training, and
no trial of other data is taken for one of these.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from runners import sweep as command
from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from runners.train import main as train
from runners.trial import datasets
from runners.trial.run import run

BACKBONE = """from torch import nn


def build(classes: int) -> nn.Module:
    conv = nn.Conv2d(3, 8, 3, 8, 1)
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""
PATHS = """SIZE = 32


def load(root):
    halves = []
    for half in ("train", "val"):
        files = sorted((root / half).glob("*/*"))
        halves += [[str(f) for f in files], [int(f.parent.name == "dog") for f in files]]
    return halves
"""
ARRAYS = """import numpy as np

PAD = 1


def load(root):
    kept = np.load(root / "pixels.npz")
    return [kept[name] for name in ("train", "train_labels", "test", "test_labels")]
"""


def picture(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def fill(folder, seed=0):
    """A folder of images, and the same as arrays."""
    for half, n in (("train", 6), ("val", 2)):
        for c in ("cat", "dog"):
            for i in range(n):
                picture(folder / half / c / f"{i}.png", [seed, n, i, c == "dog"])
    random = np.random.default_rng(seed)
    arrays = {}
    for half, n in (("train", 24), ("test", 8)):
        arrays[half] = random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        arrays[f"{half}_labels"] = np.arange(n) % 2
    np.savez(folder / "pixels.npz", **arrays)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch, write_sweep):
    """project(data set) -> its sweep file; the data is in the folder `data`."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "data")
    for name, code in (("small", BACKBONE), ("paths", PATHS), ("arrays", ARRAYS)):
        (tmp_path / f"{name}.py").write_text(code)

    def write(dataset, **base):
        base = {
            "backbone": "small",
            "dataset": dataset,
            "batch_size": 4,
            "val_fraction": 0.25,
        } | base
        return write_sweep(base=base, variants={"R20": {}}, seeds=1)

    return write


def planned(path, root="data"):
    return datasets.identified(load(path), Store("runs"), root)


def ids(path, root="data"):
    return [trial.id for trial in planned(path, root).trials]


def trained(path, epochs=2):
    """Train its first trial for so many epochs, as the command does."""
    sweep, store = planned(path), Store("runs")
    datasets.check(sweep, store, "data")
    datasets.remember(sweep, store)
    trial = sweep.trials[0]
    done = []
    training = run(replace(trial, sweep=sweep.name), store, "data", "cpu")
    for epoch in training:
        done += epoch
        if len(done) == epochs < trial.config.epochs:
            break
    training.close()
    return done


CUT = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "empty": lambda path: path.write_bytes(b""),
    "a pointer": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
    "gone": lambda path: (path.unlink(), path.symlink_to("nowhere.png")),
}


@pytest.mark.parametrize("harm", CUT)
@pytest.mark.parametrize("dataset", ["imagenet", "paths"])
def test_a_damaged_test_image_is_named_before_anything_is_trained(
    harm, dataset, project, capsys, monkeypatch
):
    monkeypatch.setattr("runners.launch.start.run_on_ray", lambda *_, **__: pytest.fail("launched"))
    path = project(dataset)
    CUT[harm](command.Path("data/val/dog/1.png"))
    for options in (["--plan"], []):
        assert command.main([str(path), "--data", "data", *options]) == 2
        said = capsys.readouterr().err
        assert "data/val/dog/1.png" in said and said.count("\n") == 1
    assert train([str(path), "--variant", "R20", "--data", "data"]) == 2
    assert "data/val/dog/1.png" in capsys.readouterr().err
    assert not list(Store("runs").root.glob("trials/*/*"))


@pytest.mark.parametrize(
    "harm, dataset", [("cut off", "imagenet"), ("a pointer", "imagenet"), ("gone", "paths")]
)
def test_its_repair_costs_no_training(harm, dataset, project):
    path = project(dataset)
    assert [e.epoch for e in trained(path, epochs=1)] == [1]
    before, image = ids(path), command.Path("data/val/dog/1.png")
    CUT[harm](image)
    with pytest.raises(ValueError, match=r"val/dog/1\.png"):
        trained(path)
    image.unlink()
    picture(image, 99)
    assert ids(path) == before
    assert [e.epoch for e in trained(path)] == [1, 2]
    record = Store("runs").record(before[0])
    assert record.result and record.provenance["attempts"] == 1


def relabel(folder):
    (folder / "train/cat/0.png").rename(folder / "train/dog/moved.png")
    kept = dict(np.load(folder / "pixels.npz"))
    kept["train_labels"] = kept["train_labels"].copy()
    kept["train_labels"][:2] = kept["train_labels"][1::-1]
    np.savez(folder / "pixels.npz", **kept)


def repaint(folder):
    picture(folder / "train/cat/0.png", 99)
    kept = dict(np.load(folder / "pixels.npz"))
    kept["train"] = kept["train"] ^ 1
    np.savez(folder / "pixels.npz", **kept)


def drop(folder):
    (folder / "train/cat/0.png").unlink()
    kept = dict(np.load(folder / "pixels.npz"))
    np.savez(folder / "pixels.npz", **kept | {k: kept[k][2:] for k in ("train", "train_labels")})


def replaced(folder):
    shutil.rmtree(folder)
    fill(folder, seed=1)


@pytest.mark.parametrize("edit", [relabel, repaint, drop, replaced], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dataset", ["imagenet", "arrays"])
def test_edited_data_makes_other_trials_and_it_is_said(edit, dataset, project, tmp_path):
    path = project(dataset)
    assert len(trained(path)) == 2
    before = ids(path)
    edit(tmp_path / "data")
    sweep = planned(path)
    assert [t.id for t in sweep.trials] != before
    assert len(sweep.notes) == 1 and (
        f"The data of '{dataset}' has changed: the store has 1 trials of it" in sweep.notes[0]
    )


@pytest.mark.parametrize("dataset", ["imagenet", "paths", "arrays"])
def test_another_folder_is_other_data_and_a_copy_is_the_same(dataset, project, tmp_path):
    path = project(dataset)
    fill(tmp_path / "other", seed=1)
    shutil.copytree(tmp_path / "data", tmp_path / "copy of data")
    (tmp_path / "link").symlink_to("data")
    assert ids(path, "other") != ids(path)
    assert ids(path, "copy of data") == ids(path) == ids(path, "link")


@pytest.mark.parametrize("dataset", ["imagenet", "paths"])
def test_other_test_images_are_said_where_the_training_is_the_same(dataset, project):
    path = project(dataset)
    trained(path)
    picture(command.Path("data/val/cat/0.png"), 99)
    sweep, store = planned(path), Store("runs")
    record = store.record(sweep.trials[0].id)
    assert record, "the training images are the same"
    lines = datasets.changed_since(sweep, [("R20", record)])
    assert len(lines) == 1 and lines[0].startswith("1 finished trial saw other data of ")


@pytest.mark.parametrize("dataset", ["paths", "arrays"])
def test_data_that_is_not_there_is_what_it_was(dataset, project, tmp_path):
    path = project(dataset)
    trained(path)
    before = ids(path)
    (tmp_path / "data").rename(tmp_path / "away")
    sweep = planned(path)
    assert [t.id for t in sweep.trials] == before and "is taken for what it was" in sweep.notes[0]
    with pytest.raises((SweepError, ValueError)):
        datasets.check(sweep, Store("runs"), "data")


@pytest.mark.parametrize("dataset", ["imagenet", "arrays"])
def test_one_trial_by_hand_knows_its_data_as_the_sweep_does(dataset, project, tmp_path, capsys):
    path = project(dataset)
    command_line = [str(path), "--variant", "R20", "--data", "data", "--device", "cpu"]
    assert train(command_line) == 0
    before = ids(path)
    assert Store("runs").record(before[0]).result
    # it was written down: where the data is not, its trials are still known
    (tmp_path / "data").rename(tmp_path / "away")
    assert ids(path) == before
    (tmp_path / "away").rename(tmp_path / "data")
    repaint(tmp_path / "data")
    capsys.readouterr()
    assert train(command_line) == 0
    assert f"note: The data of '{dataset}' has changed" in capsys.readouterr().err
    assert ids(path) != before


def test_by_hand_too_something_must_be_left_to_train_on(project, capsys):
    few = dict(np.load("data/pixels.npz"))
    few |= {name: few[name][:4] for name in ("train", "train_labels")}
    np.savez("data/pixels.npz", **few)
    path = project("arrays", val_fraction=0.8)
    assert train([str(path), "--variant", "R20", "--data", "data"]) == 2
    assert "val_fraction: 0.8 leaves no training images of 4" in capsys.readouterr().err
