"""The rules of the contract that every convolution of the catalogue keeps.

A rule takes a design and returns what it saw, or raises Broken with the reason. Its docstring
begins with its title.
"""

from __future__ import annotations

import ast
import copy
import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from scconv.check.design import Broken, Design, feed
from scconv.check.settings import settings
from scconv.check.subsets import subsets
from scconv.convs import find
from scconv.cost import cost

# channels in and out, stride and size of the place that a file's COST is declared for
REFERENCE = 64, 64, 1, 32
IMAGES = 3, 64, 1, 32  # of a stem that takes subsets


def _shape(design: Design) -> str:
    """shape: that of the convolution it replaces, over channels, strides and sizes."""
    shapes, refusals, n = 0, {}, design.width
    for (c1, c2), stride in itertools.product([(n, n), (n, 2 * n), (2 * n, n)], [1, 2]):
        try:
            module = design.make(c1, c2, stride)
        except ValueError as error:
            refusals[c1, c2, stride] = str(error)
            continue
        for size in (7, 8):
            want = (2, getattr(module, "out_channels", c2), -(-size // stride), -(-size // stride))
            got = tuple(module(torch.randn(2, c1, size, size)).shape)
            if got != want:
                raise Broken(
                    f"{c1} -> {c2} channels, stride {stride}, size {size}: made {got}, the "
                    f"convolution makes {want}"
                )
            shapes += 1
    if not shapes:
        raise Broken(f"it refuses every place: {next(iter(refusals.values()))}")
    return f"{shapes} shapes" + (
        f"; refuses {len(refusals)} of 6 places: {next(iter(refusals.values()))}"
        if refusals
        else ""
    )


def _gradient(design: Design) -> str:
    """gradient: reaches the input and every parameter that requires one."""
    module, x = design.make(), design.input()
    _learn(module, x)
    parameters = [*module.parameters()]
    frozen = sum(not p.requires_grad for p in parameters)
    return f"{len(parameters) - frozen} parameters" + (
        f"; {frozen} are fixed (requires_grad=False)" if frozen else ""
    )


def _learn(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output for x and, after a backward, the gradients of x and of every parameter that
    requires one.
    """
    out = module(feed(module, x))
    out.float().square().sum().backward()
    tensors = {"the input": x} | {n: p for n, p in module.named_parameters() if p.requires_grad}
    if without := [n for n, p in tensors.items() if p.grad is None]:
        raise Broken(f"none reaches {', '.join(without)}")
    if odd := [n for n, p in tensors.items() if p.grad is not None and not p.grad.isfinite().all()]:
        raise Broken(f"not finite in {', '.join(odd)}")
    return out.detach(), [p.grad for p in tensors.values() if p.grad is not None]


def _same(what: str, got: list[Tensor], want: list[Tensor]) -> None:
    scale = max(
        b.abs().max().item() for b in want
    )  # of all of them: a bias before a BatchNorm has a gradient of rounding alone
    for a, b in zip(got, want, strict=True):
        if not torch.allclose(a, b, rtol=1e-3, atol=1e-4 * scale):
            raise Broken(
                f"{what} differ by up to {(a - b).abs().max().item():.3g} of "
                f"{b.abs().max().item():.3g}"
            )


def _meta(design: Design) -> str:
    """meta device: it is built and run there, so that costs are counted without arithmetic."""
    with torch.device("meta"):
        out = design.make()(torch.randn(2, design.width, 8, 8))
    if out.device.type != "meta":
        raise Broken(f"its output is on {out.device}")
    return "runs"


def _autocast(design: Design) -> str:
    """bf16 autocast: runs, stays finite and learns."""
    module, x = design.make(), design.input()
    with torch.autocast("cpu", torch.bfloat16):
        out = module(x)
        if not out.isfinite().all():
            raise Broken("the output is not finite")
        _learn(module, x)
    return f"runs; its output is {out.dtype}".replace("torch.", "")


def _channels_last(design: Design) -> str:
    """channels_last: in the memory layout that training uses, it computes and learns the same."""
    module, x = design.make(), design.input()
    other = copy.deepcopy(module)
    other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    y = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    (got, grads), (want, wanted) = _learn(other, y), _learn(module, x)
    _same("outputs", [got], [want])
    _same("gradients", grads, wanted)
    return "agrees"


def _compile(design: Design) -> str:
    """torch.compile: captured as one graph with its backward, and computes and learns the same."""
    for stride, size in ((1, 8), (2, 7)):
        try:
            module, x = design.make(stride=stride), design.input(size)
        except ValueError:
            if stride == 1:
                raise
            continue  # a place that it refuses
        torch.compiler.reset()
        # tracing is what a module can break; generating code is torch's, and would need a compiler
        other, y = copy.deepcopy(module), x.detach().clone().requires_grad_()
        compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
        got, grads = _learn(compiled, y)  # type: ignore[arg-type]
        want, wanted = _learn(module, x)
        _same("outputs", [got], [want])
        _same("gradients", grads, wanted)
    return "one graph"


def _deterministic(design: Design) -> str:
    """deterministic: the same seed and input give the same output and gradients, bit for bit."""

    def once() -> list[Tensor]:
        module = design.make()
        out, grads = _learn(module, design.input())
        return [out, *grads]

    if not all(map(torch.equal, once(), once())):
        raise Broken("two runs from one seed differ")
    return "two runs agree"


def _state(design: Design) -> str:
    """state_dict: saved and loaded into a module of another process and seed, it gives the same
    output.
    """
    module, x = design.make(), design.input().detach()
    module(x)  # moves the running statistics
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)  # what the file draws when it is imported, another process draws otherwise
    other = replace(design, file=find(design.name, design.path, fresh=True)).make(seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    if not torch.equal(module.eval()(x), other.eval()(x)):
        raise Broken(
            "the output depends on something that is not in it: register it as a buffer or "
            "parameter"
        )
    return f"{len(module.state_dict())} tensors"


def _redrawn(design: Design) -> str:
    """nothing re-drawn: once in eval mode, the output depends on input and state alone."""
    module, x = design.make().eval(), design.input().detach()
    outputs = []
    with torch.no_grad():
        for seed in (1, 2):
            torch.manual_seed(seed)
            outputs.append(module(x))
    if not torch.equal(*outputs):
        raise Broken(
            "the output changes with torch's global seed: draw in __init__, and register what was "
            "drawn"
        )
    return "two seeds agree"


def _literals(design: Design) -> str:
    """options: keyword-only with literal defaults, so that a sweep can be checked without importing
    the file.
    """
    function = design.file.convert if hasattr(design.file, "convert") else design.file.drop_in
    tree = ast.parse(Path(str(design.file.__file__)).read_text(encoding="utf-8"))
    node = next(
        (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function.__name__),
        None,
    )
    if node is None:
        raise Broken(f"{function.__name__} must be defined in the file itself")
    if len(node.args.args) + len(node.args.posonlyargs) > 1 or node.args.vararg or node.args.kwarg:
        raise Broken(f"{function.__name__} must take one argument and options after a `*`")
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        try:
            ast.literal_eval(default or "")
        except (ValueError, SyntaxError):
            raise Broken(f"`{argument.arg}` needs a literal default") from None
    return ", ".join(a.arg for a in node.args.kwonlyargs) or "none"


def _declared(design: Design) -> str:
    """cost: parameters and multiply-adds are what the file declares."""
    c1, c2, stride, size = IMAGES if design.stem else REFERENCE
    with torch.device("meta"):
        counted = cost(design.make(c1, c2, stride), (c1, size, size))
    got = {"params": counted.params, "macs": counted.macs}
    declared = getattr(design.file, "COST", None)
    if declared is None or design.options:
        why = "not declared" if declared is None else "declared for its default options alone"
        return f"{why}; a 3x3 {c1} -> {c2} at {size}x{size} counts COST = {got}"
    if declared != got:
        raise Broken(f"declares {declared} for a 3x3 {c1} -> {c2} at {size}x{size}, counted {got}")
    found = f"{counted.params:,} parameters, {counted.macs:,} multiply-adds"
    return f"{found} for a 3x3 {c1} -> {c2} at {size}x{size}"


RULES: tuple[Callable[[Design], str], ...] = (
    _shape,
    _gradient,
    _meta,
    _autocast,
    _channels_last,
    _compile,
    settings,
    _deterministic,
    _state,
    _redrawn,
    subsets,
    _literals,
    _declared,
)
