"""SGD, Adam and AdamW: their settings, their steps, and that a resumed trial ends as a whole one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from runners.errors import SweepError
from runners.plan import Config, Trial, load
from runners.store import Store
from runners.trial import training
from runners.trial.run import run
from runners.trial.schedule import learning_rate
from runners.trial.training import optimizer
from tests.conftest import TINY


def one_step(config: Config, gradient: float) -> float:
    """A weight of 1 after one step with this gradient."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    steps = optimizer(config, model)
    model.weight.grad = torch.full_like(model.weight, gradient)
    steps.step()
    return model.weight.item()


def test_one_step_of_each_by_hand():
    base = Config("resnet20", "digits", lr=0.1, weight_decay=0.5)
    assert one_step(base, 1.0) == pytest.approx(1 - 0.1 * (1.0 + 0.5))
    # the first step of Adam has the length of the rate, whatever the gradient
    assert one_step(replace(base, optimizer="adam"), -0.3) == pytest.approx(1 - 0.1)
    assert one_step(replace(base, optimizer="adam"), -0.7) == pytest.approx(1 + 0.1)
    # decoupled: the decay shrinks the weight, and does not turn the step round
    assert one_step(replace(base, optimizer="adamw"), -0.3) == pytest.approx(0.95 + 0.1)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_all_parameters_at_once_come_to_the_bits_of_one_after_another(name):
    config = Config("resnet20", "digits", lr=0.1, weight_decay=5e-4, optimizer=name)
    ended = []
    for foreach in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(72, 2))
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps = optimizer(config, model)
        assert steps.param_groups[0]["foreach"] is True
        steps.param_groups[0]["foreach"] = foreach
        for _ in range(3):
            steps.zero_grad()
            model(torch.randn(4, 3, 5, 5)).square().sum().backward()
            steps.step()
        ended.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ended)


def test_a_constant_rate_stays_after_the_warm_up():
    config = Config("resnet20", "digits", lr=0.2, schedule="constant", warmup=0.5)
    assert [learning_rate(config, p) for p in (0.25, 0.5, 0.75, 1)] == [0.1, 0.2, 0.2, 0.2]


def test_gradients_are_clipped_to_the_norm(monkeypatch):
    norms = []
    whole = torch.optim.SGD.step

    def step(self, *arguments):
        parameters = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat(parameters).norm().item())
        return whole(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    config = Config("resnet20", "synthetic", epochs=1, batch_size=32, grad_clip=0.25)
    list(training.train(Trial("s", "v", config, 0), training_data()))
    assert norms and max(norms) == pytest.approx(0.25, rel=1e-4)
    norms.clear()
    list(training.train(Trial("s", "v", replace(config, grad_clip=0.0), 0), training_data()))
    assert max(norms) > 0.3


def training_data():
    from runners import data

    return data.load("synthetic")


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.slow
def test_a_resumed_trial_ends_as_a_whole_one(name, tmp_path):
    config = Config(
        *("resnet20", "synthetic"),
        epochs=3, batch_size=32, lr=1e-3, optimizer=name, grad_clip=1.0, schedule="constant",
    )  # fmt: skip
    trial = Trial("s", "v", config, 0)
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    list(run(trial, whole, device="cpu"))
    for _ in range(3):
        epochs = run(trial, parts, device="cpu")
        next(epochs)
        epochs.close()
    list(run(trial, parts, device="cpu"))
    first, second = (
        torch.load(store.folder(trial.id) / "weights.pt", weights_only=True)
        for store in (whole, parts)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def plan(write_sweep, base: dict, **variant) -> list[Config]:
    settings = TINY["base"] | base
    path = write_sweep(base=settings, variants={"R20": {}, "other": {"conv": "ghost"} | variant})
    return [*load(path).variants.values()]


def test_what_is_sgds_alone_is_left_out_where_another_optimizer_trains(write_sweep):
    sgd, adam = plan(write_sweep, {"nesterov": True}, optimizer="adam", lr=0.001)
    assert sgd.nesterov and not adam.nesterov and adam.optimizer == "adam"
    assert "optimizer" not in sgd.canonical and '"optimizer": "adam"' in adam.canonical


@pytest.mark.parametrize(
    "base, variant, said",
    [
        (
            {"optimizer": "adam", "lr": 0.001, "nesterov": True},
            {},
            "base.nesterov: is SGD's, and base.optimizer is adam; remove one of the two",
        ),
        (
            {},
            {"optimizer": "adamw", "lr": 0.001, "momentum": 0.8},
            "variants.other.momentum: is SGD's, and variants.other.optimizer is adamw; remove one",
        ),
        ({"optimizer": "adam"}, {}, "base.optimizer: adam needs a learning rate of its own"),
        ({}, {"optimizer": "adam"}, "variants.other.optimizer: adam needs a learning rate of its"),
        ({"grad_clip": -1}, {}, "base.grad_clip: must be at least 0, got -1"),
        ({"optimizer": "lion"}, {}, "base.optimizer: must be 'sgd', 'adam' or 'adamw', got 'lion'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_place(write_sweep, base, variant, said):
    with pytest.raises(SweepError) as refused:
        plan(write_sweep, base, **variant)
    assert said in str(refused.value)


def test_the_recipe_has_its_own_rate(write_sweep):
    config, other = plan(write_sweep, {"recipe": "adam", "epochs": 2}, optimizer="adamw", lr=0.01)
    assert (config.optimizer, config.lr, config.schedule, config.grad_clip) == (
        "adam",
        0.001,
        "constant",
        2.0,
    )
    assert (other.optimizer, other.lr) == ("adamw", 0.01)
