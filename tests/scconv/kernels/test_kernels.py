"""The kernels compute what the layers do: outputs, gradients, running statistics, in every form."""

import contextlib
import copy
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from scconv import CRU, SRU, SCConv, kernels
from scconv.kernels.reconstruct import Reconstruct
from scconv.kernels.select import Select
from scconv.options import ORDERS

# with few channels the gate's loops see positions side by side
CHANNELS = [16, 32, 64]
FORMS = [*itertools.product((1, 2), ("paper", "eq11", "eq11-full"), (0.5, 0.25))]


def recorded(monkeypatch, *functions) -> list[str]:
    """The names of those of these functions of autograd that run from now on."""
    names = []
    for function in functions:
        apply = function.apply

        def record(*args, apply=apply, name=function.__name__):
            names.append(name)
            return apply(*args)

        monkeypatch.setattr(function, "apply", record)
    return names


@pytest.fixture
def used(monkeypatch):
    """Which kernels ran."""
    return recorded(monkeypatch, Select, Reconstruct)


def made(dtype=torch.float64, channels=32, **options) -> SCConv:
    """An SCConv whose norms and biases have values that show a mistake."""
    torch.manual_seed(0)
    module = SCConv(channels, channels, **options).to(dtype)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 1 and "sru" not in name:
                parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.5)
    return module


def ran(module: nn.Module, x: torch.Tensor, *, layers: bool) -> dict[str, torch.Tensor]:
    """Everything that one step leaves: output, gradients, buffers."""
    module, x = copy.deepcopy(module), x.clone().requires_grad_()
    with kernels.plain() if layers else contextlib.nullcontext():
        y = module(x)
    direction = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y).cos()
    y.backward(direction)
    found = {"output": y.detach(), "input": x.grad}
    found |= {f"d {n}": p.grad for n, p in module.named_parameters() if p.grad is not None}
    return found | {n: b.to(y.dtype) for n, b in module.named_buffers()}


def same(got, want, tolerance):
    """Each tensor within `tolerance` of the largest value of its kind.

    The parameters' gradients are of one kind: one that is zero in theory is rounding alone.
    """
    assert got.keys() == want.keys()
    gradients = max(v.abs().max() for name, v in want.items() if name.startswith("d "))
    for name, value in want.items():
        scale = gradients if name.startswith("d ") else value.abs().max()
        difference = (got[name] - value).abs().max()
        assert difference <= tolerance * scale, f"{name}: {difference / scale:.2g}"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("stride, lower, alpha", FORMS)
def test_a_step_is_that_of_the_layers(order, stride, lower, alpha, used, threads):
    module = made(order=order, stride=stride, lower=lower, alpha=alpha, dilation=stride)
    x = torch.randn(5, 32, 8, 7, dtype=torch.float64) + 0.3
    got, want = ran(module, x, layers=False), ran(module, x, layers=True)
    assert set(used) == {
        "Select" if "sru" in order or order == "parallel" else "Reconstruct",
        "Select" if order == ("sru",) else "Reconstruct",
    }
    same(got, want, 1e-10)


@pytest.mark.parametrize("channels", [16, 64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_float32_to_its_rounding_and_in_the_inputs_layout(channels, layout):
    module = made(torch.float32, channels)
    x = torch.randn(8, channels, 16, 16).to(memory_format=layout)
    got, want = ran(module, x, layers=False), ran(module, x, layers=True)
    same(got, want, 1e-4)
    assert got["output"].is_contiguous(memory_format=layout)
    assert got["input"].is_contiguous(memory_format=layout)


def test_a_large_mean_costs_few_digits_more_than_it_costs_the_layers():
    """A variance as the mean of squares less the square of the mean would have none left."""
    cru = made(torch.float32).cru
    x = torch.randn(8, 32, 8, 8) + 100
    truth = ran(copy.deepcopy(cru).double(), x.double(), layers=True)
    for got in (ran(cru, x, layers=False), ran(cru, x, layers=True)):
        same({name: value.double() for name, value in got.items()}, truth, 1e-3)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("threshold, gamma", [(0.5, 1.0), (0.48, 1.0), (0.52, 0.5)])
def test_the_gate_with_learned_weights_and_any_threshold(threshold, gamma, channels, used):
    torch.manual_seed(0)
    sru = SRU(channels, threshold=threshold).double()
    with torch.no_grad():
        sru.norm.weight.uniform_(0.1, 1.5).mul_(gamma)
        sru.norm.weight[3] = 0
        sru.norm.bias.normal_()
    x = torch.randn(3, channels, 6, 6, dtype=torch.float64)
    want = ran(sru, x, layers=True)
    assert not used
    assert not torch.equal(want["output"], x)
    assert {n: torch.equal(v, want[n]) for n, v in ran(sru, x, layers=False).items()} == {
        "output": True,
        "input": True,
    }
    assert used == ["Select"]


def test_small_weights_of_the_gate_have_a_square():
    sru, x = SRU(32), torch.randn(2, 32, 4, 4)
    want = sru(x)
    with torch.no_grad():
        sru.norm.weight.fill_(1e-24)
    assert torch.equal(sru(x), want)


@pytest.mark.parametrize("channels", CHANNELS)
def test_what_is_not_finite_spreads_as_it_does_in_the_layers(channels):
    sru = SRU(channels)
    x = torch.randn(2, channels, 4, 4)
    x[0, 0, 0, 0], x[0, 5, 1, 1], x[1, -3, 2, 2] = torch.inf, torch.nan, -torch.inf
    got, want = ran(sru, x, layers=False), ran(sru, x, layers=True)
    torch.testing.assert_close(got, want, equal_nan=True)
    x = torch.randn(2, channels, 4, 4, requires_grad=True)
    gradient = torch.ones(2, channels, 4, 4)
    gradient[0, 3] = torch.nan
    sru(x).backward(gradient)
    got, x.grad = x.grad, None
    with kernels.plain():
        sru(x).backward(gradient)
    torch.testing.assert_close(got, x.grad, equal_nan=True)


def test_weights_that_do_not_sum_to_a_positive_number_run_the_layers(used):
    sru, x = SRU(32), torch.randn(2, 32, 4, 4)
    with torch.no_grad():
        sru.norm.weight.fill_(-1)
    assert torch.isfinite(sru(x)).all() and not used


@pytest.mark.parametrize("lower", ["paper", "eq11-full"])
@pytest.mark.parametrize("stride", [1, 2])
def test_eval_folds_the_norms_and_computes_the_same(lower, stride):
    module = made(lower=lower, stride=stride)
    x = torch.randn(4, 32, 9, 9, dtype=torch.float64)
    for _ in range(3):
        module(x)
    module.eval()
    with torch.no_grad():
        got = module(x)
        with kernels.plain():
            want = module(x)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_the_gradients_are_the_functions_own():
    sru, cru = made(channels=8, gn_groups=4).sru, made(channels=8, gn_groups=4).cru
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sru, x)
    assert torch.autograd.gradcheck(cru, x)
    weights = [p for p in cru.parameters() if p.dim() == 4]
    assert torch.autograd.gradcheck(lambda *_: cru(x), weights)


def test_used_twice_in_one_graph_and_backward_twice():
    module = made()
    x = torch.randn(3, 32, 5, 5, dtype=torch.float64)

    def twice(x):
        return module(module(x))

    same_as = {}
    for layers in (False, True):
        module.load_state_dict(made().state_dict())
        module.zero_grad()
        y = x.clone().requires_grad_()
        with kernels.plain() if layers else contextlib.nullcontext():
            out = twice(y).square().sum()
        out.backward(retain_graph=True)
        out.backward()
        same_as[layers] = [y.grad, *(p.grad for p in module.parameters() if p.grad is not None)]
    torch.testing.assert_close(same_as[False], same_as[True], rtol=1e-9, atol=1e-9)


def test_biases_that_a_norm_cancels_get_a_gradient_of_exactly_zero():
    module = made(torch.float32)
    module(torch.randn(4, 32, 8, 8)).square().sum().backward()
    cru = module.cru
    for parameter in (
        cru.squeeze_up[0].bias,
        cru.squeeze_low[0].bias,
        cru.squeeze_low[1].bias,
        cru.pwc2.bias,
    ):
        assert parameter.grad is not None and not parameter.grad.any()


def test_the_backward_keeps_at_most_four_maps_beside_the_input():
    module = SCConv(64, 64).to(memory_format=torch.channels_last)
    x = torch.randn(8, 64, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    kept = {}

    def pack(tensor):
        if tensor.data_ptr() not in {x.data_ptr(), *(p.data_ptr() for p in module.parameters())}:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    assert sum(kept.values()) / (x.numel() * 4) < 3.7


def test_what_is_saved_is_unpacked_once():
    module, counts = SCConv(32, 32), {"packed": 0, "unpacked": 0}

    def count(name, tensor):
        counts[name] += 1
        return tensor

    hooks = partial(count, "packed"), partial(count, "unpacked")
    with torch.autograd.graph.saved_tensors_hooks(*hooks):
        module(torch.randn(2, 32, 4, 4, requires_grad=True)).sum().backward()
    assert counts["packed"] == counts["unpacked"] > 0


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_forward_that_is_made_again_in_the_backward(reentrant):
    module, x = made(), torch.randn(2, 32, 4, 4, dtype=torch.float64, requires_grad=True)
    module(x).square().sum().backward()
    want, x.grad = x.grad, None
    checkpoint(module, x, use_reentrant=reentrant).square().sum().backward()
    assert torch.equal(x.grad, want)


def test_nothing_is_kept_after_the_backward():
    """A loss that somebody adds up keeps its graph, but not what was saved for it."""
    module = SCConv(64, 64)
    y = module(torch.randn(8, 64, 6, 6, requires_grad=True))
    y.sum().backward()
    assert y.grad_fn is not None
    nodes, kept = [y.grad_fn], []
    while nodes:
        node = nodes.pop()
        own = getattr(node, "__dict__", {})
        kept += [v for v in own.values() if isinstance(v, np.ndarray | torch.Tensor)]
        nodes += [parent for parent, _ in node.next_functions if parent is not None]
    assert not kept


def test_autograd_sees_the_changes_of_statistics_that_it_sees_in_the_layers():
    versions = []
    for layers in (False, True):
        module = SCConv(32, 32).cru
        with kernels.plain() if layers else contextlib.nullcontext():
            module(torch.randn(2, 32, 4, 4))
        versions.append({n: b._version for n, b in module.named_buffers()})
    assert versions[0] == versions[1]


def test_a_state_dict_of_before_the_kernels_has_the_same_keys():
    assert [*CRU(8, 8).state_dict()] == [
        *("squeeze_up.0.weight", "squeeze_up.0.bias", "squeeze_up.1.weight", "squeeze_up.1.bias"),
        *(
            f"squeeze_up.1.{name}"
            for name in ("running_mean", "running_var", "num_batches_tracked")
        ),
        *("gwc.weight", "pwc1.weight"),
        *("squeeze_low.0.weight", "squeeze_low.0.bias", "squeeze_low.1.weight"),
        *(f"squeeze_low.1.{name}" for name in ("bias", "running_mean", "running_var")),
        *("squeeze_low.1.num_batches_tracked", "pwc2.weight", "pwc2.bias"),
        *("norm_up.weight", "norm_up.bias", "norm_up.running_mean", "norm_up.running_var"),
        *("norm_up.num_batches_tracked", "norm_low.weight", "norm_low.bias"),
        *("norm_low.running_mean", "norm_low.running_var", "norm_low.num_batches_tracked"),
    ]
