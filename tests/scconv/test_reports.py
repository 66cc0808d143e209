"""The reports' networks to the last unit, beside what the reports print."""

import csv
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scconv import SCConv, backbones, cost
from scconv.cost import reports
from scconv.cost.__main__ import main
from scconv.cost.calflops import Calflops
from scconv.cost.layers import depth

# (report, row) -> parameters, calflops of the batch, multiply-adds of an image, training MiB, layers;
# from a second, independent writing of the networks
EXACT = {
    ("channels", "baseline"): (11_194_482, 135_887_077_376, 1_059_287_040, 932.5, (18, 17)),
    ("channels", "v1"): (11_199_730, 502_251_703_296, 3_917_382_720, 2_159.5, (19, 17)),
    ("channels", "v1 with pool"): (11_199_730, 135_917_997_056, 1_059_292_224, None, (19, 17)),
    ("channels", "v2"): (11_204_274, 135_889_095_680, 1_059_292_224, 933.0, (19, 17)),
    ("channels", "v3"): (11_199_677, None, 1_059_293_959, 933.0, (20, 17)),
    ("channels", "v4"): (11_204_274, 135_889_095_680, 1_059_292_224, 933.0, (19, 17)),
    ("shallow", "baseline"): (21_302_642, 70_198_710_272, 2_190_274_560, 605.5, (34, 33)),
    ("shallow", "v1"): (205_204, 46_090_723_520, 8_554_363_648, 6_591.9, (14, 5)),
    ("shallow", "v2"): (212_884, 11_657_669_312, 807_891_712, 511.9, (14, 5)),
}


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], reports.Row]:
    found = [row for report in reports.NETWORKS for row in reports.rows(report)]
    return {(row.report, row.variant): row for row in found}


def test_every_row_is_known_to_the_unit(rows):
    assert rows.keys() == EXACT.keys()


@pytest.mark.parametrize("place", EXACT)
def test_exact_figures(place, rows):
    params, calflops, macs, mib, layers = EXACT[place]
    row = rows[place]
    assert (row.counted.params, row.counted.macs) == (params, macs)
    assert calflops is None or row.calflops == calflops
    assert mib is None or round(row.train_mib, 1) == mib
    assert (row.counted.layers, row.counted.spatial) == layers


def test_what_is_printed_agrees_but_for_a_miscount(rows):
    for place, row in rows.items():
        params, calflops = row.cells[3], row.cells[6]
        if place[1] == "v1 with pool":
            assert (params, calflops) == ("", "")
        elif place == ("channels", "v3"):
            # the network without its stem
            assert params == "+0.062%" and calflops == ""
            assert row.counted.params - 6_923 == 11_192_754
        else:
            assert (params, calflops) == ("=", "=")


def test_every_printed_row_has_a_network():
    for report, networks in reports.NETWORKS.items():
        with open(reports.FIGURES / f"{report}.csv", newline="") as file:
            printed = [line["variant"] for line in csv.DictReader(file)]
        assert [name for name in networks if name in printed] == printed


def counted(module, *shape: int) -> int:
    with torch.no_grad(), Calflops() as count:
        module(torch.zeros(shape))
    return count.total


@pytest.mark.parametrize(
    "function, flops",
    [
        (lambda x: F.conv2d(x, torch.zeros(5, 4, 3, 3)), 2 * 36 * 5 * 36),
        (lambda x: F.conv2d(x, torch.zeros(5, 4, 3, 3), torch.zeros(5)), (2 * 36 + 1) * 5 * 36),
        (lambda x: F.conv2d(x, torch.zeros(4, 1, 1, 1), groups=4), 2 * 4 * 64),
        (nn.Conv2d(4, 4, 3, stride=2, bias=True), (2 * 36 + 1) * 4 * 9),
        (lambda x: F.linear(x, torch.zeros(3, 8), torch.zeros(3)), 2 * 4 * 64 * 3),
        (nn.BatchNorm2d(4).eval(), 2 * 256),
        (nn.BatchNorm2d(4, affine=False).eval(), 256),
        (nn.GroupNorm(2, 4), 5 * 256),
        (nn.GroupNorm(2, 4, affine=False), 4 * 256),
        (F.relu, 256),
        (nn.ReLU(inplace=True), 256),
        (nn.Softmax(1), 256),
        (lambda x: x.softmax(1), 256),
        (nn.MaxPool2d(2), 256),
        (nn.AdaptiveAvgPool2d(1), 256),
        (lambda x: F.adaptive_avg_pool2d(x, 1), 256),
        (lambda x: x.mean((2, 3)), 0),
        (lambda x: (x @ x).sigmoid() + x.tanh() * 2, 0),
    ],
)
def test_the_count_of_calflops_by_hand(function, flops):
    assert counted(function, 1, 4, 8, 8) == flops


class Branches(nn.Module):
    """1x1 after 3x3, beside one 5x5; then a linear layer, scaled by a product of tensors."""

    def __init__(self):
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.short = nn.Conv2d(3, 4, 5, padding=1)
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        y = (self.long(x) + self.short(x)).mean((2, 3))
        return self.head(y) @ torch.ones(2, 2)


def test_the_longest_path_by_hand():
    assert depth(Branches()(torch.randn(2, 3, 8, 8))) == (3, 1)
    found = cost(Branches(), (3, 8, 8))
    assert (found.layers, found.spatial) == (3, 1)
    deep = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(1500)))
    assert depth(deep(torch.randn(1, 3, 2, 2))) == (1500, 0)


@pytest.mark.parametrize(
    "backbone, layers",
    [("resnet18", (18, 17)), ("resnet34", (34, 33)), ("resnet50_imagenet", (50, 17))],
)
def test_a_resnet_is_as_deep_as_its_name(backbone, layers):
    with torch.device("meta"):
        found = cost(backbones.build(backbone, 10), (3, 64, 64))
    assert (found.layers, found.spatial) == layers


def test_what_a_step_keeps_by_hand():
    """Input and output of the convolution, and of the loss its logarithms and labels."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))
    found = cost(model, (3, 2, 2))
    # the ReLU keeps its output, which the linear layer keeps as well
    each = 4 * (3 * 4 + 4 * 4 + 5) + 8
    assert found.kept == each
    params = 12 + 80 + 5
    for optimizer, slots in (("sgd", 1), ("adam", 2), ("adamw", 2)):
        want = (4 * params * (2 + slots) + found.kept_once + 32 * each) / 2**20
        assert found.train_mib(32, optimizer) == want
    assert found.kept_once < 16


def test_counting_leaves_a_network_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(SCConv(32, 32), nn.BatchNorm2d(32), nn.Flatten(), nn.Linear(2048, 3))
    model[1].eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = torch.get_rng_state()
    on_cpu = cost(model, (32, 8, 8))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model[0].training and not model[1].training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())
    assert cost(model.to("meta"), (32, 8, 8)) == on_cpu


def test_the_command(capsys):
    def said(*arguments: str) -> str:
        assert main([*arguments]) == 0
        return capsys.readouterr().out

    shown = said("shallow")
    assert "0.205204     205,204  =     46.0907  46,090,723,520  =" in shown
    assert "of a batch of 16 images" in shown
    first = json.loads(said("channels", "--json"))[0]
    assert first["calflops"] == 135_887_077_376 and first["train_mib"] == 932.5
