"""What the kernels need of a CRU, as values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scconv.kernels.groupwise import Geometry


@dataclass(frozen=True)
class Form(Geometry):
    """What is fixed about a CRU: how many channels its upper part has, whether the output keeps the
    squeezed lower part, and `eps` of the norms (of both squeezes, up and low, and of both outputs).
    """

    upper: int
    keeps: bool
    eps: tuple[float, float, float, float]


@dataclass(frozen=True)
class Weights:
    """What a CRU learns: convolutions' weights as the module has them, norms' gains and shifts."""

    squeeze_up: Tensor
    gain_up: Tensor
    shift_up: Tensor
    gwc: Tensor
    pwc1: Tensor
    squeeze_low: Tensor
    gain_low: Tensor
    pwc2: Tensor
    gain1: Tensor
    shift1: Tensor
    gain2: Tensor
    shift2: Tensor


@dataclass(frozen=True)
class Seen:
    """The mean and the variance that each norm would see if there were no biases: those of the
    squeezes, of y1, and of y2, whose kept channels are the squeeze's less its mean.
    """

    mean_up: Tensor
    var_up: Tensor
    mean_low: Tensor
    var_low: Tensor
    mean1: Tensor
    var1: Tensor
    mean2: Tensor
    var2: Tensor
