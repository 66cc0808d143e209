"""A condition that rests on weights that were never trained is named before anything is launched."""

import pytest
import torch

from runners.plan import PACKAGE, Config
from runners.trial.untrained import untrained
from scconv.channels import subsets

CONDITIONS = {"all": (True,) * 3} | dict(subsets(3))
GENERATORS = [f"stem.0.subset.{i}.{part}" for i in range(3) for part in ("weight", "bias")]


def names(backbone: str = "resnet20", **settings) -> dict[str, list[str]]:
    config = Config(backbone, "digits", **settings)
    return untrained(config, PACKAGE, 10, (3, 8, 8), CONDITIONS)


def test_a_generator_for_fewer_channels_that_are_never_lost_is_named():
    found = names(stem="subset")
    assert found["all"] == found["RGB"] == []
    for name in ("RG", "RB", "GB"):
        assert found[name] == GENERATORS[2:4]
    for name in ("R", "G", "B"):
        assert found[name] == GENERATORS[:2]


@pytest.mark.parametrize("drop", ["batch", "sample"])
@pytest.mark.parametrize("stem", ["subset", "set"])
def test_nothing_is_named_where_the_training_loses_channels(stem, drop):
    assert not any(names(stem=stem, drop_channels=drop, drop_p=0.5).values())


def test_films_of_fewer_channels_are_named():
    found = names(stem="set", stem_options={"film": True})
    assert found["RG"] == ["stem.0.film.1"] and found["B"] == ["stem.0.film.0"]
    assert not any(names(stem="set").values())


@pytest.mark.parametrize("stem", ["standard", "dynamic"])
def test_what_is_filled_before_the_network_rests_on_all_its_weights(stem):
    assert not any(names(stem=stem).values())


def test_a_weight_behind_one_that_starts_at_zero_is_no_false_alarm():
    """The attention of `shallow` adds nothing at first, so its queries have no gradient."""
    found = names("shallow", backbone_options={"width": 16}, stem="subset")
    assert found["R"] == ["0.subset.0.weight", "0.subset.0.bias"]


def test_the_global_generator_and_the_tests_afterwards_are_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    names(stem="subset", stem_options={})
    assert torch.equal(torch.get_rng_state(), state)
