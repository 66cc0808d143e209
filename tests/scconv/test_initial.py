"""Where weights start: variants of one seed differ by their design alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

import scconv.convs
from scconv import backbones, replace_convs
from scconv.backbones.resnet import Bottleneck, ResNet

NAMES = sorted(p.stem for p in Path(scconv.convs.__file__).parent.glob("[a-z]*.py"))
NAMES.remove("subset")  # refuses inner convolutions; test_stems.py has it


def network(conv: str = "standard", seed: int = 0, **options) -> nn.Module:
    """A small ResNet of bottlenecks, which every design accepts."""
    torch.manual_seed(seed)
    model = ResNet(Bottleneck, (1, 2), 32, 10)
    replace_convs(model, conv, **options)
    return model


def own(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "own.py"
    path.write_text("from torch import nn\nfrom scconv.convs import like\n\n" + body)
    return path


@pytest.mark.parametrize("conv", NAMES)
def test_what_a_design_does_not_touch_starts_alike(conv):
    plain, other = network(), network(conv)
    after = torch.rand(1)
    network()
    assert torch.equal(torch.rand(1), after), "draws after surgery depend on the design"
    ours, theirs = plain.state_dict(), other.state_dict()
    shared = [k for k in ours if k in theirs and "conv2" not in k]
    # octave converts whole blocks; every other design shares all layers but the replaced ones
    assert len(shared) > (8 if conv == "octave" else 50)
    assert all(torch.equal(ours[k], theirs[k]) for k in shared)


@pytest.mark.parametrize(
    "conv, options",
    [("group", {"groups": 1}), ("tied", {"blocks": 1}), ("scconv", {"order": ["sru"]})],
)
def test_a_convolution_of_the_replaced_ones_shape_is_its_counterpart(conv, options):
    plain, other = network(), network(conv, **options)
    for i, block in enumerate(plain.stages[1]):
        weights = [p for p in other.stages[1][i].conv2.parameters() if p.dim() == 4]
        assert len(weights) == 1 and torch.equal(weights[0], block.conv2.weight)


def test_a_counterpart_takes_the_bias_too(tmp_path):
    path = own(
        tmp_path,
        "def drop_in(conv, *, bias=True):\n"
        "    return like(conv, conv.in_channels, conv.out_channels, bias=bias)\n",
    )
    conv = nn.Conv2d(8, 8, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU())
    replace_convs(model, "own", path=path)
    assert model[0] is not conv and torch.equal(model[0].bias, conv.bias)
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.ReLU())
    replace_convs(model, "own", path=path)
    assert model[0].bias.abs().max() <= 1 / 72**0.5 and model[0].bias.std() > 0


@pytest.mark.parametrize("conv", ["scconv", "sp", "slim", "ghost", "versatile", "group", "tied"])
def test_every_other_convolution_starts_by_the_backbones_rule(conv):
    checked = 0
    for module in network(conv).stages[1].modules():
        # the standard deviation of fewer values says little
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= 1000:
            fan_out = module.out_channels * module.weight[0, 0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
            checked += 1
    assert checked > 4


def test_two_convolutions_of_the_replaced_ones_shape_do_not_start_alike(tmp_path):
    path = own(
        tmp_path,
        "def drop_in(conv):\n"
        "    return nn.Sequential(*(like(conv, conv.in_channels, conv.out_channels) for _ in "
        "'ab'))\n",
    )
    plain, other = network().stages[0][0].conv2, network("own", path=path).stages[0][0].conv2
    assert torch.equal(other[0].weight, plain.weight)
    assert not torch.equal(other[1].weight, plain.weight)


def test_a_design_that_sets_its_weights_itself_keeps_them(tmp_path):
    path = own(
        tmp_path,
        "def drop_in(conv):\n"
        "    new = like(conv, conv.in_channels, conv.out_channels)\n"
        "    nn.init.dirac_(new.weight)\n"
        "    return new\n",
    )
    new = network("own", path=path).stages[0][0].conv2
    assert torch.equal(new.weight, nn.init.dirac_(torch.empty_like(new.weight)))


def test_the_same_unit_in_two_orders_starts_alike():
    a, b = network("scconv"), network("scconv", order=["cru", "sru"])
    ours, theirs = (m.stages[1][1].conv2.cru.state_dict() for m in (a, b))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_refused_place_leaves_torch_as_it_was():
    with pytest.raises(ValueError, match="gn_groups"):
        network("scconv", gn_groups=3)
    torch.manual_seed(0)
    a = nn.Conv2d(8, 8, 3).weight.clone()
    torch.manual_seed(0)
    b = nn.Conv2d.__new__(nn.Conv2d)
    b.__init__(8, 8, 3)
    bound = 1 / 72**0.5
    assert (
        torch.equal(a, b.weight)
        and a.abs().max() <= bound
        and "reset_parameters" not in vars(nn.Conv2d)
    )


@pytest.mark.parametrize("backbone", ["resnet20", "wideresnet28", "resnext29"])
def test_a_placebo_is_the_baseline_but_for_the_first_weights_of_the_replaced(backbone):
    models = []
    with torch.device("meta") if backbone != "resnet20" else torch.device("cpu"):
        for conv in ("standard", "placebo"):
            torch.manual_seed(0)
            models.append(backbones.build(backbone, 10))
            replace_convs(models[-1], conv)
    plain, placebo = models
    assert repr(plain) == repr(placebo)
    if backbone == "resnet20":
        a, b = plain.state_dict(), placebo.state_dict()
        differing = {k for k in a if not torch.equal(a[k], b[k])}
        assert differing == {f"{place}.weight" for place in plain.places}
        x, y = (torch.cat([s[k].flatten() for k in sorted(differing)]) for s in (a, b))
        assert torch.corrcoef(torch.stack((x, y)))[0, 1].abs() < 0.02
        assert y.std().item() == pytest.approx(x.std().item(), rel=0.02)
