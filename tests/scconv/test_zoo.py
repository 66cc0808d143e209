"""Surgery on the networks of others: swapped and still able to learn, or refused in one line. On
the meta device, so nothing is computed.
"""

import importlib.util
import re
import warnings

import pytest
import torch
import torchvision

from scconv import replace_convs

pytestmark = pytest.mark.slow

NOTHING = "replaced nothing"


def refusal(channels: int) -> str:
    return rf"layer [\w.-]+: `in_channels` \(={channels}\) must be divisible by `gn_groups` \(=16\); use gn_groups=8"


# model or family -> how many 3x3 convolutions SCConv took the place of, or why it did not
TORCHVISION: dict[str, int | str] = {
    "alexnet": 3,
    "convnext_": NOTHING,  # depthwise 7x7
    "densenet121": 58,
    "densenet161": 78,
    "densenet169": 82,
    "densenet201": 98,
    "efficientnet_b": NOTHING,  # depthwise
    "efficientnet_v2_l": 18,
    "efficientnet_v2_m": refusal(24),
    "efficientnet_v2_s": refusal(24),
    "googlenet": refusal(24),
    "inception_v3": r"layer Conv2d_2a_3x3\.conv: `padding` \(=\(0, 0\)\) must keep the size",
    "maxvit_t": 1,
    "mnasnet": NOTHING,
    "mobilenet_v": NOTHING,
    "regnet_x_16gf": 22,
    "regnet_x_1_6gf": refusal(72),
    "regnet_x_32gf": refusal(2520),
    "regnet_x_3_2gf": 25,
    "regnet_x_400mf": 22,
    "regnet_x_800mf": 16,
    "regnet_x_8gf": 23,
    "regnet_y_128gf": refusal(2904),
    "regnet_y_16gf": 18,
    "regnet_y_1_6gf": refusal(120),
    "regnet_y_32gf": refusal(232),
    "regnet_y_3_2gf": refusal(72),
    "regnet_y_400mf": refusal(104),
    "regnet_y_800mf": 14,
    "regnet_y_8gf": 17,
    "resnet101": 33,
    "resnet152": 50,
    "resnet18": 16,
    "resnet34": 32,
    "resnet50": 16,
    "resnext101_": 33,
    "resnext50_32x4d": 16,
    "shufflenet_v2_": NOTHING,
    "squeezenet1_": 8,
    "swin_": NOTHING,
    "vgg11": 7,
    "vgg13": 9,
    "vgg16": 12,
    "vgg19": 15,
    "vit_": NOTHING,
    "wide_resnet101_2": 33,
    "wide_resnet50_2": 16,
}


def swap(model: torch.nn.Module, size: int) -> int | str:
    """What surgery made of it; with a forward and a backward where it replaced something."""
    try:
        swaps = replace_convs(model, "scconv")
    except ValueError as error:
        assert "\n" not in str(error)
        return str(error)
    out = model(torch.randn(2, 3, size, size))
    (out if torch.is_tensor(out) else out[0]).sum().backward()
    # an inception's side heads answer beside, and are not in what was summed
    assert not [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and p.grad is None and "aux" not in n.lower()
    ]
    return len(swaps)


@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_every_classification_model_of_torchvision(name, monkeypatch):
    whole = torchvision.models.regnet.BlockParams.from_init_params

    def on_cpu(
        *args, **kwargs
    ):  # it computes widths with tensors, which have no values on the meta device
        with torch.device("cpu"):
            return whole(*args, **kwargs)

    monkeypatch.setattr(torchvision.models.regnet.BlockParams, "from_init_params", on_cpu)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        got = swap(
            torchvision.models.get_model(name, weights=None), 299 if name == "inception_v3" else 224
        )
    known = [key for key in TORCHVISION if name.startswith(key)]
    if known:  # a model newer than this table has at least done one of the two
        want = TORCHVISION[max(known, key=len)]
        assert (
            re.search(want, got) if isinstance(want, str) and isinstance(got, str) else got == want
        )


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize(
    "name, want",
    [
        ("resnet50", 16),
        ("resnet26d", 10),
        ("res2net50_26w_4s", "`alpha` * `in_channels` (=13 of 26) must be"),
        ("regnetx_032", 25),
        ("densenet121", 58),
        ("vgg16", 12),
        ("cspresnet50", 16),
        ("dla34", 26),
        ("hrnet_w18_small", 64),
        ("vit_tiny_patch16_224", NOTHING),
        ("mobilenetv3_large_100", NOTHING),
    ],
)
def test_models_of_timm(name, want):
    import timm

    with torch.device("meta"):
        got = swap(timm.create_model(name), 224)
    assert want in got if isinstance(want, str) and isinstance(got, str) else got == want


@pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is None,
    reason="segmentation_models_pytorch is not installed",
)
@pytest.mark.parametrize(
    "name, want",
    [("Unet", 42), ("FPN", 39), ("PSPNet", 32), ("DeepLabV3Plus", 32), ("PAN", 35)],
)
def test_segmentation_heads_are_left_alone(name, want):
    import segmentation_models_pytorch as smp

    model = getattr(smp, name)("resnet34", encoder_weights=None, classes=4)
    head = [*model.segmentation_head.modules()]
    assert len(replace_convs(model, "scconv")) == want
    assert all(a is b for a, b in zip(head, model.segmentation_head.modules(), strict=True))
