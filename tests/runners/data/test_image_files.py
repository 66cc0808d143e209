"""The ImageFolder tree: read in worker processes, the same whatever their number; refused with a
way out where it cannot be.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from runners import data as datasets
from runners import sweep as command
from runners.data.dataset import batches, in_order
from runners.plan import Config, Trial
from runners.store import Store
from runners.trial.run import run


@pytest.fixture
def tree(tmp_path):
    """Two classes that differ in colour: 12 images of odd sizes to train on, 4 to test on."""
    random = np.random.default_rng(0)
    for half, n in (("train", 6), ("val", 2)):
        for c, colour in (("n01", [200, 30, 30]), ("n02", [30, 30, 200])):
            folder = tmp_path / "imagenet" / half / c
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = random.integers(0, 50, (90 + 40 * i, 260, 3)) + colour
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path


def epoch(data, threads, seed=1, augment=True):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return [*batches(data, 5, torch.Generator().manual_seed(seed), augment=augment)]
    finally:
        torch.set_num_threads(before)


def test_batches_do_not_depend_on_the_number_of_workers(tree):
    data = datasets.load("imagenet", tree).hold_out(0.25)
    assert (len(data.train), len(data.val), len(data.test), data.image, data.classes) == (
        9,
        3,
        4,
        (3, 224, 224),
        1000,
    )
    one, two = epoch(data, 1), epoch(data, 2)
    assert [x.shape for x, _ in one] == [(5, 3, 224, 224), (4, 3, 224, 224)]
    assert all(
        torch.equal(a, b) for p, q in zip(one, two, strict=True) for a, b in zip(p, q, strict=True)
    )
    other = epoch(data, 1, seed=2)
    assert not torch.equal(one[0][0], other[0][0])
    # every image once; red is class 0 and blue class 1, whatever the crop
    assert sorted(y for _, ys in one for y in ys.tolist()) == sorted(data.train.labels.tolist())
    assert all((x[:, 0].mean((1, 2)) < x[:, 2].mean((1, 2))).long().equal(y) for x, y in one)


def test_centre_crops_are_the_same_each_time_and_in_order(tree):
    data = datasets.load("imagenet", tree)
    (x, y), (x2, _) = (
        next(in_order(data, data.test)),
        next(in_order(data, data.test)),
    )
    assert torch.equal(x, x2) and y.tolist() == [0, 0, 1, 1]


def test_a_single_image_is_left_over_but_never_trained_on_alone(tree):
    data = datasets.load("imagenet", tree).hold_out(0.1)
    assert len(data.train) == 11 and [len(y) for _, y in epoch(data, 1)] == [5, 5]


@pytest.mark.slow
def test_a_trial_trains_on_it_and_resumes(tree, tmp_path):
    trial = Trial(
        "t",
        "v",
        Config("resnet18_imagenet", "imagenet", epochs=2, batch_size=6, val_fraction=0.25),
        0,
    )
    stopped = run(trial, Store(tmp_path / "runs"), str(tree), "cpu")
    next(stopped)
    stopped.close()
    resumed = [
        e for epochs in run(trial, Store(tmp_path / "runs"), str(tree), "cpu") for e in epochs
    ]
    assert [e.epoch for e in resumed] == [1, 2]
    whole = [
        e for epochs in run(trial, Store(tmp_path / "other"), str(tree), "cpu") for e in epochs
    ]
    assert [(e.train_loss, e.val_loss) for e in resumed] == [
        (e.train_loss, e.val_loss) for e in whole
    ]


def test_what_cannot_be_read_says_so(tree, tmp_path, write_sweep, monkeypatch, capsys):
    with pytest.raises(ValueError, match=r"dataset 'imagenet' is not in .*: train/CLASS"):
        datasets.load("imagenet", tmp_path / "nowhere")
    (tree / "imagenet/train/n01/0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"n01/0.png cannot be read as an image") as caught:
        epoch(datasets.load("imagenet", tree), 1)
    assert "\n" not in str(caught.value)
    (tree / "imagenet/val/n03").mkdir()
    Image.new("RGB", (9, 9)).save(tree / "imagenet/val/n03/0.png")
    with pytest.raises(
        ValueError, match="must have the same classes, at most 1000; they differ in n03"
    ):
        datasets.load("imagenet", tree)
    monkeypatch.chdir(tmp_path)
    path = write_sweep(base={"dataset": "imagenet", "backbone": "resnet18_imagenet"})
    assert command.main([str(path), "--data", str(tree)]) == 2
    assert "they differ in n03" in capsys.readouterr().err
