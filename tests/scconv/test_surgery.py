"""Replacing convolutions in networks of our own and of others."""

import pytest
import torch
import torchvision
from torch import nn

from scconv import SCConv, backbones, replace_convs
from scconv.convs import find


def test_own_backbones_say_where():
    assert [s.path for s in replace_convs(backbones.build("resnet20", 10), "scconv")] == [f"stages.{i}.{j}.conv2" for i in range(3) for j in range(3)]
    assert len(replace_convs(backbones.build("resnet50", 10), "scconv")) == 16


def test_torchvision_models_never_lose_their_stem_and_still_learn():
    model = torchvision.models.resnet18(num_classes=10)
    swaps = replace_convs(model, "scconv", alpha=0.5)
    assert isinstance(model.conv1, nn.Conv2d) and len(swaps) == 16 and all(s.params_after < s.params_before for s in swaps)
    model(torch.randn(2, 3, 64, 64)).sum().backward()


def test_depthwise_convolutions_are_left_alone():
    model = torchvision.models.mobilenet_v2()
    with pytest.raises(ValueError, match="replaced nothing in MobileNetV2"):
        replace_convs(model, "scconv")


def test_nothing_to_replace_is_an_error_but_for_standard():
    with pytest.raises(ValueError, match="replaced nothing in Linear"):
        replace_convs(nn.Linear(2, 2), "scconv")
    assert replace_convs(nn.Linear(2, 2), "standard") == []


def test_a_refusal_names_the_layer_and_leaves_the_model_whole():
    model = backbones.build("resnet20", 10)
    with pytest.raises(ValueError, match=r"layer stages\.0\.0\.conv2: .*gn_groups"):
        replace_convs(model, "scconv", gn_groups=3)
    assert not any(isinstance(m, SCConv) for m in model.modules())


def test_other_places_by_where():
    model = backbones.build("resnet20", 10)
    model.places = None
    swaps = replace_convs(model, "scconv", where=lambda path, conv: path == "stages.2.2.conv1")
    assert [s.path for s in swaps] == ["stages.2.2.conv1"]


def test_sru_keeps_the_convolution_and_its_weights():
    model = backbones.build("resnet20", 10)
    kept = model.stages[0][0].conv2
    replace_convs(model, "scconv", order=["sru"])
    assert model.stages[0][0].conv2[1] is kept


def test_a_convolution_of_fewer_channels_narrows_what_follows_or_says_that_it_cannot():
    model = backbones.build("resnet50", 10)
    replace_convs(model, "slim", k="4/3")
    assert model.stages[0][0].conv2.out_channels == model.stages[0][0].conv3.in_channels == 48
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    with pytest.raises(ValueError, match=r"layer stages\.0\.0\.conv2: 'slim' makes 12 channels of 16, and a Basic cannot narrow what follows"):
        replace_convs(backbones.build("resnet20", 10), "slim", k="4/3")


def test_find_by_name_and_by_path(tmp_path):
    with pytest.raises(ValueError, match=r"unknown conv 'nope'; use one of depthwise, ghost, .*, versatile, or write nope.py"):
        find("nope")
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="must define drop_in"):
        find("mine", tmp_path / "mine.py")
    with pytest.raises(ValueError, match="is not a Python file"):
        find("none", tmp_path / "none.py")


def test_unusual_kernels_are_refused():
    with pytest.raises(ValueError, match="must each be one number"):
        find("scconv").drop_in(nn.Conv2d(32, 32, (3, 5), padding=(1, 2)))
    with pytest.raises(ValueError, match="must keep the size"):
        find("scconv").drop_in(nn.Conv2d(32, 32, 3))
