"""The shallow networks and the ResNets behind a max-pool, by their exact counts."""

import pytest
import torch

from scconv import backbones, cost

# options -> parameters and multiply-adds of an 84x84 image with 50 classes, from a second,
# independent writing of the networks
COUNTS = {
    "resnet18": ("resnet18", {"pool": True}, 11_194_482, 1_059_287_040),
    "resnet34": ("resnet34", {"pool": True}, 21_302_642, 2_190_274_560),
    "v1": ("shallow", {"kernel": 3, "stride": 1}, 205_204, 8_554_363_648),
    "v2": ("shallow", {"kernel": 7, "stride": 2}, 212_884, 807_891_712),
}


@pytest.mark.parametrize("case", COUNTS)
def test_counts(case):
    name, options, params, macs = COUNTS[case]
    with torch.device("meta"):
        found = cost(backbones.build(name, 50, **options), (3, 84, 84))
    assert (found.params, found.macs) == (params, macs)


def test_its_parts_by_hand():
    shallow = pytest.importorskip("scconv.backbones.shallow")

    def params(module):
        return sum(p.numel() for p in module.parameters())

    attention = shallow.Attention(64, 1, False, True)
    assert params(shallow.SE(64)) == 512 and params(attention) == 5_713
    assert params(shallow.Report(64, attention, True)) == 117_009
    # five 3x3 convolutions from 64, 96, 128, 160 and 192 channels
    dense = 9 * (32 * (64 + 96 + 128 + 160) + 64 * 192) + 4 * 32 + 64
    assert params(shallow.RRDB(64)) == 3 * dense


def test_attention_is_softmax_over_all_places(monkeypatch):
    torch.manual_seed(0)
    shallow = pytest.importorskip("scconv.backbones.shallow")
    attention = shallow.Attention(32, 2, True, False)
    x = torch.randn(2, 32, 3, 4)
    assert torch.equal(attention(x), x), "gamma starts from 0"
    torch.nn.init.ones_(attention.gamma)
    q, k, v = (
        part(x).flatten(2).unflatten(1, (2, -1)).transpose(2, 3)
        for part in (attention.query, attention.key, attention.value)
    )
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    wanted = x + mixed.transpose(2, 3).reshape(x.shape)
    torch.testing.assert_close(attention(x), wanted)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"block": "rrdb"},
        {"block": "none"},
        {"attention": False},
        {"se": False},
        {"heads": 4, "scale": True, "width": 32, "out": 48},
    ],
    ids=str,
)
def test_every_form_trains(options):
    torch.manual_seed(0)
    model = backbones.build("shallow", 7, **options)
    y = model(torch.randn(2, 3, 16, 16))
    assert y.shape == (2, 7)
    y.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    "options, said",
    [({"block": "dense"}, "block: must be"), ({"width": 40}, "width: must"), ({"heads": 0}, "got")],
)
def test_impossible_forms_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        backbones.build("shallow", 7, **options)
