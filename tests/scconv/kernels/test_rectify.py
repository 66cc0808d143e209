"""BatchNorm, an addition and ReLU as one function compute what the layers do."""

import contextlib
import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from scconv import backbones, kernels
from scconv.kernels import compiled, norm_act
from scconv.kernels.rectify import NormAct


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    monkeypatch.setattr(compiled, "ENOUGH", 1)
    yield request.param
    torch.set_num_threads(before)


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
    return norm, act


@pytest.mark.parametrize(
    "name",
    [
        *("hook", "hook on act", "class", "act", "no affine", "no statistics", "momentum"),
        "identity",
    ],
)
def test_other_layers_are_run(name, ran):
    norm, act = exchanged(name)
    x = a_map(2, 16, 4, 4)
    assert torch.equal(norm_act(copy.deepcopy(norm), act, x), act(norm(x)))
    assert not ran


def test_wrong_widths_and_a_single_value_are_torchs_errors(ran):
    with pytest.raises(RuntimeError, match="running_mean should contain 8 elements not 16"):
        norm_act(a_norm(16), nn.ReLU(), a_map(2, 8, 4, 4))
    with pytest.raises(RuntimeError, match="must match the size"):
        norm_act(a_norm(16), nn.ReLU(), a_map(2, 16, 4, 4), a_map(2, 16, 4, 3))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_act(a_norm(16), nn.ReLU(), a_map(1, 16, 1, 1))
    assert not ran


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
