"""Replacing convolutions in networks of our own and of others."""

import pytest
import torch
import torchvision
from torch import nn

from scconv import SCConv, backbones, cost, replace_convs
from scconv.backbones.resnet import Bottleneck
from scconv.convs import find
from scconv.convs.octave import Octaves, OctConv


def test_own_backbones_say_where():
    assert [s.path for s in replace_convs(backbones.build("resnet20", 10), "scconv")] == [
        f"stages.{i}.{j}.conv2" for i in range(3) for j in range(3)
    ]
    assert len(replace_convs(backbones.build("resnet50", 10), "scconv")) == 16


def test_torchvision_models_never_lose_their_stem_and_still_learn():
    model = torchvision.models.resnet18(num_classes=10)
    swaps = replace_convs(model, "scconv", alpha=0.5)
    assert (
        isinstance(model.conv1, nn.Conv2d)
        and len(swaps) == 16
        and all(s.params_after < s.params_before for s in swaps)
    )
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
    with pytest.raises(
        ValueError,
        match=r"layer stages\.0\.0\.conv2: 'slim' makes 12 channels of 16, and a Basic cannot narrow what follows",
    ):
        replace_convs(backbones.build("resnet20", 10), "slim", k="4/3")


def test_find_by_name_and_by_path(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"unknown conv 'nope'; use one of depthwise, dynamic, .*, versatile, or write nope.py",
    ):
        find("nope")
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="must define drop_in"):
        find("mine", tmp_path / "mine.py")
    with pytest.raises(ValueError, match="is not a Python file"):
        find("none", tmp_path / "none.py")


def test_unusual_kernels_are_refused():
    with pytest.raises(ValueError, match=r"`kernel_size` .* must be the same in both directions"):
        find("scconv").drop_in(nn.Conv2d(32, 32, (3, 5), padding=(1, 2)))
    with pytest.raises(ValueError, match="must keep the size"):
        find("scconv").drop_in(nn.Conv2d(32, 32, 3))


def test_a_convolution_that_covers_what_follows_has_it_removed_or_says_that_it_cannot():
    model = backbones.build("resnet50", 10)
    replace_convs(model, "pf", where=lambda path, conv: path == "stages.0.1.conv2")
    block, other = model.stages[0][1], model.stages[0][2]
    assert (
        isinstance(block.conv2, nn.MaxPool2d)
        and isinstance(block.bn2, nn.Identity)
        and isinstance(block.act2, nn.Identity)
    )
    assert isinstance(other.bn2, nn.BatchNorm2d) and isinstance(other.act2, nn.ReLU)
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    basic = backbones.build("resnet20", 10)
    with pytest.raises(
        ValueError,
        match=r"layer stages\.0\.0\.conv2: 'pf' is to stand for the act after it too, which a Basic does not offer",
    ):
        replace_convs(basic, "pf")
    assert all(isinstance(b.conv2, nn.Conv2d) for stage in basic.stages for b in stage)


def test_the_norm_after_a_replaced_convolution_can_be_left_out():
    model = backbones.build("resnet56", 10)
    replace_convs(model, "tied", keep_norm=False)
    assert all(
        isinstance(b.bn2, nn.Identity) and isinstance(b.bn1, nn.BatchNorm2d)
        for stage in model.stages
        for b in stage
    )


@pytest.mark.parametrize(
    "backbone, convs", [("resnet20", 15), ("resnet50", 44), ("wideresnet28", 20)]
)
def test_octave_keeps_the_parameters_and_works_at_odd_sizes(backbone, convs):
    with torch.device("meta"):
        plain, model = backbones.build(backbone, 10), backbones.build(backbone, 10)
        swaps = replace_convs(model, "octave")
        assert sum(p.numel() for p in model.parameters()) == sum(
            p.numel() for p in plain.parameters()
        )
        assert all(s.params_before == s.params_after for s in swaps) and len(swaps) == convs
        model(torch.randn(2, 3, 30, 30)).sum().backward()
        assert all(p.grad is not None for p in model.parameters())


def test_octave_of_a_map_without_detail_is_the_convolution():
    """Pooling and enlarging leave a constant as it is, so a 1x1 must make of it what it made
    before, in two parts.
    """
    for stride in (1, 2):
        conv = nn.Conv2d(8, 12, 1, stride, bias=False)
        x = torch.randn(2, 8, 1, 1).expand(2, 8, 8, 8)
        split, joined = OctConv(conv, 0.0, 0.25), OctConv(conv, 0.25, 0.0)
        halves = split(x)
        assert halves.low.shape[1:] == (3, 4 // stride, 4 // stride) and halves.high.shape[1:] == (
            9,
            8 // stride,
            8 // stride,
        )
        want = conv(x)
        torch.testing.assert_close(halves.high, want[:, 3:])
        torch.testing.assert_close(halves.low, want[:, :3, : 4 // stride, : 4 // stride])
        torch.testing.assert_close(joined(Octaves(x[:, 2:], x[:, :2, :4, :4])), want)
        both = OctConv(conv, 0.25, 0.25)(Octaves(x[:, 2:], x[:, :2, :4, :4]))
        torch.testing.assert_close((both.high, both.low), (halves.high, halves.low))


def test_octave_needs_blocks_that_say_what_flows_between_their_layers():
    for model in (torchvision.models.resnet18(), backbones.build("densenet121", 10)):
        with pytest.raises(
            ValueError, match="octave splits the maps between convolutions in two, and no block of"
        ):
            replace_convs(model, "octave")
    with pytest.raises(ValueError, match=r"layer stages\.0\.0\.conv2: `groups` \(=8\) must be 1"):
        replace_convs(backbones.build("resnext29", 10), "octave")


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ("resnet18_imagenet", "resnet18"),
        ("resnet50_imagenet", "resnet50"),
        ("resnet101_imagenet", "resnet101"),
    ],
)
def test_imagenet_forms_are_torchvisions(ours, theirs):
    with torch.device("meta"):
        a, b = backbones.build(ours, 1000), getattr(torchvision.models, theirs)()
    shapes = [sorted(tuple(p.shape) for p in m.parameters()) for m in (a, b)]
    assert shapes[0] == shapes[1] and cost(a, (3, 224, 224)).macs == cost(b, (3, 224, 224)).macs


def test_what_a_block_offers_is_for_its_own_place():
    for conv, options in (("tied", {"keep_norm": False}), ("slim", {"k": "4/3"})):
        model = backbones.build("resnet50", 10)
        with pytest.raises(ValueError, match=r"layer stages\.2\.1\.conv1: '"):
            replace_convs(
                model, conv, where=lambda path, conv: path == "stages.2.1.conv1", **options
            )


def test_a_narrowed_block_keeps_its_dtype_and_mode():
    model = nn.Sequential(Bottleneck(64, 16, 1)).double().eval()
    replace_convs(model, "slim", k="4/3")
    assert not any(m.training for m in model.modules()) and {
        p.dtype for p in model.parameters()
    } == {torch.float64}
    assert model[0].conv3.in_channels == model[0].bn2.num_features < 16
    model(torch.randn(2, 64, 16, 16, dtype=torch.float64))


def test_a_convolution_that_stands_at_two_places_is_replaced_by_one():
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    model.append(model[0])
    swaps = replace_convs(model, "scconv")
    assert (
        [s.path for s in swaps] == ["0"] and model[0] is model[2] and isinstance(model[0], SCConv)
    )


def test_counting_keeps_every_modules_mode():
    model = backbones.build("resnet20", 10).train()
    model.stem[1].eval()
    cost(model)
    assert model.training and not model.stem[1].training and model.stages[0][0].bn1.training


def test_octave_keeps_what_a_network_has_learned():
    model = backbones.build("resnet20", 10)
    norm, conv = model.stages[0][0].bn1, model.stages[0][0].conv2
    norm.running_mean.copy_(torch.arange(16.0))
    conv.weight.requires_grad_(False)
    before = conv.weight.detach().clone()
    replace_convs(model, "octave", alpha=0.25)
    block = model.stages[0][0]
    assert block.bn1.low.running_mean.tolist() == [
        0,
        1,
        2,
        3,
    ] and block.bn1.high.running_mean.tolist() == [*range(4, 16)]
    assert torch.equal(block.conv2.hh.weight, before[4:, 4:]) and torch.equal(
        block.conv2.lh.weight, before[4:, :4]
    )
    assert not any(p.requires_grad for p in block.conv2.parameters())
    with pytest.raises(ValueError, match="octave has split this network's maps already"):
        replace_convs(model, "octave")


@pytest.mark.parametrize("name", ["scconv", "sp", "ghost", "versatile"])
def test_a_geometry_that_a_design_cannot_have_is_refused(name):
    for odd in (
        {"padding": 0},
        {"stride": (1, 2), "padding": 1},
        {"kernel_size": (1, 7), "padding": (0, 3)},
        {"kernel_size": 4, "padding": 2},
    ):
        with pytest.raises(ValueError, match=r"keep this convolution as it is"):
            find(name).drop_in(nn.Conv2d(32, 32, **{"kernel_size": 3} | odd))
    dilated = nn.Conv2d(32, 32, 3, padding=2, dilation=2, bias=False)
    x = torch.randn(2, 32, 9, 9)
    assert find(name).drop_in(dilated)(x).shape == dilated(x).shape


def test_odd_sizes_pool_their_last_row_by_what_is_there():
    """As torch.compile's backward has it too; at even sizes it is the plain 2x2 average."""
    module = SCConv(32, 32, stride=2)
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert module.cru.pool(x).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]


def test_a_convolution_in_a_file_of_its_own_is_one_class_however_often_it_is_found(tmp_path):
    import pickle

    path = tmp_path / "own.py"
    path.write_text(
        "from torch import nn\n\nclass Own(nn.Conv2d): pass\n\ndef drop_in(conv):\n    return "
        "Own(conv.in_channels, conv.out_channels, 1)\n"
    )
    first = find("own", path).drop_in(nn.Conv2d(4, 4, 1))
    find("own", path)
    assert isinstance(pickle.loads(pickle.dumps(first)), type(first))  # noqa: S301 - our own bytes
    path.write_text("def drop_in(conv) return")
    with pytest.raises(ValueError, match=r"own.py cannot be imported \(SyntaxError"):
        find("own", path)
