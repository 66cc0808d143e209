"""Where the weights of convolutions start: one rule for a backbone and for the designs that replace
its convolutions.

Variants of one seed must differ by their design alone. So a design's own convolutions start by the
rule of the backbone, He's normal distribution (K. He et al., "Delving Deep into Rectifiers", ICCV
2015), and not from torch's default, a narrower uniform one.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from unittest import mock

import torch
from torch import nn


def initialise(model: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution, as if a ReLU follows it."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def draw(conv: nn.Conv2d) -> None:
    """Draw one convolution anew: its weights by the rule, its bias (if any) as torch does."""
    initialise(conv)
    if conv.bias is not None:
        bound = 1 / math.sqrt(conv.weight[0].numel())
        nn.init.uniform_(conv.bias, -bound, bound)


@contextlib.contextmanager
def in_place_of(old: nn.Conv2d | None, seed: int, name: str) -> Iterator[None]:
    """While a design is built for the place of `old`: how the convolutions that it makes start.

    The first plain convolution of the shape of `old` is its counterpart: it starts with the weights
    (and the bias) of `old`. Every other one is drawn by the rule. A design that sets its weights
    itself keeps them, since it does so after this.

    All draws come from a stream of their own, made from `seed` and `name`, and torch's global
    generator is left as it was. So neither the layers around it nor other places depend on how much
    a design draws.

    Args:
        old: the convolution that is replaced; None where a whole network is converted.
        seed: one number for the network.
        name: the path of the place in the network.
    """
    waiting = old

    def start(conv: nn.Conv2d) -> None:
        nonlocal waiting
        if waiting is not None and _counterpart(conv, waiting):
            _take_over(conv, waiting)
            waiting = None
        else:
            draw(conv)

    stream = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7])
    on_gpu = old is not None and old.weight.is_cuda
    with torch.random.fork_rng(devices=[old.weight.device] if old is not None and on_gpu else []):
        torch.default_generator.manual_seed(stream)
        if on_gpu:
            torch.cuda.manual_seed_all(stream)
        # torch calls this at the end of a convolution's constructor
        with mock.patch.object(nn.Conv2d, "reset_parameters", start):
            yield


def _counterpart(new: nn.Conv2d, old: nn.Conv2d) -> bool:
    return new.weight.shape == old.weight.shape and new.groups == old.groups


def _take_over(new: nn.Conv2d, old: nn.Conv2d) -> None:
    draw(new)  # for a bias that `old` does not have
    with torch.no_grad():
        new.weight.copy_(old.weight)
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
