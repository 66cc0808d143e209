"""The Triton programs compute what the layers do: outputs, gradients, running statistics."""

import contextlib
import copy
import itertools

import pytest
import torch
import torch.utils.checkpoint

from scconv import CRU, SRU, SCConv, kernels
from scconv.kernels import conditions
from scconv.kernels.gpu import check, moments
from scconv.kernels.gpu.fuse import Fuse
from scconv.kernels.gpu.select import Select
from scconv.kernels.gpu.squeeze import Merge
from scconv.options import ORDERS
from tests.scconv.kernels.test_kernels import made, ran, recorded, same

FORMS = [*itertools.product((1, 2), ("paper", "eq11", "eq11-full"), (0.5, 0.25))]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture
def used(monkeypatch):
    """Which functions ran."""
    return recorded(monkeypatch, Select, Fuse, Merge)


def on(device, *things):
    return [t.to(device) for t in things]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("stride, lower, alpha", FORMS)
def test_a_step_is_that_of_the_layers(order, stride, lower, alpha, used, device):
    module, x = on(
        device,
        made(torch.float32, order=order, stride=stride, lower=lower, alpha=alpha, dilation=stride),
        torch.randn(3, 32, 8, 7) + 0.3,
    )
    got, want = ran(module, x, layers=False), ran(module, x, layers=True)
    units = "sru cru" if order == "parallel" else " ".join(order)
    assert set(used) == {{"sru": "Select", "cru": "Fuse"}[unit] for unit in units.split()}
    same(got, want, 1e-4)


# sizes that no block divides; many images, many positions, many channels
@pytest.mark.parametrize("shape", [(2, 48, 5, 3), (5, 80, 3, 3), (1, 16, 40, 41), (24, 16, 4, 4)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_of_any_size_and_layout(shape, layout, used, device):
    module, x = on(device, made(torch.float32, shape[1]), torch.randn(shape))
    x = x.to(memory_format=layout)
    got, want = ran(module, x, layers=False), ran(module, x, layers=True)
    assert used == ["Select", "Fuse"]
    same(got, want, 2e-4)
    assert got["output"].is_contiguous(memory_format=layout)
    assert got["input"].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("groups, merged", [(1, True), (2, True), (4, True), (8, False)])
@pytest.mark.parametrize("lower", ["paper", "eq11-full"])
def test_in_bf16_the_error_is_no_larger_than_the_layers(groups, merged, lower, used, device):
    module = made(torch.float64, groups=groups, lower=lower, order=["cru"])
    x = torch.randn(4, 32, 9, 7, dtype=torch.float64)
    truth = ran(module, x, layers=True)
    module, x = on(device, module.float(), x.float())
    with torch.autocast(device.type, torch.bfloat16):
        by_layers, got = ran(module, x, layers=True), ran(module, x, layers=False)
    assert ("Merge" in used) == merged and "Fuse" in used
    for name in truth:
        apart = [(t[name].double().cpu() - truth[name]).abs().max() for t in (got, by_layers)]
        assert apart[0] <= 2 * apart[1] + 1e-5 * truth[name].abs().max(), name
    # what is zero in theory is exactly zero, and rounding in the layers
    for name in ("squeeze_up.0", "squeeze_low.0", "squeeze_low.1", "pwc2"):
        assert not got[f"d cru.{name}.bias"].any()


def test_parts_of_an_image_have_its_moments(device):
    (v,) = on(device, torch.randn(2, 333, 24) + 50)
    blocks = moments.Blocks(2, 333, 24, rows=16, columns=32, per=48, parts=16)
    mean, squares = blocks.empty(v, 2)
    moments.moments(v, blocks, mean, squares)
    count = torch.tensor([48] * 6 + [45] + [0] * 9, device=device)[:, None]
    whole = (count * mean).sum(1) / 333
    torch.testing.assert_close(whole, v.mean(1), rtol=1e-6, atol=0)
    between = (count * (mean - whole[:, None]) ** 2).sum(1)
    torch.testing.assert_close(
        squares.sum(1) + between, v.double().var(1, unbiased=False).float() * 333, rtol=1e-4, atol=0
    )


def test_few_images_have_many_parts_and_many_have_few():
    assert moments.Blocks.of(1, 40_000, 64).parts == moments.MOST_PARTS
    of_many = moments.Blocks.of(512, 1024, 64)
    assert of_many.parts == 1 and of_many.per >= 1024
    for n, hw, c in itertools.product((1, 7, 128), (1, 50, 3136), (2, 16, 96, 2048)):
        blocks = moments.Blocks.of(n, hw, c)
        assert blocks.per * blocks.parts >= hw and blocks.per % blocks.rows == 0
    # of a launch's three numbers all but the first end at 65,535
    for n, side in ((1, 4096), (100_000, 2)):
        assert max(moments.Blocks.of(n, side * side, 64).by_rows[1:]) < 65_536


@pytest.mark.parametrize("threshold, gamma", [(0.5, 1.0), (0.48, 1.0), (0.52, 0.5), (0.5, -1.0)])
def test_the_gate_with_learned_weights_and_any_threshold(threshold, gamma, used, device):
    torch.manual_seed(0)
    sru = SRU(32, threshold=threshold)
    with torch.no_grad():
        sru.norm.weight.uniform_(0.1, 1.5).mul_(gamma)
        sru.norm.weight[3] = 0
        sru.norm.bias.normal_()
    sru, x = on(device, sru, torch.randn(3, 32, 6, 6))
    got, want = ran(sru, x, layers=False), ran(sru, x, layers=True)
    assert used == ["Select"]
    assert torch.equal(got["output"], want["output"]) and torch.equal(got["input"], want["input"])


def test_weights_that_are_all_zero_and_a_gate_that_someone_trains(device):
    sru, x = on(device, SRU(32), torch.randn(2, 32, 4, 4))
    sru.norm.requires_grad_()
    with torch.no_grad():
        sru.norm.weight.zero_()
    got, want = ran(sru, x, layers=False), ran(sru, x, layers=True)
    assert got.keys() == want.keys() and "d norm.weight" in got
    for name, value in want.items():
        assert torch.equal(got[name], value), name


def test_what_is_not_finite_spreads_as_it_does_in_the_layers(device):
    sru, x = on(device, SRU(32), torch.randn(2, 32, 4, 4))
    x[0, 0, 0, 0], x[0, 5, 1, 1], x[1, -3, 2, 2] = torch.inf, torch.nan, -torch.inf
    with kernels.plain():
        want = sru(x)
    torch.testing.assert_close(sru(x), want, rtol=0, atol=0, equal_nan=True)


def test_a_large_mean_costs_few_digits_more_than_it_costs_the_layers(device):
    cru, x = made(torch.float32).cru, torch.randn(4, 32, 8, 8) + 100
    truth = ran(copy.deepcopy(cru).double(), x.double(), layers=True)
    cru, x = on(device, cru, x)
    for layers in (False, True):
        got = {n: v.double().cpu() for n, v in ran(cru, x, layers=layers).items()}
        same(got, truth, 1e-3)


@pytest.mark.parametrize("lower", ["paper", "eq11-full"])
@pytest.mark.parametrize("stride", [1, 2])
def test_eval_is_that_of_the_layers(lower, stride, device):
    module, x = on(
        device, made(torch.float32, lower=lower, stride=stride), torch.randn(4, 32, 7, 7)
    )
    module(x)
    module.eval()
    with torch.no_grad(), kernels.plain():
        want = module(x)
    with torch.no_grad():
        torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-4)
    # with gradients the layers run
    assert torch.equal(module(x).detach(), want)


def test_two_uses_in_one_graph_and_a_second_backward(device):
    module, x = on(device, made(torch.float32), torch.randn(2, 32, 5, 5))

    def grads(times, **layers):
        copied = copy.deepcopy(module)
        with kernels.plain() if layers else contextlib.nullcontext():
            y = copied(copied(x)).square().mean()
        for _ in range(times):
            y.backward(retain_graph=True)
        return {n: p.grad for n, p in copied.named_parameters() if p.grad is not None}

    once, twice, by_layers = grads(1), grads(2), grads(1, layers=True)
    scale = max(g.abs().max() for g in by_layers.values())
    for name, g in once.items():
        torch.testing.assert_close(2 * g, twice[name], rtol=1e-6, atol=0)
        assert (g - by_layers[name]).abs().max() <= 1e-4 * scale


def test_a_step_repeated_has_the_same_bits(device):
    module, x = on(device, made(torch.float32), torch.randn(6, 32, 9, 9))
    first, second = ran(module, x, layers=False), ran(module, x, layers=False)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("unit", [SRU, lambda c: CRU(c, c)])
def test_what_works_in_place_may_follow_and_a_parameter_may_change_before_the_backward(
    unit, device
):
    module, x = on(device, unit(32), torch.randn(2, 32, 5, 5))
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    y = torch.relu_(module(x))
    assert y.is_contiguous(memory_format=torch.channels_last)
    if isinstance(module, CRU):
        with torch.no_grad():
            module.pwc2.bias.add_(1)
    y.sum().backward()
    assert x.grad is not None


def test_the_first_use_may_be_inside_a_checkpoint(used, device, monkeypatch):
    module, x = on(device, made(torch.float32), torch.randn(2, 32, 5, 5, requires_grad=True))
    want = ran(module, x.detach(), layers=False)
    monkeypatch.setattr(conditions, "_known", {})
    torch.utils.checkpoint.checkpoint(module, x, use_reentrant=False).sum().backward()
    assert conditions._known == {x.device: True} and used[-1] == "Fuse"
    assert want["output"].shape == x.grad.shape


def test_layers_and_programs_may_run_in_one_graph(device):
    cru, x = on(device, made(torch.float32).cru, torch.randn(2, 32, 5, 5))
    with kernels.plain():
        first = cru.train()(x)
    (first.sum() + cru(x).square().sum()).backward()
    in_eval = cru.eval()(x)
    (in_eval.sum() + cru.train()(x).square().sum()).backward()


def test_the_backward_may_be_called_under_autocast(device):
    module, x = on(device, made(torch.float32, order=["cru"]), torch.randn(2, 32, 5, 5))
    want = ran(module, x, layers=False)
    copied, x = copy.deepcopy(module), x.clone().requires_grad_()
    y = copied(x)
    direction = torch.linspace(-1, 1, y.numel(), device=device).view_as(y).cos()
    with torch.autocast(device.type, torch.bfloat16):
        y.backward(direction)
    assert torch.equal(x.grad, want["input"])


def test_parameters_with_gaps_in_memory_are_the_layers(used, device):
    module, x = on(device, SCConv(32, 32), torch.randn(2, 32, 5, 5))
    changed = copy.deepcopy(module)
    changed.cru.norm_up.weight = torch.nn.Parameter(torch.ones(1, device=device).expand(32))
    changed(x)
    changed = copy.deepcopy(module)
    changed.cru.norm_up.running_mean = torch.zeros(32, 2, device=device)[:, 0]
    changed(x)
    changed.sru.norm.bias = torch.nn.Parameter(torch.zeros(64, device=device)[::2])
    changed(x)
    assert used == ["Select", "Select"]


def test_the_layers_run_where_somebody_looks_or_nothing_is_known(used, device):
    module, x = on(device, made(torch.float32), torch.randn(2, 32, 5, 5))
    for change in (
        lambda m: m.cru.gwc.register_forward_hook(lambda *seen: None),
        lambda m: m.double(),
        lambda m: setattr(m.cru, "norm_up", torch.nn.SyncBatchNorm(32).to(device)),
    ):
        changed = copy.deepcopy(module)
        change(changed)
        changed.cru.eval()(x.to(changed.cru.pwc1.weight.dtype))
    with kernels.plain():
        module(x)
    assert "Fuse" not in used
    # float16 maps without autocast are an error in the layers, and stay one
    with pytest.raises(RuntimeError):
        module(x.half())
    module(x)
    assert used[-1] == "Fuse"


def test_the_check_passes_takes_no_random_numbers_and_finds_a_wrong_program(device, monkeypatch):
    state = torch.random.get_rng_state()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "manual_seed", lambda seed: pytest.fail("it seeds every GPU"))
        torch.set_default_dtype(torch.float64)
        try:
            check.on(device)
        finally:
            torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.random.get_rng_state(), state)
    monkeypatch.setattr(conditions, "_known", {})
    assert kernels.used_on(device) == ""
    SRU(32).to(device)(torch.randn(2, 32, 5, 5, device=device))
    assert kernels.used_on(device).startswith("triton 3.")
    monkeypatch.setattr(conditions, "_known", {torch.device("cuda", 1): True})
    said = [
        kernels.used_on(torch.device(*place)) for place in (("cuda",), ("cuda", 1), ("cuda", 0))
    ]
    assert said[0] == said[1] != "" and said[2] == ""

    monkeypatch.setattr(check.run, "sru", lambda module, x: x)
    monkeypatch.setattr(conditions, "_known", {})
    module, x = on(device, CRU(32, 32), torch.randn(2, 32, 5, 5))
    with pytest.warns(
        UserWarning, match=r"layer by layer on .*, which takes longer.*SRU: the output off"
    ):
        first = module(x)
    assert torch.isfinite(first).all()
    assert conditions._known == {x.device: False} and kernels.used_on(x.device) == "layers"
    module(x)  # asked once
