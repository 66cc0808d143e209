"""What surgery takes, what it leaves alone, and what a replacement says of itself."""

import copy
import io
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import scconv.convs
from scconv import SCConv, cost, replace_convs
from scconv.convs import find
from scconv.surgery import DESCRIPTION
from tests import networks

DESIGNS = sorted(p.stem for p in Path(scconv.convs.__file__).parent.glob("[a-z]*.py"))
DROP_INS = [name for name in DESIGNS if hasattr(find(name), "drop_in")]


@pytest.mark.slow
@pytest.mark.parametrize("second", ["scconv", "ghost", "group", "slim"])
@pytest.mark.parametrize("first", ["scconv", "group", "tied"])
def test_a_second_call_reaches_inside_no_replacement(first, second):
    with torch.device("meta"):
        model = torchvision.models.resnet18()
        replace_convs(model, first)
        counted = cost(model, (3, 64, 64)).params
        with pytest.raises(
            ValueError, match=f"replaced already, by {first}; build the network anew"
        ):
            replace_convs(model, second)
        assert cost(model, (3, 64, 64)).params == counted


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "by where"])
def test_a_replacement_stays_one(way):
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    replace_convs(model, "group")
    if way == "deepcopy":
        model = copy.deepcopy(model)
    if way == "pickle":
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        model = torch.load(file, weights_only=False)
    with pytest.raises(ValueError, match="replaced already"):
        replace_convs(model, "scconv", where=(lambda *_: True) if way == "by where" else None)


def test_surgery_goes_on_beside_a_module_of_the_catalogue():
    """A network that was written with SCConv keeps it, and its other convolutions are replaced."""
    model = nn.Sequential(SCConv(32, 32), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    assert [swap.path for swap in replace_convs(model, "ghost")] == ["1"]


class UNet(nn.Module):
    """A student's: an output layer called `outc`, of 3x3."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.outc = nn.Conv2d(32, 32, 3, padding=1)
        self.spare = nn.Linear(2, 2)


class Functional(nn.Module):
    """Activations as functions: each of its convolutions has a bias and no module behind it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3, padding=1)
        self.conv3, self.fc = nn.Conv2d(64, 64, 3, padding=1), nn.Linear(64, 10)


class Upscaler(nn.Module):
    """Super-resolution: the last layer makes the image."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())
        self.to_image = nn.Conv2d(32, 48, 3, padding=1)


@pytest.mark.parametrize(
    "network, taken",
    [(UNet, ["inner.0"]), (Functional, ["conv2", "conv3"]), (Upscaler, ["body.0"])],
)
def test_output_layers_are_left_alone(network, taken):
    assert [swap.path for swap in replace_convs(network(), "tied")] == taken


# output layers by torchvision's own names, and how many convolutions are replaced
OTHERS = {
    "retinanet_resnet50_fpn": (
        ["head.classification_head.cls_logits", "head.regression_head.bbox_reg"],
        29,
    ),
    "fcos_resnet50_fpn": (
        [
            "head.classification_head.cls_logits",
            "head.regression_head.bbox_reg",
            "head.regression_head.bbox_ctrness",
        ],
        29,
    ),
    "ssd300_vgg16": (
        [
            f"head.{kind}_head.module_list.{i}"
            for kind in ("classification", "regression")
            for i in range(6)
        ],
        17,
    ),
    "fasterrcnn_resnet50_fpn": (["rpn.head.cls_logits", "rpn.head.bbox_pred"], 21),
    "maskrcnn_resnet50_fpn": (["roi_heads.mask_predictor.mask_fcn_logits"], 25),
    "keypointrcnn_resnet50_fpn": (["roi_heads.keypoint_predictor.kps_score_lowres"], 29),
    "deeplabv3_resnet50": (["classifier.4"], 20),
    "fcn_resnet50": (["classifier.4"], 17),
}


@pytest.mark.parametrize("name", OTHERS)
def test_no_output_layer_of_a_detector_or_segmentation_network_is_replaced(name):
    outputs, count = OTHERS[name]
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
        before = {path: model.get_submodule(path) for path in outputs}
        taken = {swap.path for swap in replace_convs(model, "tied")}
    assert len(taken) == count and not taken & {*outputs}
    assert all(model.get_submodule(path) is module for path, module in before.items())


@pytest.mark.parametrize(
    "name, outputs",
    [
        ("fcn_resnet101", 1),
        ("deeplabv3_mobilenet_v3_large", 1),
        ("retinanet_resnet50_fpn_v2", 2),
        ("fasterrcnn_resnet50_fpn_v2", 4),
        ("resnet50", 1),
    ],
)
def test_no_layer_is_replaced_that_autograd_finds_behind_the_output(name, outputs):
    """Found without any name: a network that nobody has seen is treated as these are."""
    (build,) = (build for found, build, _ in networks.torchvision_networks() if found == name)
    row = networks.tried("torchvision", name, build, 64)
    assert len(row["outputs"].split()) >= outputs and row["replaced"]
    assert not row["outputs_replaced"] and not row["reason"]


# those that are the convolution itself, or no drop-in of one inside a network
NO_DROP_INS = ("standard", "octave", "pf", "subset")


@pytest.mark.parametrize("design", [d for d in DESIGNS if d not in NO_DROP_INS])
def test_a_replacement_says_what_its_predecessor_said(design):
    model = torchvision.models.resnet18()
    old = model.layer2[0].conv1 if design != "slim" else model.layer1[0].conv1
    where = {id(old): True}
    said = {name: getattr(old, name) for name in DESCRIPTION}
    replace_convs(model, design, where=lambda _, conv: id(conv) in where)
    new = model.layer2[0].conv1 if design != "slim" else model.layer1[0].conv1
    told = {name: getattr(new, name) for name in DESCRIPTION}
    # a plain convolution tells of its own groups
    assert {k: v for k, v in told.items() if k != "groups"} == {
        k: v for k, v in said.items() if k != "groups"
    }


@pytest.mark.parametrize("order", [["sru"], ["cru"], ["sru", "cru"], ["cru", "sru"], "parallel"])
def test_scconv_itself_is_described_and_built_as_a_convolution(order):
    new, old = SCConv(64, 64, (3, 3), (2, 2), order=order), nn.Conv2d(64, 64, (3, 3), (2, 2), 1)
    assert all(getattr(new, name) == getattr(old, name) for name in DESCRIPTION)
    x = torch.randn(2, 64, 9, 9)
    assert new(x).shape == old(x).shape


@pytest.mark.parametrize(
    "arguments, name",
    [(((3, 1),), "kernel_size"), ((3, (2, 1)), "stride"), ((3, 1, (1, 2)), "dilation")],
)
def test_scconv_refuses_two_numbers_by_name(arguments, name):
    kernel, stride, dilation = (*arguments, 1, 1)[:3]
    with pytest.raises(ValueError, match=f"`{name}` .* must be the same in both directions"):
        SCConv(64, 64, kernel, stride, dilation=dilation)


@given(
    design=st.sampled_from(DROP_INS),
    kernel=st.sampled_from([1, 3, 5, (3, 1), 2]),
    stride=st.sampled_from([1, 2, (1, 2), 3]),
    dilation=st.sampled_from([1, 2, (1, 2)]),
    padding=st.sampled_from([0, 1, 2, "same", "valid", (1, 0), "half"]),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=150, deadline=None)
def test_every_setting_is_kept_or_refused_by_name(
    design, kernel, stride, dilation, padding, mode, bias, dtype
):
    def pair(v):
        return v if isinstance(v, tuple) else (v, v)

    if padding == "half":
        padding = tuple(d * (k // 2) for k, d in zip(pair(kernel), pair(dilation), strict=True))
    if padding == "same" and pair(stride) != (1, 1):
        return  # torch refuses it
    old = nn.Conv2d(
        32, 32, kernel, stride, padding, dilation, bias=bias, padding_mode=mode, dtype=dtype
    )
    model = nn.Sequential(old, nn.ReLU())
    try:
        replace_convs(model, design, where=lambda *_: True)
    except ValueError as error:
        named = [*DESCRIPTION, "order"]
        assert (
            any(f"`{name}`" in str(error) for name in named)
            or "replaced nothing" in str(error)
            or "does not offer" in str(error)
        )
        assert model[0] is old
        return
    x = torch.randn(2, 32, 16, 16, dtype=dtype)
    got, want = model(x), old(x)
    assert got.shape == want.shape and got.dtype == want.dtype
    wide = [m for m in model.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    assert all(m.padding_mode == mode for m in wide)


def test_a_hard_gate_that_was_made_to_learn_gets_a_gradient_of_zero():
    """requires_grad_(True) on everything, as fine-tuning scripts do: DDP waits for a gradient of
    every parameter.
    """
    module = SCConv(32, 32).requires_grad_(True)
    module(torch.randn(2, 32, 8, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    assert not module.sru.norm.weight.grad.any()


def test_a_soft_gate_whose_weights_are_all_zero_is_finite():
    module = SCConv(32, 32, gate="soft")
    nn.init.zeros_(module.sru.norm.weight)
    out = module(torch.randn(2, 32, 8, 8))
    out.sum().backward()
    assert out.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("order", [["sru"], ["cru"], ["sru", "cru"], ["cru", "sru"]])
def test_circular_padding_shifts_with_its_input(order):
    module = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"), nn.ReLU())
    replace_convs(module, "scconv", order=order)
    x = torch.randn(1, 32, 8, 8)
    with torch.no_grad():
        module.eval()
        shifted = module(x.roll((2, 3), (2, 3)))
        assert torch.allclose(shifted, module(x).roll((2, 3), (2, 3)), atol=1e-5)
