"""A convolution under test, and the places that it is put in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from scconv.backbones.resnet import Basic
from scconv.channels import Present, takes_subsets


class Broken(AssertionError):
    """The convolution does not keep a rule; says how."""


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

    @property
    def stem(self) -> bool:
        """Whether it takes any subset of its channels, and so is meant for images."""
        return takes_subsets(self.make())

    def input(self, size: int = 8) -> Tensor:
        """(4, width, size, size), which requires a gradient."""
        return torch.randn(4, self.width, size, size, requires_grad=True)


def feed(module: nn.Module, x: Tensor) -> Tensor | Present:
    """What a module is given: a stem that takes subsets, every number of channels in turn."""
    if not takes_subsets(module):
        return x
    n, c = x.shape[:2]
    sizes = torch.arange(n, device=x.device)[:, None] % c
    return Present(x, torch.arange(c, device=x.device) <= sizes)
