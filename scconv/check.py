"""The contract that every convolution of the catalogue keeps, for a file of your own too.

python -m scconv.check ghost                # a name of the catalogue
python -m scconv.check mine.py groups=8     # a file, with options other than its defaults
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import io
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from runners.output import forgiving
from scconv.backbones.resnet import Basic
from scconv.convs import find
from scconv.cost import cost

WIDTHS = 32, 64, 96, 128, 256
REFERENCE = (
    64,
    64,
    1,
    32,
)  # channels in and out, stride and size of the place that a file's COST is declared for


class Broken(AssertionError):
    """The convolution does not keep a rule; says how."""


@dataclass(frozen=True)
class Finding:
    """What one rule found. `detail`: the reason where it is broken, what was seen where it is kept."""

    rule: str
    kept: bool
    detail: str


class _Host(nn.Module):
    """The least network for a design that converts networks: two residual blocks, in the first of
    which the shape changes.
    """

    def __init__(self, c1: int, c2: int, stride: int):
        super().__init__()
        self.stages = nn.Sequential(
            nn.Sequential(Basic(c1, c2, stride)), nn.Sequential(Basic(c2, c2, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


@dataclass(frozen=True)
class Design:
    """A convolution and the options it is checked with; `width` is the channels, in and out, of the
    place it is mostly tried at.
    """

    name: str
    path: Path | None
    file: ModuleType
    options: dict[str, Any]
    width: int = 32

    def make(self, c1: int = 0, c2: int = 0, stride: int = 1, seed: int = 0) -> nn.Module:
        """What takes the place of a 3x3 convolution c1 -> c2 without bias."""
        c1, c2 = c1 or self.width, c2 or self.width
        torch.manual_seed(seed)
        if not hasattr(self.file, "convert"):
            return self.file.drop_in(nn.Conv2d(c1, c2, 3, stride, 1, bias=False), **self.options)
        host = _Host(c1, c2, stride)
        for place, new in self.file.convert(host, **self.options).items():
            host.set_submodule(place, new)
        return host

    def place(self, **setting: Any) -> tuple[nn.Module, nn.Module]:
        """A convolution with a setting of its own, and what takes its place; of a design that
        converts networks, the network.
        """
        torch.manual_seed(0)
        of_all = {"kernel_size": 3, "padding": 1, "bias": False} | setting
        if not hasattr(self.file, "convert"):
            old = nn.Conv2d(self.width, self.width, **of_all)
            return copy.deepcopy(old), self.file.drop_in(old, **self.options)
        host = _Host(self.width, self.width, 1)
        for path, conv in [*host.named_modules()]:
            if isinstance(conv, nn.Conv2d):
                channels = conv.in_channels, conv.out_channels
                host.set_submodule(path, nn.Conv2d(*channels, **of_all))
        old = copy.deepcopy(host)
        for path, new in self.file.convert(host, **self.options).items():
            host.set_submodule(path, new)
        return old, host

    def input(self, size: int = 8) -> Tensor:
        """(4, width, size, size), which requires a gradient."""
        return torch.randn(4, self.width, size, size, requires_grad=True)


def check(name: str, path: Path | None = None, /, **options: Any) -> list[Finding]:
    """Try a convolution against every rule of the contract.

    Args:
        name: of the convolution; its file is in the catalogue unless `path` says where it is.

    Raises:
        ValueError: there is no such convolution, or it cannot be imported.
    """
    design, findings = Design(name, path, find(name, path), options), []
    for width in WIDTHS:  # the first that it accepts
        with contextlib.suppress(Exception):
            replace(design, width=width).make()
            design = replace(design, width=width)
            break
    for rule in RULES:
        title = (rule.__doc__ or "").split(":")[0]
        try:
            findings.append(Finding(title, True, rule(design)))
        except Exception as error:  # a convolution of the user's own may raise anything, and each rule is to be heard
            kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
            findings.append(Finding(title, False, kind + " ".join(str(error).split())[:300]))
    return findings


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
    out = module(x)
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
    other = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        (got, grads), (want, wanted) = _learn(compiled, y), _learn(module, x)  # type: ignore[arg-type]
        _same("outputs", [got], [want])
        _same("gradients", grads, wanted)
    return "one graph"


# what a convolution can be besides 3x3, each as nn.Conv2d takes it; the design keeps it or
# refuses it by name
SETTINGS: dict[str, dict[str, Any]] = {
    "padding_mode": {"padding_mode": "circular"},
    "dilation": {"dilation": 2, "padding": 2},
    "bias": {"bias": True},
    "kernel_size": {"kernel_size": 5, "padding": 2},
    "padding": {"padding": 0},
    "padding same": {"padding": "same"},
    "stride": {"stride": (2, 1)},
    "kernel_size of two numbers": {"kernel_size": (3, 1), "padding": (1, 0)},
}


def _settings(design: Design) -> str:
    """settings: each setting of the convolution is kept, or refused by its name."""
    refused = []
    for title, setting in SETTINGS.items():
        name = title.split()[0]
        try:
            old, new = design.place(**setting)
        except ValueError as error:
            if f"`{name}`" not in str(error):
                raise Broken(f"{title}: its refusal does not name `{name}`: {error}") from None
            refused.append(title)
            continue
        _kept(title, name, old, new)
        if isinstance(old, nn.Conv2d):
            want = list(old(torch.randn(2, design.width, 9, 9)).shape)
            want[1] = getattr(new, "out_channels", want[1])
            got = list(new(torch.randn(2, design.width, 9, 9)).shape)
            if got != want:
                raise Broken(f"{title} {setting}: made {got}, the convolution makes {want}")
    return "all kept" + (f" but {', '.join(refused)}, which it refuses" if refused else "")


def _kept(title: str, name: str, old: nn.Module, new: nn.Module) -> None:
    """Whether what has to do with a setting has it."""
    wide = [m for m in new.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    olds = [m for m in old.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    if name == "padding_mode" and any(m.padding_mode != "circular" for m in wide):
        raise Broken(
            "`padding_mode` is lost: a convolution inside pads with zeros where the one it "
            "replaces is circular"
        )
    if name == "dilation" and any(m.dilation != olds[0].dilation for m in wide):
        raise Broken(
            "`dilation` is lost: a convolution inside has another than the one it replaces"
        )
    # a norm's shift or a bias, of the whole output or of its parts
    shifts = any(p.dim() == 1 for p in new.parameters()) or getattr(new, "covers", ())
    if name == "bias" and not shifts:
        raise Broken("`bias` is lost: nothing inside can shift a channel of the output")


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
    c1, c2, stride, size = REFERENCE
    with torch.device("meta"):
        counted = cost(design.make(c1, c2, stride), (c1, size, size))
    got = {"params": counted.params, "macs": counted.macs}
    declared = getattr(design.file, "COST", None)
    if declared is None or design.options:
        why = "not declared" if declared is None else "declared for its default options alone"
        return f"{why}; a 3x3 {c1} -> {c2} at {size}x{size} counts COST = {got}"
    if declared != got:
        raise Broken(f"declares {declared} for a 3x3 {c1} -> {c2} at {size}x{size}, counted {got}")
    return f"{counted.params:,} parameters, {counted.macs:,} multiply-adds for a 3x3 {c1} -> {c2} at {size}x{size}"


RULES: tuple[Callable[[Design], str], ...] = (
    _shape,
    _gradient,
    _meta,
    _autocast,
    _channels_last,
    _compile,
    _settings,
    _deterministic,
    _state,
    _redrawn,
    _literals,
    _declared,
)


@forgiving()
def main(argv: list[str] | None = None) -> int:
    """0: every rule is kept; 1: some are broken; 2: there is no such convolution."""
    parser = argparse.ArgumentParser(
        prog="python -m scconv.check",
        description="Try a convolution against the contract of the catalogue.",
    )
    parser.add_argument(
        "conv", help="a name of the catalogue, or the path of a file that defines drop_in"
    )
    parser.add_argument(
        "options", nargs="*", metavar="OPTION=VALUE", help="options other than the defaults"
    )
    args = parser.parse_args(argv)
    path = Path(args.conv) if args.conv.endswith(".py") else None
    try:
        findings = check(path.stem if path else args.conv, path, **_options(args.options))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for finding in findings:
        print(f"{'ok    ' if finding.kept else 'BROKEN'} {finding.rule}: {finding.detail}")
    return 0 if all(f.kept for f in findings) else 1


def _options(pairs: list[str]) -> dict[str, Any]:
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"an option is given as name=value, got {pair!r}")
        try:
            options[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[key] = text
    return options


if __name__ == "__main__":
    sys.exit(main())
