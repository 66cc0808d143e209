"""The counts of the paper's printed columns, to the printed digits."""

import pytest
import torch
from torch import nn

from scconv import backbones, cost, replace_convs

pytestmark = pytest.mark.slow

CRU_ROWS = [
    {"order": ["cru"]},
    {"order": "parallel"},
    {"order": ["cru", "sru"]},
    {"order": ["sru", "cru"]},
]


def counts(backbone, classes, options=None):
    with torch.device("meta"):
        model = backbones.build(backbone, classes)
        if options is not None:
            replace_convs(model, "scconv", **options)
    return cost(model)


@pytest.mark.parametrize(
    "backbone, classes, options, params_m, flops_m",
    [
        ("resnet50", 100, None, "23.71", None),
        ("resnet50", 10, None, "23.52", None),
        *[("resnet50", 10, options, "14.74", "843.81") for options in CRU_ROWS],  # Table 1
        ("resnet50", 100, {"lower": "eq11"}, "14.69", "831.18"),  # Table 2
        ("resnet56", 10, None, "0.86", "126.84"),
        ("resnet56", 10, {}, "0.52", "79.55"),
    ],
)
def test_printed_columns(backbone, classes, options, params_m, flops_m):
    got = counts(backbone, classes, options)
    assert f"{got.paper_params / 1e6:.2f}" == params_m
    if flops_m:
        assert f"{got.paper_flops / 1e6:.2f}" == flops_m


def test_the_row_plus_s_counts_group_norm_as_the_others_do_not():
    got = counts("resnet50", 10, {"order": ["sru"]})
    assert f"{got.params / 1e6:.2f}" == "23.53"
    assert got.params - got.paper_params == 2 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512)


@pytest.mark.parametrize("alpha", [1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8])
def test_every_alpha_by_the_closed_form(alpha):
    """ResNet-50 with variant `paper`: what each 3x3 loses and each CRU brings, summed over the
    sixteen blocks.
    """
    widths = 3 * [64] + 4 * [128] + 6 * [256] + 3 * [512]
    change = sum(
        int((alpha**2 / 2 + 9 * alpha / 4 + 3 / 4) * c**2 + (6 + 1.5 * alpha) * c) - 9 * c**2
        for c in widths
    )
    assert counts("resnet50", 10, {"alpha": alpha}).paper_params == 23_520_842 + change


def test_alpha_orders_the_cost():
    flops = [
        counts("resnet50", 10, {"alpha": a}).paper_flops
        for a in (1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)
    ]
    assert flops == sorted(flops) and flops[-1] < counts("resnet50", 10).paper_flops


def test_each_rule_of_the_convention():
    def extra(*layers):
        got = cost(nn.Sequential(*layers), (4, 8, 8))
        return got.paper_flops - got.macs

    conv = nn.Conv2d(4, 6, 1, bias=False)
    assert cost(nn.Sequential(conv), (4, 8, 8)).macs == 4 * 6 * 64
    assert extra(conv) == 0
    assert extra(nn.Conv2d(4, 6, 1)) == 6 * 64  # one per output of a bias
    assert extra(conv, nn.BatchNorm2d(6)) == 2 * 6 * 64
    assert extra(conv, nn.AvgPool2d(2)) == 6 * 16
    assert extra(conv, nn.AdaptiveAvgPool2d(1)) == 6 * 64 + 6
    assert extra(conv, nn.GroupNorm(2, 6), nn.ReLU(), nn.MaxPool2d(2), nn.Sigmoid()) == 0


def test_cost_leaves_the_model_as_it_was():
    model = backbones.build("resnet20", 10).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    got = cost(model)
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    assert got.activations > 0 and got.macs == counts("resnet20", 10).macs


def test_unknown_backbone():
    with pytest.raises(ValueError, match="unknown backbone 'resnet-50': did you mean 'resnet50'"):
        backbones.build("resnet-50", 10)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet20", "resnet50", "resnet56", "resnext29", "densenet121"]
)
def test_backbones_run_and_learn(name):
    model = backbones.build(name, 7)
    out = model(torch.randn(2, 3, 16, 16))
    assert out.shape == (2, 7)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


class Twice(nn.Module):
    """One convolution by two names, one weight in two layers, buffers, and a tensor that is none."""

    def __init__(self):
        super().__init__()
        self.stem = self.body = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head, self.tail = nn.Linear(8, 8), nn.Linear(8, 8)
        self.tail.weight = self.head.weight
        self.scale = torch.ones(8)

    def forward(self, x):
        return self.tail(self.scale * self.head(self.norm(self.body(x)).mean((2, 3))))


def test_counting_leaves_shared_modules_and_weights_as_they_are():
    model = Twice()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = {id(p) for p in model.parameters()}
    counted = cost(model, (3, 8, 8))
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.stem is model.body and model.tail.weight is model.head.weight
    assert torch.equal(model.scale, torch.ones(8))
    assert {id(p) for p in model.parameters()} == parts
    assert counted.params == 8 * 27 + 8 + 16 + 64 + 8 + 8
