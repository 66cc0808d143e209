"""First convolutions that are made for images of which channels are missing, against literal
references.
"""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scconv import backbones, replace_convs
from scconv.channels import Present, subsets, takes_subsets
from scconv.convs import dynamic
from scconv.convs import set as sets
from scconv.convs import subset as by_size

# option -> parameters of a 3x3 stem 3 -> 64 without bias
PARAMETERS = {
    ("standard", ""): 1_728,
    ("set", ""): 1_728,
    ("subset", ""): 11_520,
    ("subset", "fixed"): 6_976,
    ("dynamic", ""): 6_923,
}
GEOMETRIES = {
    "plain": {"padding": 1},
    "bias": {"padding": 1, "bias": True},
    "strided": {"stride": (2, 1), "padding": (2, 0), "dilation": 2},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "same": {"padding": "same"},
}


def conv(c: int = 3, **geometry) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(c, 5, 3, **{"bias": False} | geometry)


def images(n: int = 7, c: int = 3) -> torch.Tensor:
    return torch.randn(n, c, 9, 8, generator=torch.Generator().manual_seed(1))


def given(module: nn.Module, x: torch.Tensor, mask: tuple[bool, ...]) -> torch.Tensor:
    return module(Present(x, torch.tensor(mask).expand(len(x), -1)))


@pytest.mark.parametrize("stem, by", PARAMETERS)
def test_the_parameters_of_a_stem(stem, by):
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64))
    replace_convs(model, stem, where="first", **({"by": by} if by else {}))
    assert sum(p.numel() for p in model[0].parameters()) == PARAMETERS[stem, by]


@pytest.mark.parametrize("film", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_set_of_all_channels_is_the_convolution_bit_for_bit(geometry, film):
    model = nn.Sequential(conv(**geometry))
    old, x = copy.deepcopy(model[0]), images()
    replace_convs(model, "set", where="first", film=film)
    assert isinstance(model[0], sets.SetConv)
    assert torch.equal(model(x), old(x))
    assert torch.equal(given(model, x, (True,) * 3), old(x))


@pytest.mark.parametrize("scale", ["count", "none"])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_set_of_some_channels_is_the_scaled_sum_over_them(geometry, scale):
    old, x = conv(**geometry), images()
    new = sets.drop_in(old, scale=scale)
    new.load_state_dict(old.state_dict())
    for _, mask in subsets(3):
        there = [i for i, is_there in enumerate(mask) if is_there]
        sliced = nn.Conv2d(len(there), 5, 3, **{"bias": False} | geometry)
        state = {"weight": old.weight[:, there] * (3 / len(there) if scale == "count" else 1)}
        sliced.load_state_dict(state | ({"bias": old.bias} if old.bias is not None else {}))
        torch.testing.assert_close(given(new, x, mask), sliced(x[:, there]), rtol=1e-5, atol=1e-5)


def test_set_does_not_depend_on_the_order_of_the_channels():
    old, x, mask = conv(), images(), torch.tensor([True, False, True])
    new = sets.drop_in(old)
    for order in itertools.permutations(range(3)):
        turned = copy.deepcopy(new)
        with torch.no_grad():
            turned.weight.copy_(new.weight[:, order])
        torch.testing.assert_close(
            given(turned, x[:, order], tuple(mask[[*order]].tolist())),
            given(new, x, tuple(mask.tolist())),
        )


def test_film_has_a_scale_and_a_shift_for_each_number_of_channels():
    new, x = sets.drop_in(conv(), film=True), images()
    plain = given(new, x, (True, False, True))
    with torch.no_grad():
        new.film[1][0] *= 2
        new.film[1][1] += 1
    torch.testing.assert_close(given(new, x, (True, False, True)), 2 * plain + 1)
    torch.testing.assert_close(new(x), F.conv2d(x, new.weight))


@pytest.mark.parametrize("c", [3, 4])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_generators_kernels_are_a_mixture_of_static_ones(geometry, c):
    """W(mu) = B0 + sum over the channels there of mu_c A_c, and slicing is masking."""
    old, x = conv(c, **geometry), images(3, c)
    new = by_size.drop_in(old)
    for _, mask in subsets(c):
        there = [i for i, is_there in enumerate(mask) if is_there]
        n = len(there)
        generator = new.subset[n - 1]
        static = generator.bias.reshape(5, n, 3, 3)
        mixtures = generator.weight.T.reshape(n, 5, n, 3, 3)
        got = given(new, x, mask)
        sliced = nn.Conv2d(n, 5, 3, **{"bias": False} | geometry)
        for i, image in enumerate(x[:, there]):
            means = image.mean((1, 2))
            kernels = static + sum(mean * part for mean, part in zip(means, mixtures, strict=True))
            state = {"weight": kernels} | ({"bias": old.bias} if old.bias is not None else {})
            sliced.load_state_dict(state)
            torch.testing.assert_close(got[i], sliced(image[None])[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(new(x), given(new, x, (True,) * c))


def test_a_generator_knows_how_many_channels_there_are_and_not_which():
    new, x = by_size.drop_in(conv()), images()
    red = given(new, x, (True, False, False))
    moved = torch.stack([x[:, 1], x[:, 2], x[:, 0]], 1)
    torch.testing.assert_close(given(new, moved, (False, False, True)), red)


def test_all_channels_train_the_generator_of_all_alone():
    new = by_size.drop_in(conv())
    new(images()).sum().backward()
    trained = [name for name, p in new.named_parameters() if p.grad is not None]
    assert trained == ["subset.2.weight", "subset.2.bias"]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_fixed_generator_has_a_tanh_and_a_bias(geometry):
    old, x = conv(**geometry), images()
    new = by_size.drop_in(old, by="fixed")
    with torch.no_grad():
        new.bias += torch.randn(5)
    plain = {k: v for k, v in geometry.items() if k != "bias"}
    for i, image in enumerate(x):
        made = (new.generate.weight @ image.mean((1, 2)) + new.generate.bias).tanh()
        static = nn.Conv2d(3, 5, 3, **plain)
        static.load_state_dict({"weight": made.reshape(5, 3, 3, 3), "bias": new.bias})
        torch.testing.assert_close(new(x)[i], static(image[None])[0], rtol=1e-5, atol=1e-5)
    assert not takes_subsets(new)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_dynamic_mixes_kernels_by_attention(geometry):
    old, x = conv(4, **geometry), images(3, 4)
    new = dynamic.drop_in(old, kernels=3, squeeze=2)
    if new.bias is not None:
        nn.init.normal_(new.bias)
    for i, image in enumerate(x):
        hidden = (new.squeeze.weight @ image.mean((1, 2))).relu()
        scores = new.excite.weight @ hidden + new.excite.bias
        shares = (scores / 30).softmax(0)
        parts = new.weight.reshape(3, 5, 4, 3, 3)
        mixed = nn.Conv2d(4, 5, 3, **{"bias": False} | geometry)
        state = {"weight": sum(s * part for s, part in zip(shares, parts, strict=True))}
        mixed.load_state_dict(state | ({"bias": shares @ new.bias} if new.bias is not None else {}))
        torch.testing.assert_close(new(x)[i], mixed(image[None])[0], rtol=1e-5, atol=1e-5)


def test_the_temperature_falls_over_a_tenth_of_the_training():
    new = dynamic.drop_in(conv())
    seen = []
    for progress in (0.0, 0.05, 0.1, 1.0):
        new.set_progress(progress)
        seen.append(new.temperature.item())
    assert seen == pytest.approx([30, 15.5, 1, 1])
    assert "temperature" in new.state_dict()
    still = dynamic.drop_in(conv(), anneal=False)
    still.set_progress(1.0)
    assert still.temperature == 30


@pytest.mark.parametrize("stem", ["set", "subset", "dynamic"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet18_imagenet", "shallow", "densenet121"])
def test_a_stem_is_the_first_convolution_and_leaves_the_others_to_the_conv(stem, backbone):
    with torch.device("meta"):
        model = backbones.build(backbone, 10)
        first = next(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
        assert not takes_subsets(model)
        inner = replace_convs(model, "group", groups=2)
        assert [swap.path for swap in replace_convs(model, stem, where="first")] == [first]
        assert first not in {swap.path for swap in inner}
        assert takes_subsets(model) == (stem != "dynamic")
        with pytest.raises(ValueError, match="replaced already"):
            replace_convs(model, stem, where="first")


def test_only_a_networks_first_convolution_takes_subsets():
    model = backbones.build("resnet20", 10)
    replace_convs(model, "set")
    assert not takes_subsets(model)
    replace_convs(model, "set", where="first")
    x, mask = torch.randn(2, 3, 8, 8), torch.tensor([[True, False, True]] * 2)
    assert model.eval()(Present(x, mask)).shape == (2, 10)


def test_what_a_stem_does_not_replace_starts_alike():
    plain = backbones_at("standard").state_dict()
    for stem in ("set", "subset", "dynamic"):
        other = backbones_at(stem).state_dict()
        shared = [k for k in plain if k in other and "stem.0" not in k]
        assert len(shared) > 100 and all(torch.equal(plain[k], other[k]) for k in shared)


def backbones_at(stem: str) -> nn.Module:
    torch.manual_seed(0)
    model = backbones.build("resnet20", 10)
    replace_convs(model, stem, where="first")
    return model


def test_a_generators_static_part_starts_as_the_convolution_that_it_replaces():
    model = nn.Sequential(conv(padding=1))
    old = model[0].weight.clone()
    replace_convs(model, "subset", where="first")
    assert torch.equal(model[0].subset[2].bias, old.flatten())
    assert model[0].subset[1].bias.std() > 0
