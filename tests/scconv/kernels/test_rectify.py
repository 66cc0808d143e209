"""BatchNorm, an addition and ReLU as one function compute what the layers do."""

import contextlib
import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from scconv import backbones, kernels, replace_convs
from scconv.kernels import norm_act
from scconv.kernels.rectify import NormAct


@pytest.fixture
def ran(monkeypatch):
    """How often the kernel ran."""
    calls, apply = [], NormAct.apply
    monkeypatch.setattr(NormAct, "apply", lambda *args: calls.append(1) or apply(*args))
    return calls


def a_map(*shape, dtype=torch.float64, seed=1) -> torch.Tensor:
    x = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def a_norm(channels, dtype=torch.float64) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels, dtype=dtype)
    nn.init.normal_(norm.weight, 0.0, 1.0)
    nn.init.normal_(norm.bias)
    return norm


def step(norm, x, side=None, *, layers: bool, act=None) -> list[torch.Tensor]:
    """Everything that one step leaves: output, gradients, running statistics."""
    norm, act = copy.deepcopy(norm), act or nn.ReLU()
    maps = [t.detach().clone().requires_grad_() for t in (x, side) if t is not None]
    with kernels.plain() if layers else contextlib.nullcontext():
        y = norm_act(norm, act, *maps)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y).cos())
    learned = [t.grad for t in (*maps, norm.weight, norm.bias)]
    return [y.detach(), *learned, norm.running_mean, norm.running_var, norm.num_batches_tracked]


def same(got, want) -> None:
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("with_side", [False, True])
@pytest.mark.parametrize("shape", [(3, 16, 8, 8), (2, 5, 7, 3), (4, 300, 1, 1), (9, 1, 5, 5)])
def test_a_step_is_that_of_the_layers(shape, with_side, threads, ran):
    maps = [a_map(*shape, seed=seed) for seed in (1, 2)[: 1 + with_side]]
    same(*(step(a_norm(shape[1]), *maps, layers=layers) for layers in (False, True)))
    assert ran == [1]


@pytest.mark.parametrize("act", [nn.ReLU(inplace=True), F.relu], ids=["in place", "function"])
def test_relu_in_any_form(act, ran):
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    same(*(step(norm, x, layers=layers, act=act) for layers in (False, True)))
    assert ran == [1]


def test_in_float32_its_error_is_of_the_layers_size():
    """Against float64, away from ReLU's kink, where a last digit decides what passes."""
    norm, x = a_norm(16), a_map(8, 16, 16, 16)
    side = a_map(8, 16, 16, 16, seed=2)
    exact = step(norm, x, side, layers=True)
    narrow = norm.float(), x.detach().float(), side.detach().float()
    got, want = (step(*narrow, layers=layers) for layers in (False, True))
    sure = exact[0] > 1e-4
    for i, (ours, theirs) in enumerate(zip(got[:-1], want[:-1], strict=True)):
        errors = [(t.double() - exact[i]).abs() for t in (ours, theirs)]
        if i < 3:
            errors = [e[sure] for e in errors]
        assert errors[0].max() <= 4 * errors[1].max() + 1e-6


def test_what_is_not_finite_spreads_as_it_does_in_the_layers():
    for value in (math.nan, math.inf, -math.inf):
        x, side = a_map(2, 16, 4, 4), a_map(2, 16, 4, 4, seed=2)
        x.data[0, 3, 1, 1], side.data[1, 5, 2, 2] = value, value
        same(*(step(a_norm(16), x, side, layers=layers) for layers in (False, True)))


def test_eval_folds_the_norm_and_computes_the_same(ran):
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    norm_act(norm, nn.ReLU(), x)
    norm.eval()
    with torch.no_grad():
        for side in (None, a_map(2, 16, 4, 4, seed=2)):
            y = norm(x) if side is None else norm(x) + side
            got = norm_act(norm, nn.ReLU(), x, side)
            torch.testing.assert_close(got, y.relu(), rtol=1e-10, atol=1e-10)
    assert ran == [1]  # in training
    y = norm_act(norm, nn.ReLU(), x)  # by the layers, which have gradients in eval
    assert torch.equal(y, norm(x).relu()) and y.grad_fn.name() == "ReluBackward0"


@pytest.mark.parametrize("with_side", [False, True])
def test_the_gradients_are_the_functions_own_also_a_second_time(with_side):
    norm = a_norm(4)
    maps = [a_map(2, 4, 3, 3), *([a_map(2, 4, 3, 3, seed=2)] if with_side else [])]

    def f(weight, bias, *maps):
        norm._parameters.update(
            weight=nn.Parameter(weight.detach()), bias=nn.Parameter(bias.detach())
        )
        return NormAct.apply(maps[0], maps[1] if with_side else None, norm, weight, bias)

    learned = [p.detach().clone().requires_grad_() for p in (norm.weight, norm.bias)]
    assert torch.autograd.gradcheck(f, (*learned, *maps))
    assert torch.autograd.gradgradcheck(f, (*learned, *maps))


def test_the_gradient_of_the_side_alone_has_a_graph():
    norm, side = a_norm(4).requires_grad_(False), a_map(2, 4, 3, 3, seed=2)
    y = norm_act(norm, nn.ReLU(), a_map(2, 4, 3, 3).detach(), side)
    (first,) = torch.autograd.grad(y.square().sum(), side, create_graph=True)
    torch.testing.assert_close(first, 2 * y.detach())
    (second,) = torch.autograd.grad(first.sum(), side)
    torch.testing.assert_close(second, 2 * (y > 0).double())


def test_an_infinite_gradient_that_does_not_pass_is_none_in_a_second_derivative_too():
    x = a_map(2, 4, 3, 3)
    y = norm_act(a_norm(4), nn.ReLU(), x)
    g = torch.where(y > 0, 1.0, torch.inf)
    (first,) = torch.autograd.grad(y, x, g, create_graph=True)
    assert first.isfinite().all()


@pytest.mark.parametrize("with_side", [False, True])
def test_many_gradients_at_once(with_side):
    x, side = a_map(2, 4, 3, 3), a_map(2, 4, 3, 3, seed=2) if with_side else None
    inputs = [x, *([side] if with_side else [])]
    many = torch.randn(5, *x.shape, dtype=x.dtype)
    found = []
    for layers in (False, True):
        with kernels.plain() if layers else contextlib.nullcontext():
            y = norm_act(a_norm(4), nn.ReLU(), x, side)
        found.append(torch.autograd.grad(y, inputs, many, is_grads_batched=True))
    same(*found)


class Listening(nn.BatchNorm2d):
    """Of another class."""


def exchanged(name: str) -> tuple[nn.Module, nn.Module]:
    norm, act = a_norm(16), nn.ReLU()
    if name == "hook":
        norm.register_forward_hook(lambda *_: None)
    elif name == "hook on act":
        act.register_forward_hook(lambda *_: None)
    elif name == "class":
        norm = Listening(16, dtype=torch.float64)
    elif name == "act":
        act = nn.GELU()
    elif name == "no affine":
        norm = nn.BatchNorm2d(16, affine=False, dtype=torch.float64)
    elif name == "no statistics":
        norm = nn.BatchNorm2d(16, track_running_stats=False, dtype=torch.float64)
    elif name == "momentum":
        norm = nn.BatchNorm2d(16, momentum=None, dtype=torch.float64)
    elif name == "identity":
        norm = nn.Identity()
    elif name == "statistics switched off":
        norm.track_running_stats = False
    elif name == "momentum of its own kind":
        norm.momentum = torch.tensor(0.1)
    elif name == "statistics that learn":
        norm.running_mean.requires_grad_()
    return norm, act


@pytest.mark.parametrize(
    "name",
    [
        *("hook", "hook on act", "class", "act", "no affine", "no statistics", "momentum"),
        *("identity", "statistics switched off", "momentum of its own kind"),
        "statistics that learn",
    ],
)
def test_other_layers_are_run(name, ran):
    (norm, act), (other, _) = exchanged(name), exchanged(name)
    x = a_map(2, 16, 4, 4)
    with torch.no_grad():
        assert torch.equal(norm_act(norm, act, x), act(other(x)))
    for ours, theirs in zip(norm.buffers(), other.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert not ran


def test_wrong_widths_and_a_single_value_are_torchs_errors(ran):
    with pytest.raises(RuntimeError, match="running_mean should contain 8 elements not 16"):
        norm_act(a_norm(16), nn.ReLU(), a_map(2, 8, 4, 4))
    with pytest.raises(RuntimeError, match="must match the size"):
        norm_act(a_norm(16), nn.ReLU(), a_map(2, 16, 4, 4), a_map(2, 16, 4, 3))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_act(a_norm(16), nn.ReLU(), a_map(1, 16, 1, 1))
    norm = a_norm(16)
    norm.eps = 0.0
    with pytest.raises(ValueError, match="eps"):
        norm_act(norm, nn.ReLU(), a_map(2, 16, 4, 4))
    assert not ran


class Instead(TorchFunctionMode):
    """ReLU is another function."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {})) if func is not F.relu else -args[0]


def test_a_mode_that_sees_functions_sees_the_layers_and_a_device_is_none(ran):
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    with Instead():
        assert (norm_act(norm, nn.ReLU(), x) < 0).any()
        assert not ran
        with torch.device("cpu"):
            norm_act(norm, nn.ReLU(), x)
    assert not ran
    with torch.device("cpu"):
        norm_act(norm, nn.ReLU(), x)
    assert ran == [1]


def test_a_map_of_the_negative_bit_is_the_layers(ran):
    x = torch._neg_view(a_map(2, 16, 4, 4).detach())
    assert torch.equal(norm_act(a_norm(16), nn.ReLU(), x), a_norm(16)(x).relu())
    assert not ran


def in_plain_layout(t):
    return t.clone(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("pack", [in_plain_layout, lambda t: t.numpy().copy()])
def test_saved_maps_may_come_back_in_another_layout(pack):
    torch.manual_seed(0)
    model = backbones.build("resnet20", 10).double().to(memory_format=torch.channels_last)
    replace_convs(model, "scconv")
    x, found = a_map(4, 3, 16, 16), []
    hooks = pack, lambda t: t if isinstance(t, torch.Tensor) else torch.from_numpy(t)
    for packed in (False, True):
        x.grad = None
        own = torch.autograd.graph.saved_tensors_hooks(*hooks)
        with own if packed else contextlib.nullcontext():
            copy.deepcopy(model)(x).square().sum().backward()
        found.append([x.grad])
    same(*found)


def test_one_norm_in_two_ways_before_one_backward(ran):
    """As in the layers: their own graph keeps the statistics, which the other way moves."""
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    first = norm_act(norm, nn.ReLU(), x.contiguous())
    (first + norm_act(norm, nn.ReLU(), x)).sum().backward()
    assert len(ran) == 1
    norm.eval()
    first = norm_act(norm, nn.ReLU(), x)
    norm.train()
    (first + norm_act(norm, nn.ReLU(), x)).sum().backward()


def test_a_changed_shift_is_no_error_and_a_changed_gain_is():
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    y = norm_act(norm, nn.ReLU(), x)
    with torch.no_grad():
        norm.bias.add_(1)
    y.sum().backward()
    y = norm_act(norm, nn.ReLU(), x)
    with torch.no_grad():
        norm.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_infinite_statistics_stay_what_they_are_in_the_layers():
    norm, x = a_norm(16, torch.float32), a_map(2, 16, 4, 4, dtype=torch.float32)
    other = copy.deepcopy(norm)
    for scale in (1e25, 1.0):
        norm_act(norm, nn.ReLU(), scale * x)
        other(scale * x)
    torch.testing.assert_close(norm.running_var, other.running_var)
    torch.testing.assert_close(norm.running_mean, other.running_mean)
    assert norm.running_var.isinf().all()


@pytest.mark.parametrize("value", [0.0, 5.0, 100.0])
def test_a_constant_channel_gives_its_gain_no_gradient(value):
    norm = nn.BatchNorm2d(4)
    x = a_map(8, 4, 16, 16, dtype=torch.float32).detach()
    x[:, 1] = value
    y = norm_act(norm, nn.ReLU(), x.requires_grad_())
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))
    assert norm.weight.grad[1].abs() < 1e-6 * (1 + value) and norm.weight.grad[0].abs() > 1e-3


def test_another_layout_and_autocast_see_the_layers(ran):
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    norm_act(norm, nn.ReLU(), x.contiguous())
    norm_act(norm, nn.ReLU(), x, x.contiguous())
    with torch.autocast("cpu", torch.bfloat16):
        norm_act(norm.float(), nn.ReLU(), x.detach().float())
    assert not ran


def test_a_changed_input_is_an_error_in_the_backward():
    x, side = a_map(2, 16, 4, 4), a_map(2, 16, 4, 4, seed=2)
    for changed in (0, 1):
        read = x * 1.0
        y = norm_act(a_norm(16), nn.ReLU(), read, side)
        (read if changed == 0 else y.detach()).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_forward_that_is_made_again_in_the_backward(reentrant):
    norm, x = a_norm(16), a_map(2, 16, 4, 4)
    norm_act(norm, nn.ReLU(), x).square().sum().backward()
    want, x.grad = x.grad, None
    checkpoint(
        lambda t: norm_act(norm, nn.ReLU(), t), x, use_reentrant=reentrant
    ).square().sum().backward()
    assert torch.equal(x.grad, want)


@pytest.mark.parametrize(
    "name, kernels_run",
    # one for each ReLU behind a norm
    [
        *(("resnet20", 19), ("resnet50", 49), ("resnext29", 28), ("wideresnet28", 25)),
        ("densenet121", 2 * 58 + 3 + 1),
    ],
)
def test_the_backbones_use_it(name, kernels_run, ran):
    torch.manual_seed(0)
    model = backbones.build(name, 10).double().to(memory_format=torch.channels_last)
    x = a_map(4, 3, 16, 16)
    got = model(x)
    assert len(ran) == kernels_run
    with kernels.plain():
        torch.testing.assert_close(got, model(x), rtol=1e-7, atol=1e-7)
