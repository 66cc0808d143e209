"""What every convolution of the catalogue must be, whatever it computes; and the rows of the paper that the simple ones reproduce."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import scconv.convs
from scconv import backbones, cost, replace_convs
from scconv.convs import find

NAMES = sorted(p.stem for p in Path(scconv.convs.__file__).parent.glob("[a-z]*.py"))


def make(name: str, c1: int = 32, c2: int = 64, stride: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return find(name)(nn.Conv2d(c1, c2, 3, stride, 1, bias=False))


@pytest.mark.parametrize("name", NAMES)
class TestEvery:
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("channels", [(32, 32), (32, 64), (64, 32)])
    @pytest.mark.parametrize("size", [7, 8])
    def test_has_the_shape_of_what_it_replaces(self, name, stride, channels, size):
        x = torch.randn(2, channels[0], size, size)
        assert make(name, *channels, stride)(x).shape == nn.Conv2d(*channels, 3, stride, 1)(x).shape

    def test_gives_every_parameter_a_gradient_but_those_behind_a_hard_mask(self, name):
        module = make(name)
        module(torch.randn(4, 32, 8, 8, requires_grad=True)).square().sum().backward()
        without = {n for n, p in module.named_parameters() if p.grad is None}
        assert without == ({"sru.norm.weight", "sru.norm.bias"} if name == "scconv" else set())

    def test_runs_on_the_meta_device(self, name):
        with torch.device("meta"):
            assert make(name)(torch.randn(2, 32, 8, 8)).device.type == "meta"

    def test_runs_under_bf16_autocast(self, name):
        with torch.autocast("cpu", torch.bfloat16):
            out = make(name)(torch.randn(2, 32, 8, 8))
        assert out.dtype == torch.bfloat16 and out.isfinite().all()

    def test_its_state_alone_determines_its_output(self, name):
        module, x = make(name), torch.randn(4, 32, 8, 8)
        module(x)  # moves the running statistics
        torch.manual_seed(1)
        other = find(name)(nn.Conv2d(32, 64, 3, 1, 1, bias=False))
        other.load_state_dict(copy.deepcopy(module.state_dict()))
        torch.manual_seed(2)
        assert torch.equal(module.eval()(x), other.eval()(x)) and torch.equal(module(x), module(x))


@pytest.mark.parametrize(
    "conv, options, message",
    [
        ("group", {"groups": 5}, r"`in_channels` \(=32\) must be divisible by `groups` \(=5\)"),
        ("tied", {"blocks": 3}, r"`in_channels` \(=32\) must be divisible by `blocks` \(=3\)"),
        ("sp", {"alpha": 0.01}, r"`alpha` \(=0.01\) must leave channels on both sides"),
        ("slim", {"k": "2"}, r"`k` \(='2'\) must be one of 1, 4/3, 8/3"),
        ("sp", {"groups": 3}, r"`groups` \(=3\) must divide"),
    ],
)
def test_refusals(conv, options, message):
    with pytest.raises(ValueError, match=message):
        find(conv)(nn.Conv2d(32, 64, 3, 1, 1), **options)


@pytest.mark.parametrize(
    "backbone, classes, conv, options, params_m, flops_m",
    [
        ("wideresnet28", 100, "standard", {}, "36.5470", "5959.540"),
        ("densenet121", 100, "standard", {}, "7.0485", "898.225"),
        ("resnet56", 10, "sp", {}, "0.5826", "87.948"),
        ("resnet56", 10, "ghost", {}, "0.4511", "68.353"),
        ("resnet56", 100, "tied", {}, "0.5350", "94.993"),
        ("resnet56", 10, "slim", {}, "0.5994", "88.820"),
        ("resnext29", 10, "slim", {"k": "4/3"}, "28.2469", "4380.592"),
        ("wideresnet28", 100, "slim", {}, "25.0003", "4252.749"),
        ("densenet121", 100, "slim", {}, "5.9656", "670.098"),
        ("resnext29", 10, "sp", {}, "31.1663", "4792.083"),
        ("wideresnet28", 100, "sp", {}, "24.2001", "4157.759"),
        ("wideresnet28", 100, "tied", {}, "22.0273", "4542.815"),
        ("densenet121", 100, "tied", {"bias": True}, "5.4459", "695.678"),
        ("densenet121", 100, "ghost", {}, "5.0413", "517.260"),
    ],
)
def test_rows_of_table_2(backbone, classes, conv, options, params_m, flops_m):
    """Beyond the printed digits, so that nothing moves unnoticed; rounded, they are the paper's Table 2."""
    with torch.device("meta"):
        model = backbones.build(backbone, classes)
        replace_convs(model, conv, **options)
    got = cost(model)
    assert (f"{got.paper_params / 1e6:.4f}", f"{got.paper_flops / 1e6:.3f}") == (params_m, flops_m)
