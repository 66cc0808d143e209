"""What the kernels need of a CRU, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from scconv.kernels.groupwise import Geometry


@dataclass(frozen=True)
class Form(Geometry):
    """What is fixed about a CRU: how many channels its upper part has, whether the output keeps the
    squeezed lower part, `eps` of the norms (of both squeezes, up and low, and of both outputs), and
    the maps' type.
    """

    upper: int
    keeps: bool
    eps: tuple[float, float, float, float]
    dtype: np.dtype


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


class Seen(NamedTuple):
    """What each norm would see if there were no biases: mean and variance (2, c) of both squeezes;
    the means of y1 and of y2, whose kept channels are the squeeze's less its mean, and the
    variances of both, (2, c).
    """

    of_up: np.ndarray
    of_low: np.ndarray
    mean1: np.ndarray
    mean2: np.ndarray
    variances: np.ndarray
