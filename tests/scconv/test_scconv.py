"""SRU, CRU and SCConv against the equations, written out slowly; shapes; and every refusal."""

import math

import pytest
import torch
from torch import nn

from scconv import CRU, SRU, SCConv
from scconv.options import ORDERS


def slow_sru(x, weight, bias, groups, threshold=0.5, eps=1e-5, soft=False):
    """Equations 1 to 4, element by element."""
    n, c, h, w = x.shape
    normed = torch.empty_like(x)
    size = c // groups
    for i in range(n):
        for g in range(groups):
            block = x[i, g * size : (g + 1) * size]
            mean = block.sum() / block.numel()
            variance = ((block - mean) ** 2).sum() / block.numel()
            for k in range(size):
                normed[i, g * size + k] = (block[k] - mean) / torch.sqrt(variance + eps) * weight[
                    g * size + k
                ] + bias[g * size + k]
    out = torch.empty_like(x)
    half = c // 2
    for i in range(n):
        for a in range(h):
            for b in range(w):
                x1, x2 = [], []
                for k in range(c):
                    gate = 1 / (1 + torch.exp(-(weight[k] / weight.sum()) * normed[i, k, a, b]))
                    above = gate.item() > threshold
                    w1, w2 = (
                        (1.0 if above else gate if soft else 0.0),
                        (0.0 if above else gate if soft else 1.0),
                    )
                    x1.append(w1 * x[i, k, a, b])
                    x2.append(w2 * x[i, k, a, b])
                for k in range(half):
                    out[i, k, a, b] = x1[k] + x2[half + k]
                    out[i, half + k, a, b] = x1[half + k] + x2[k]
    return out


@pytest.mark.parametrize("gate", ["hard", "soft"])
@pytest.mark.parametrize("threshold", [0.5, 0.48])
def test_sru_is_equations_1_to_4_in_value_and_gradient(gate, threshold):
    torch.manual_seed(0)
    sru = SRU(8, gn_groups=4, gate=gate, threshold=threshold).double()
    with torch.no_grad():
        sru.norm.weight.uniform_(0.5, 1.5)
        sru.norm.bias.normal_()
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    expected = slow_sru(x, sru.norm.weight, sru.norm.bias, 4, threshold, soft=gate == "soft")
    torch.testing.assert_close(sru(x), expected)
    direction = torch.randn_like(expected)
    inputs = (
        [x, sru.norm.weight] if gate == "soft" else [x]
    )  # a hard mask passes no gradient to the affine weights
    got = torch.autograd.grad((sru(x) * direction).sum(), inputs)
    want = torch.autograd.grad((expected * direction).sum(), inputs)
    torch.testing.assert_close(got, want)


def slow_cru(x, m: CRU, stride):
    """Equations 5 to 9 with the layers' own weights: convolutions as sums, the softmax as
    written.
    """

    def conv(x, layer, stride=1):
        n, c, h, w = x.shape
        k, g = layer.kernel_size[0], layer.groups
        padded = nn.functional.pad(x, [k // 2] * 4)
        h2, w2 = math.ceil(h / stride), math.ceil(w / stride)
        out = torch.zeros(n, layer.out_channels, h2, w2, dtype=x.dtype)
        for o in range(layer.out_channels):
            group = o // (layer.out_channels // g)
            for a in range(h2):
                for b in range(w2):
                    patch = padded[
                        :,
                        group * c // g : (group + 1) * c // g,
                        a * stride : a * stride + k,
                        b * stride : b * stride + k,
                    ]
                    out[:, o, a, b] = (patch * layer.weight[o]).sum((1, 2, 3)) + (
                        layer.bias[o] if layer.bias is not None else 0
                    )
        return out

    def norm(x, layer):
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
        return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight.view(
            1, -1, 1, 1
        ) + layer.bias.view(1, -1, 1, 1)

    def pool(x):
        return (
            (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
            if stride == 2
            else x
        )

    u = m.split[0]
    up = norm(conv(x[:, :u], m.squeeze_up[0]), m.squeeze_up[1])
    low = norm(conv(pool(x[:, u:]), m.squeeze_low[0]), m.squeeze_low[1])
    y1 = norm(conv(up, m.gwc, stride) + conv(pool(up), m.pwc1), m.norm_up)
    y2 = norm(
        torch.cat((conv(low, m.pwc2), low), 1) if m.lower != "eq11-full" else conv(low, m.pwc2),
        m.norm_low,
    )
    s1, s2 = torch.exp(y1.mean((2, 3), keepdim=True)), torch.exp(y2.mean((2, 3), keepdim=True))
    return s1 / (s1 + s2) * y1 + s2 / (s1 + s2) * y2


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("lower", ["paper", "eq11", "eq11-full"])
def test_cru_is_equations_5_to_9_in_value_and_gradient(stride, lower):
    torch.manual_seed(0)
    cru = CRU(16, 12, 3, stride, alpha=0.5, lower=lower).double()
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64, requires_grad=True)
    expected = slow_cru(x, cru, stride)
    torch.testing.assert_close(cru(x), expected)
    direction = torch.randn_like(expected)
    inputs = [x, *cru.parameters()]
    got = torch.autograd.grad((cru(x) * direction).sum(), inputs)
    torch.testing.assert_close(got, torch.autograd.grad((expected * direction).sum(), inputs))


@pytest.mark.parametrize("alpha", [1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8])
def test_parameters_follow_the_closed_forms(alpha):
    c = 64
    paper = sum(p.numel() for p in CRU(c, c, alpha=alpha).parameters())
    assert paper == (alpha**2 / 2 + 9 * alpha / 4 + 3 / 4) * c**2 + (6 + 1.5 * alpha) * c
    weights = sum(
        m.weight.numel()
        for m in CRU(c, c, alpha=alpha, lower="eq11").modules()
        if isinstance(m, nn.Conv2d)
    )
    r, k, g = 2, 3, 2
    eq11 = (
        alpha**2 / r
        + (1 - alpha) ** 2 / r
        + alpha / r * (k**2 / g + 1)
        + (1 - alpha) / r * (1 - (1 - alpha) / r)
    )
    assert weights == eq11 * c**2


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("lower", ["paper", "eq11"])
@pytest.mark.parametrize("channels, size", [((32, 32), 8), ((32, 64), 8), ((64, 32), 7)])
def test_shape_is_that_of_the_convolution_it_replaces(order, stride, lower, channels, size):
    if order == "parallel" and channels[0] != channels[1]:
        with pytest.raises(
            ValueError,
            match=r"`in_channels` \(=\d+\) must equal `out_channels`.*use order \[sru, cru\]",
        ):
            SCConv(*channels, stride=stride, order=order, lower=lower)
        return
    x = torch.randn(2, channels[0], size, size)
    out = SCConv(*channels, stride=stride, order=order, lower=lower)(x)
    assert out.shape == nn.Conv2d(*channels, 3, stride, 1)(x).shape
    out.sum().backward()


def test_parallel_is_the_sum_and_the_orders_are_compositions():
    x = torch.randn(2, 32, 6, 6)
    for order in ORDERS:
        m = SCConv(32, 32, order=order).eval()
        cru, sru = getattr(m, "cru", None), getattr(m, "sru", None)
        expected = {
            ("sru",): lambda m=m, s=sru: m.conv(s(x)),
            ("cru",): lambda c=cru: c(x),
            ("sru", "cru"): lambda c=cru, s=sru: c(s(x)),
            ("cru", "sru"): lambda c=cru, s=sru: s(c(x)),
            "parallel": lambda c=cru, s=sru: c(x) + s(x),
        }[order]()
        torch.testing.assert_close(m(x), expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"gn_groups": 7},
            r"`in_channels` \(=64\) must be divisible by `gn_groups` \(=7\); use gn_groups=1",
        ),
        ({"alpha": 1.0}, r"`alpha` \(=1.0\) must be a number between 0 and 1"),
        (
            {"alpha": 0.3},
            r"`alpha` \* `in_channels` \(=19 of 64\) must be a positive multiple of .*use "
            r"alpha=0.3125",
        ),
        (
            {"groups": 3},
            r"`out_channels` \(=64\) must be divisible by `groups` \(=3\); use groups=1",
        ),
        ({"groups": 0}, r"`groups` \(=0\) must be a whole number of at least 1"),
        (
            {"squeeze": 3, "groups": 1},
            r"must be a positive multiple of `squeeze` \* `groups` \(=3 \* 1\); use alpha=0.515625",
        ),
        ({"squeeze": 1}, r"must be narrower than `out_channels` \(=64\); use a larger squeeze"),
        ({"gate": "warm"}, "`gate` .* must be 'hard' or 'soft'"),
        ({"threshold": 1.0}, r"`threshold` \(=1.0\) must be a number between 0 and 1"),
        ({"lower": "eq12"}, "`lower` .* must be 'paper', 'eq11' or 'eq11-full'"),
        (
            {"order": ["sru", "sru"]},
            r"`order` .* must be one of \[sru\], \[cru\], \[sru, cru\], \[cru, sru\], parallel",
        ),
        ({"stride": 3}, r"`stride` \(=3\) must be 1 or 2"),
        ({"kernel_size": 2}, r"`kernel_size` \(=2\) must be odd.*use 3"),
    ],
)
def test_an_impossible_module_is_refused_with_rule_value_and_way_out(arguments, message):
    with pytest.raises(ValueError, match=message):
        SCConv(64, 64, **arguments)


def test_the_way_out_of_a_bad_alpha_works():
    SCConv(64, 64, alpha=0.3125)
    with pytest.raises(ValueError, match=r"use alpha=0\.333333"):
        SCConv(48, 48, alpha=0.3)
    SCConv(48, 48, alpha=0.333333)
    with pytest.raises(ValueError, match="too few for that"):
        SCConv(4, 4, alpha=0.5, groups=2, gn_groups=2)


def test_odd_channels_are_refused_by_the_sru():
    with pytest.raises(ValueError, match=r"`in_channels` \(=15\) must be even.*use 16"):
        SRU(15, gn_groups=5)
