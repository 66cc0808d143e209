"""Finished trials under conditions: what is kept, what is made anew, and what it equals."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from runners import data
from runners.errors import SweepError
from runners.plan import Config, Evaluate, Trial
from runners.store import Store
from runners.store.evaluations import lacks
from runners.trial import evaluate as module
from runners.trial.conditions import conditions
from runners.trial.evaluate import evaluate, resized
from runners.trial.run import run
from runners.trial.trained import Trained
from scconv.channels import Fill

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
CONFIG = Config("resnet20", "synthetic", epochs=4, batch_size=32, lr=0.1, augment=False)
ALL = Evaluate("all", (24,))
TRIAL = Trial("s", "R20", CONFIG, 0, evaluate=ALL, fills=("", "black"))
# what a process that knows nothing of the training makes of the weights
FRESH = """
import sys
from runners.plan import Config, Evaluate, Trial
from runners.store import Store
from runners.trial.evaluate import evaluate
config = Config("resnet20", "synthetic", epochs=4, batch_size=32, lr=0.1, augment=False)
trial = Trial("s", "R20", config, 0, evaluate=Evaluate("all", (24,)), fills=("", "black"))
made = evaluate(trial, Store(sys.argv[1]), device="cpu")
print(len(made.conditions))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A store with the trial, finished and not evaluated."""
    folder = tmp_path_factory.mktemp("trained") / "runs"
    list(run(TRIAL, Store(folder), device="cpu"))
    return folder


@pytest.fixture
def store(trained, tmp_path) -> Store:
    import shutil

    return Store(shutil.copytree(trained, tmp_path / "runs"))


def test_a_fresh_process_makes_the_evaluation_of_the_trainings_end_bit_for_bit(store, tmp_path):
    assert evaluate(TRIAL, store, device="cpu")
    there = Store(tmp_path / "other")
    # trained here once more, so that the evaluation follows its training in one process
    list(run(TRIAL, there, device="cpu"))
    evaluate(TRIAL, there, device="cpu")
    path = store.folder(TRIAL.id) / "evaluation.json"
    path.unlink()
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(store.root)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout == "14\n", done.stderr
    fresh, ours = (json.loads((s.folder(TRIAL.id) / path.name).read_text()) for s in (store, there))
    assert fresh == ours


def test_each_condition_is_what_a_literal_loop_makes_of_it(store):
    made = evaluate(TRIAL, store, device="cpu")
    network = Trained(TRIAL, store, None, "cpu")
    pixels = torch.from_numpy(network.data.test.images.numpy()).permute(0, 3, 1, 2).float()
    train = network.data.hold_out(CONFIG.val_fraction).train.images.permute(0, 3, 1, 2)
    fitted = Fill.fit("linear", train)
    for scores in made.conditions:
        x, there = pixels.clone(), torch.tensor(scores.mask)
        if scores.size:
            x = resized(network.data.test.images, scores.size).permute(0, 3, 1, 2)
        if scores.fill == "black":
            x[:, ~there] = 0
        elif not all(scores.mask):
            x = fitted(pixels, there)
        with torch.no_grad():
            logits = network.model(network.data.normalise(x.permute(0, 2, 3, 1)))
        right = logits.argmax(1) == network.data.test.labels
        assert scores.top1 == 100 * right.sum().item() / len(right), scores.key
        top5 = (logits.topk(5).indices == network.data.test.labels[:, None]).any(1)
        assert scores.top5 == 100 * top5.sum().item() / len(right)
        expected = torch.nn.functional.cross_entropy(logits, network.data.test.labels).item()
        assert scores.loss == pytest.approx(expected, rel=1e-5)
        assert np.array_equal(made.predictions(scores), logits.argmax(1).numpy())
    assert np.array_equal(made.labels(), network.data.test.labels.numpy())


def test_the_whole_images_are_first_and_have_the_records_score(store):
    record, made = store.record(TRIAL.id), evaluate(TRIAL, store, device="cpu")
    first = made.conditions[0]
    assert (first.name, first.fill, first.whole) == ("RGB", "none", True)
    assert (first.top1, first.top5) == (record.result.test_top1, record.result.test_top5)
    names = [c.name for c in conditions(ALL, 3)]
    assert names == ["RGB", "RG", "RB", "GB", "R", "G", "B", "24px"]
    assert [*made.of(ALL, "")] == [*made.of(ALL, "black")] == names


def test_what_there_is_stays_and_only_what_lacks_is_made(store, monkeypatch):
    looked = []
    whole = module.look

    def look(*arguments):
        looked.append(1)
        return whole(*arguments)

    monkeypatch.setattr(module, "look", look)
    few = replace(TRIAL, evaluate=Evaluate(("RG",)), fills=("",))
    assert lacks(few, store.record(TRIAL.id), None)
    first = evaluate(few, store, device="cpu")
    assert [s.key for s in first.conditions] == ["RGB", "linear/RG"] and len(looked) == 2
    assert evaluate(few, store, device="cpu") == first and len(looked) == 2
    every = evaluate(TRIAL, store, device="cpu")
    assert len(looked) == len(every.conditions) == 14
    assert every.of(few.evaluate, "") == first.of(few.evaluate, "")
    assert every.covers(few, store.record(TRIAL.id)) and not first.covers(
        TRIAL, store.record(TRIAL.id)
    )


@pytest.mark.parametrize("harm", ["cut", "edited", "other weights"])
def test_an_evaluation_that_cannot_be_used_is_made_again(harm, store):
    made = evaluate(TRIAL, store, device="cpu")
    path = store.folder(TRIAL.id) / "evaluation.json"
    whole = path.read_text()
    if harm == "cut":
        path.write_text(whole[: len(whole) // 2])
    elif harm == "edited":
        path.write_text(whole.replace(f'"top1": {made.conditions[1].top1}', '"top1": 99.0', 1))
    else:
        store.keep_evaluation(replace(made, weights_sha256="0" * 64))
    again = store.evaluation(TRIAL.id)
    assert again is None or lacks(TRIAL, store.record(TRIAL.id), again)
    assert evaluate(TRIAL, store, device="cpu") == made
    assert path.read_text() == whole


def test_nothing_is_left_by_a_write_that_fails(store, monkeypatch):
    def full(*arguments):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(store, "keep_evaluation", full)
        with pytest.raises(OSError):
            evaluate(TRIAL, store, device="cpu")
    assert not (store.folder(TRIAL.id) / "evaluation.json").exists()
    assert evaluate(TRIAL, store, device="cpu")


def test_a_trial_that_asks_for_nothing_leaves_nothing(store):
    assert evaluate(replace(TRIAL, evaluate=None), store, device="cpu") is None
    assert not (store.folder(TRIAL.id) / "evaluation.json").exists()


def test_lost_weights_are_named(store):
    (store.folder(TRIAL.id) / "weights.pt").unlink()
    with pytest.raises(SweepError, match="the weights of R20 seed0 are missing"):
        evaluate(TRIAL, store, device="cpu")


def test_the_figures_are_of_the_data_that_the_trial_was_tested_on(store):
    made = evaluate(TRIAL, store, device="cpu")
    assert len(made.labels()) == len(data.load("synthetic").test) and made.classes == 10
