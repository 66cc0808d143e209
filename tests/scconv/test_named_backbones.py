"""Backbones that a package makes by their names: torchvision:resnet18, timm:resnet18d."""

import pytest
import torch
import torchvision
from torch import nn

from runners.errors import SweepError
from runners.plan import load
from runners.trial.networks import networks
from scconv import backbones, cost, replace_convs

ARCHS = ["resnet18", "densenet121", "mobilenet_v2", "vgg11_bn", "regnet_y_400mf", "googlenet"]


@pytest.mark.parametrize("name", ARCHS)
def test_a_classifier_of_torchvision_is_made_for_small_images(name):
    torch.manual_seed(0)
    model = backbones.build(f"torchvision:{name}", 7)
    assert model.train()(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert first.kernel_size == (3, 3) and first.stride == (1, 1)
    with torch.device("meta"):
        planned = backbones.build(f"torchvision:{name}", 7)
    assert cost(planned, (3, 32, 32)) == cost(model, (3, 32, 32))


def test_only_the_stem_of_a_resnet_is_changed():
    """Its multiply-adds are those of this package's ResNet-18, whose stem is CIFAR's."""
    torch.manual_seed(0)
    small = backbones.build("torchvision:resnet18", 10)
    assert cost(small, (3, 32, 32)).macs == cost(backbones.build("resnet18", 10), (3, 32, 32)).macs
    torch.manual_seed(0)
    whole = backbones.build("torchvision:resnet18", 10, small=False)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in whole.state_dict().items())
    assert {k for k, v in small.state_dict().items() if v.shape != theirs[k].shape} == {
        "conv1.weight"
    }


def test_one_seed_makes_one_network_and_convolutions_are_replaced_in_it():
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(backbones.build("torchvision:resnet18", 10))
    a, b = (m.state_dict() for m in made)
    assert all(torch.equal(a[k], b[k]) for k in a)
    swaps = replace_convs(made[0], "scconv")
    assert "layer1.0.conv1" in [s.path for s in swaps] and "conv1" not in [s.path for s in swaps]
    assert made[0](torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_a_model_of_timm_is_made():
    pytest.importorskip("timm")
    torch.manual_seed(0)
    model = backbones.build("timm:resnet18d", 7)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(ValueError, match="timm has no model 'resnet18x'; close to it: resnet18"):
        backbones.build("timm:resnet18x", 7)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("torchvision", "'torchvision' needs a model's name, such as torchvision:resnet18"),
        ("torchvision:", "'torchvision' needs a model's name"),
        ("resnet20:small", "'resnet20' is one network; write resnet20, got 'resnet20:small'"),
        ("torchvison:resnet18", "unknown backbone 'torchvison': did you mean 'torchvision'?"),
    ],
)
def test_a_name_that_cannot_be_is_refused_by_the_plan(backbone, said, write_sweep):
    with pytest.raises(SweepError) as error:
        load(write_sweep(base={"backbone": backbone}))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("resnet19", {}, "torchvision has no classifier 'resnet19'; close to it: resnet"),
        ("swin_t", {}, "which cannot be made for small images; use backbone_options"),
        ("inception_v3", {"small": False}, "inception_v3"),
        ("maxvit_t", {}, "maxvit_t"),
    ],
)
def test_a_model_that_cannot_be_is_one_line_before_anything_is_launched(
    model, options, said, write_sweep
):
    base = {"backbone": f"torchvision:{model}", "backbone_options": options}
    sweep = load(write_sweep(base=base, variants={"R20": {"conv": "standard"}}))
    with pytest.raises(SweepError) as error:
        networks(sweep)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_network_for_small_images_is_refused_where_they_are_large(write_sweep):
    base = {"backbone": "torchvision:resnet18", "dataset": "imagenet", "val_fraction": 0}
    variants = {"R20": {"conv": "standard"}}
    with pytest.raises(SweepError, match="these have 224; add backbone_options"):
        networks(load(write_sweep(base=base, variants=variants)))
    base["backbone_options"] = {"small": False}
    networks(load(write_sweep(base=base, variants=variants)))


def test_a_file_of_ones_own_may_make_models_by_name(write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\ndef build_named(model, classes, *, width=4):\n"
        "    return nn.Sequential(nn.Conv2d(3, width * len(model), 3), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(width * len(model), classes))\n"
    )
    variants = {"ab": {"backbone": "mine:ab"}, "abc": {"backbone": "mine:abc"}}
    sweep = load(write_sweep(baseline="ab", base={"conv": "standard"}, variants=variants))
    assert len({t.id for t in sweep.trials}) == len(sweep.trials)
    with pytest.raises(SweepError, match="'mine' needs a model's name"):
        load(write_sweep(base={"backbone": "mine"}))
