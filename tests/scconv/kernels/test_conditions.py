"""Whoever looks between the layers, changes one or differentiates twice gets the layers."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

import scconv
from scconv import CRU, SRU, SCConv, kernels
from scconv.kernels import conditions
from scconv.kernels.reconstruct import Reconstruct
from scconv.kernels.select import Select

ROOT = Path(scconv.__file__).parents[1]


@pytest.fixture
def no_kernels(monkeypatch):
    for function in (Select, Reconstruct):
        monkeypatch.setattr(function, "apply", lambda *_: pytest.fail("a kernel ran"))


def module() -> SCConv:
    torch.manual_seed(0)
    return SCConv(32, 32)


def x(**options) -> torch.Tensor:
    return torch.randn(4, 32, 6, 6, generator=torch.Generator().manual_seed(1), **options)


def watched(m: SCConv) -> list[str]:
    seen = []
    for name, layer in m.named_modules():
        if not [*layer.children()]:
            layer.register_forward_hook(lambda *_, name=name: seen.append(name))
    m(x())
    return seen


def test_hooks_on_any_layer_are_called(no_kernels):
    leaves = [n for n, layer in module().named_modules() if not [*layer.children()]]
    assert {*watched(module())} == {*leaves}


class Half(nn.Module):
    def forward(self, weight):
        return weight / 2


def with_parametrization(m: SCConv) -> None:
    for layer in (m.sru.norm, m.cru.gwc):
        parametrize.register_parametrization(layer, "weight", Half())


def with_a_new_forward(m: SCConv) -> None:
    for layer in (m.sru.norm, m.cru.pwc2):
        layer.forward = layer.forward  # type: ignore[method-assign]


def with_one_frozen_norm(m: SCConv) -> None:
    m.sru.norm.double()
    m.cru.norm_low.eval()
    m.sru = nn.Identity()  # type: ignore[assignment]


@pytest.mark.parametrize("change", [with_parametrization, with_a_new_forward, with_one_frozen_norm])
def test_a_changed_layer_is_run(change, no_kernels):
    m = module()
    change(m)
    m(x())


class Rectified(nn.Module):
    """Two layers, as a squeeze has, and something more."""

    def __init__(self, squeeze: nn.Sequential):
        super().__init__()
        self.conv, self.norm = squeeze

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Reversed(nn.Sequential):
    def forward(self, x):
        return super().forward(x.flip(-1))


def with_a_larger_squeeze(m: nn.Module) -> None:
    m.squeeze_up = Rectified(m.squeeze_up)


def with_a_squeeze_of_its_own_class(m: nn.Module) -> None:
    m.squeeze_low = Reversed(*m.squeeze_low)


def with_another_pool(m: nn.Module) -> None:
    m.pool = nn.MaxPool2d(2, ceil_mode=True)


def with_a_pool_of_another_setting(m: nn.Module) -> None:
    m.pool = nn.AvgPool2d(2, ceil_mode=True, divisor_override=3)


def with_another_average(m: nn.Module) -> None:
    m.average = nn.AdaptiveMaxPool2d(1)


def with_a_bias(m: nn.Module) -> None:
    m.gwc.bias = nn.Parameter(torch.ones(32))


def with_a_circular_point_wise_convolution(m: nn.Module) -> None:
    m.pwc2 = nn.Conv2d(16, 16, 1, padding_mode="circular")


def with_a_pruned_bias(m: nn.Module) -> None:
    prune.l1_unstructured(m.pwc2, "bias", 0.5)


def without_a_running_mean(m: nn.Module) -> None:
    m.norm_up = nn.BatchNorm2d(32, track_running_stats=False)


def with_an_average_over_all_batches(m: nn.Module) -> None:
    m.norm_up.momentum = None


@pytest.mark.parametrize(
    "change",
    [
        with_a_larger_squeeze,
        with_a_squeeze_of_its_own_class,
        with_another_pool,
        with_a_pool_of_another_setting,
        with_another_average,
        with_a_bias,
        with_a_circular_point_wise_convolution,
        with_a_pruned_bias,
        without_a_running_mean,
        with_an_average_over_all_batches,
    ],
)
def test_an_exchanged_layer_is_run(change, no_kernels):
    cru = SCConv(32, 32, stride=2).cru
    change(cru)
    got = cru(x())
    with kernels.plain():
        torch.testing.assert_close(cru(x()), got)


def narrow(layer: nn.Module, name: str) -> None:
    setattr(layer, name, nn.Parameter(getattr(layer, name).detach()[:4]))


def exchange(m: nn.Module, name: str, layer: nn.Module) -> None:
    m._modules[name] = layer


@pytest.mark.parametrize(
    "damage",
    [
        lambda cru: exchange(cru, "norm_up", nn.BatchNorm2d(4)),
        lambda cru: exchange(cru, "norm_low", nn.BatchNorm2d(64)),
        lambda cru: exchange(cru.squeeze_up, "1", nn.BatchNorm2d(2)),
        lambda cru: exchange(cru, "gwc", nn.Conv2d(16, 32, 3, padding=1, groups=2, bias=False)),
        lambda cru: exchange(cru, "pwc2", nn.Conv2d(16, 20, 1)),
        lambda cru: narrow(cru.pwc2, "bias"),
        lambda cru: narrow(cru.norm_up, "weight"),
        lambda cru: cru.norm_low._buffers.update(running_var=torch.ones(4)),
    ],
)
def test_a_layer_of_another_width_is_torchs_error(damage, no_kernels):
    """A compiled loop would read and write beyond its end."""
    cru = module().cru
    damage(cru)
    with kernels.plain(), pytest.raises(RuntimeError) as layers:
        cru(x())
    with pytest.raises(RuntimeError, match=re.escape(str(layers.value))):
        cru(x())


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_gate_of_another_width_is_torchs_error(name, no_kernels):
    sru = module().sru
    narrow(sru.norm, name)
    with pytest.raises(RuntimeError, match="to be a vector of size equal to the number of channel"):
        sru(x())


def test_counting_and_autocast_see_the_layers(no_kernels):
    with FlopCounterMode(display=False) as counter:
        module()(x())
    assert counter.get_total_flops() > 0
    with torch.autocast("cpu", torch.bfloat16):
        assert module()(x()).isfinite().all()


def test_functorch_and_forward_mode_see_the_layers(no_kernels):
    m = module().eval()
    grad = torch.func.grad(lambda v: m(v).square().sum())(x())
    assert grad.shape == (4, 32, 6, 6)
    _, tangent = torch.func.jvp(m, (x(),), (x(),))
    assert tangent.isfinite().all()


def test_a_second_derivative_is_refused_and_the_switch_gives_it():
    m, v = module().double(), x(dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(m(v).square().sum(), v, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()
    with kernels.plain():
        (g,) = torch.autograd.grad(m(v).square().sum(), v, create_graph=True)
        g.square().sum().backward()
    assert v.grad is not None and v.grad.any()


def test_copies_learn_apart():
    m = module()
    other = copy.deepcopy(m)
    other(x()).sum().backward()
    assert all(p.grad is None for p in m.parameters())
    assert torch.equal(m.eval()(x()), module().eval()(x()))


def test_exported_it_is_the_layers_and_computes_the_same(no_kernels):
    m = module().eval()
    program = torch.export.export(m, (x(),))
    with kernels.plain():
        want = m(x())
    torch.testing.assert_close(program.module()(x()), want, rtol=1e-4, atol=1e-4)


def test_ddp_gets_a_gradient_of_every_parameter():
    code = """
import os, torch, tempfile
from torch import distributed as dist
from scconv import SCConv
file = tempfile.NamedTemporaryFile()
dist.init_process_group("gloo", init_method=f"file://{file.name}", rank=0, world_size=1)
m = SCConv(32, 32)
model = torch.nn.parallel.DistributedDataParallel(m)
for _ in range(2):
    model(torch.randn(4, 32, 6, 6)).square().sum().backward()
assert all(p.grad is not None for p in m.parameters() if p.requires_grad)
dist.destroy_process_group()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize("unit", [SRU(32), CRU(32, 32)])
def test_what_works_in_place_may_follow_a_kernel(unit):
    x = torch.randn(2, 32, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = torch.relu_(unit(x))
    y.sum().backward()
    assert y.is_contiguous(memory_format=torch.channels_last) and x.grad is not None


def test_two_threads_that_ask_for_the_layers_do_not_switch_the_kernels_off():
    first, second = kernels.plain(), kernels.plain()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not conditions.possible(torch.zeros(1, 1, 1, 1))
    second.__exit__(None, None, None)
    assert conditions.possible(torch.zeros(1, 1, 1, 1))
