"""The contract that every convolution of the catalogue keeps, for a file of your own too.

python -m scconv.check ghost                # a name of the catalogue
python -m scconv.check mine.py groups=8     # a file, with options other than its defaults
"""

from __future__ import annotations

import argparse
import ast
import copy
import io
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from scconv.backbones.resnet import Basic
from scconv.convs import find
from scconv.cost import cost

REFERENCE = 64, 64, 1, 32  # channels in and out, stride and size of the place that a file's COST is declared for


class Broken(AssertionError):
    """The convolution does not keep a rule; says how."""


@dataclass(frozen=True)
class Finding:
    """What one rule found. `detail`: the reason where it is broken, what was seen where it is kept."""

    rule: str
    kept: bool
    detail: str


class _Host(nn.Module):
    """The least network for a design that converts networks: two residual blocks, in the first of which the shape changes."""

    def __init__(self, c1: int, c2: int, stride: int):
        super().__init__()
        self.stages = nn.Sequential(nn.Sequential(Basic(c1, c2, stride)), nn.Sequential(Basic(c2, c2, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)


@dataclass(frozen=True)
class Design:
    """A convolution and the options it is checked with."""

    file: ModuleType
    options: dict[str, Any]

    def make(self, c1: int = 32, c2: int = 32, stride: int = 1, seed: int = 0) -> nn.Module:
        """What takes the place of a 3x3 convolution c1 -> c2 without bias."""
        torch.manual_seed(seed)
        if not hasattr(self.file, "convert"):
            return self.file.drop_in(nn.Conv2d(c1, c2, 3, stride, 1, bias=False), **self.options)
        host = _Host(c1, c2, stride)
        for place, new in self.file.convert(host, **self.options).items():
            host.set_submodule(place, new)
        return host


def check(name: str, path: Path | None = None, **options: Any) -> list[Finding]:
    """Try a convolution against every rule of the contract.

    Args:
        name: of the convolution; its file is in the catalogue unless `path` says where it is.

    Raises:
        ValueError: there is no such convolution.
    """
    design, findings = Design(find(name, path), options), []
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
    shapes, refusals = 0, {}
    for (c1, c2), stride in itertools.product([(32, 32), (32, 64), (64, 32)], [1, 2]):
        try:
            module = design.make(c1, c2, stride)
        except ValueError as error:
            refusals[c1, c2, stride] = str(error)
            continue
        for size in (7, 8):
            want = (2, getattr(module, "out_channels", c2), -(-size // stride), -(-size // stride))
            got = tuple(module(torch.randn(2, c1, size, size)).shape)
            if got != want:
                raise Broken(f"{c1} -> {c2} channels, stride {stride}, size {size}: made {got}, the convolution makes {want}")
            shapes += 1
    if not shapes:
        raise Broken(f"it refuses every place: {next(iter(refusals.values()))}")
    return f"{shapes} shapes" + (f"; refuses {len(refusals)} of 6 places: {next(iter(refusals.values()))}" if refusals else "")


def _gradient(design: Design) -> str:
    """gradient: reaches the input and every parameter that requires one."""
    module, x = design.make(), torch.randn(4, 32, 8, 8, requires_grad=True)
    module(x).square().sum().backward()
    tensors = {"the input": x} | {n: p for n, p in module.named_parameters() if p.requires_grad}
    if without := [n for n, p in tensors.items() if p.grad is None]:
        raise Broken(f"none reaches {', '.join(without)}")
    if odd := [n for n, p in tensors.items() if p.grad is not None and not p.grad.isfinite().all()]:
        raise Broken(f"not finite in {', '.join(odd)}")
    frozen = sum(not p.requires_grad for p in module.parameters())
    return f"{len(tensors) - 1} parameters" + (f"; {frozen} are fixed (requires_grad=False)" if frozen else "")


def _meta(design: Design) -> str:
    """meta device: it is built and run there, so that costs are counted without arithmetic."""
    with torch.device("meta"):
        out = design.make()(torch.randn(2, 32, 8, 8))
    if out.device.type != "meta":
        raise Broken(f"its output is on {out.device}")
    return "runs"


def _autocast(design: Design) -> str:
    """bf16 autocast: runs and stays finite."""
    with torch.autocast("cpu", torch.bfloat16):
        out = design.make()(torch.randn(2, 32, 8, 8))
    if not out.isfinite().all():
        raise Broken("the output is not finite")
    return f"runs; its output is {out.dtype}".replace("torch.", "")


def _compile(design: Design) -> str:
    """torch.compile: captured as one graph with its backward, and computes the same."""
    module, x = design.make().eval(), torch.randn(2, 32, 8, 8)
    torch.compiler.reset()
    # tracing is what a module can break; generating code is torch's, and would need a compiler
    compiled = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
    got, want = compiled(x.clone().requires_grad_()), module(x)
    got.sum().backward()
    if not torch.allclose(got, want, rtol=1e-4, atol=1e-5):
        raise Broken(f"differs from the module by up to {(got - want).abs().max().item():.3g}")
    return "one graph"


def _deterministic(design: Design) -> str:
    """deterministic: the same seed and input give the same output and gradients, bit for bit."""

    def once() -> list[Tensor]:
        module = design.make()
        out = module(torch.randn(4, 32, 8, 8))
        out.square().sum().backward() if out.requires_grad else None
        return [out, *(p.grad for p in module.parameters() if p.grad is not None)]

    if not all(map(torch.equal, once(), once())):
        raise Broken("two runs from one seed differ")
    return "two runs agree"


def _state(design: Design) -> str:
    """state_dict: saved and loaded into a module drawn from another seed, it gives the same output."""
    module, x = design.make(), torch.randn(4, 32, 8, 8)
    module(x)  # moves the running statistics
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = design.make(seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    if not torch.equal(module.eval()(x), other.eval()(x)):
        raise Broken("the output depends on something that is not in it: register it as a buffer or parameter")
    return f"{len(module.state_dict())} tensors"


def _redrawn(design: Design) -> str:
    """nothing re-drawn: once in eval mode, the output depends on input and state alone."""
    module, x = design.make().eval(), torch.randn(4, 32, 8, 8)
    outputs = []
    with torch.no_grad():
        for seed in (1, 2):
            torch.manual_seed(seed)
            outputs.append(module(x))
    if not torch.equal(*outputs):
        raise Broken("the output changes with torch's global seed: draw in __init__, and register what was drawn")
    return "two seeds agree"


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
    _compile,
    _deterministic,
    _state,
    _redrawn,
    _declared,
)


def main(argv: list[str] | None = None) -> int:
    """0: every rule is kept; 1: some are broken; 2: there is no such convolution."""
    parser = argparse.ArgumentParser(prog="python -m scconv.check", description="Try a convolution against the contract of the catalogue.")
    parser.add_argument("conv", help="a name of the catalogue, or the path of a file that defines drop_in")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="options other than the defaults")
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
