"""A training that loses channels: which ones, of whom, and that nothing else changes."""

from dataclasses import replace

import pytest
import torch

from runners import data
from runners.plan import Config, Trial
from runners.store import Store
from runners.trial.run import run
from runners.trial.training import Training, train
from scconv.channels import Present

SHORT = {"epochs": 3, "lr": 0.05, "batch_size": 32}
TRIAL = Trial("s", "set", Config("resnet20", "synthetic", stem="set", **SHORT), 0)


@pytest.fixture
def seen(monkeypatch):
    """Every batch that a network was trained with."""
    batches = []
    forward = Training._train

    def watched(self, index):
        call = self.forward
        self.forward = lambda x: (batches.append(x), call(x))[1]
        try:
            return forward(self, index)
        finally:
            self.forward = call

    monkeypatch.setattr(Training, "_train", watched)
    return batches


def masks(seen, **changes) -> list[torch.Tensor]:
    seen.clear()
    trial = replace(TRIAL, config=replace(TRIAL.config, **changes))
    Training(trial, data.load("synthetic")).epoch(0)
    return [batch.mask for batch in seen]


def test_all_variants_of_a_seed_lose_the_same_channels(seen):
    by_sample = masks(seen, drop_channels="sample")
    images = [batch.images for batch in seen]
    other = masks(seen, drop_channels="sample", stem="subset", lr=0.01)
    assert all(map(torch.equal, by_sample, other))
    assert not all(m.all() for m in by_sample) and all(m.any(1).all() for m in by_sample)
    # and the same images in the same order as without
    masks(seen, drop_channels="sample", drop_p=0.1)
    assert all(map(torch.equal, images, [batch.images for batch in seen]))


def test_a_batch_loses_the_same_channels_and_an_epoch_has_its_own(seen):
    first = masks(seen, drop_channels="batch")
    assert all((mask == mask[0]).all() for mask in first)
    assert len({tuple(mask[0].tolist()) for mask in first}) > 1
    trial = replace(TRIAL, config=replace(TRIAL.config, drop_channels="batch"))
    whole = Training(trial, data.load("synthetic"))
    seen.clear()
    whole.epoch(1)
    second = [batch.mask for batch in seen]
    assert not all(map(torch.equal, first, second))


def test_without_lost_channels_a_network_is_given_images_alone(seen):
    trial = replace(TRIAL, config=replace(TRIAL.config, stem="standard"))
    Training(trial, data.load("synthetic")).epoch(0)
    assert seen and not any(isinstance(batch, Present) for batch in seen)


def test_set_without_lost_channels_trains_as_the_static_stem_bit_for_bit():
    results = []
    for stem in ("standard", "set"):
        trial = replace(TRIAL, config=replace(TRIAL.config, stem=stem, epochs=2))
        whole = Training(trial, data.load("synthetic"))
        results.append([whole.epoch(i).train for i in range(2)])
        results.append([p.detach() for p in whole.model.parameters()])
    assert results[0] == results[2] and all(map(torch.equal, results[1], results[3]))


@pytest.mark.parametrize("stem", ["subset", "dynamic"])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(stem, tmp_path):
    lost = {"drop_channels": "batch", "drop_p": 0.5} if stem == "subset" else {}
    config = Config("resnet20", "synthetic", stem=stem, **SHORT, **lost)
    trial = replace(TRIAL, config=config)
    stores = [Store(tmp_path / name) for name in "ab"]
    list(run(trial, stores[0], device="cpu"))
    epochs = run(trial, stores[1], device="cpu")
    next(epochs)
    epochs.close()
    list(run(trial, stores[1], device="cpu"))
    a, b = (torch.load(s.folder(trial.id) / "weights.pt", weights_only=True) for s in stores)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_layer_that_changes_is_told_how_far_the_training_is(monkeypatch):
    told = []
    monkeypatch.setattr(
        "scconv.convs.dynamic.DynamicConv.set_progress", lambda self, p: told.append(p)
    )
    trial = replace(TRIAL, config=replace(TRIAL.config, stem="dynamic", epochs=2))
    list(train(trial, data.load("synthetic")))
    assert told == sorted(told) and 0 < told[0] < 0.1 < 0.9 < told[-1] < 1
    steps = len(told)
    assert told[0] == pytest.approx(0.5 / steps)
