"""How alike the channels of a feature map are, as a number."""

from __future__ import annotations

import math

import numpy as np

FLAT = 1e-6  # of a channel's largest magnitude: what single precision leaves of a constant


def redundancy(maps: np.ndarray) -> float:
    """Mean absolute Pearson correlation (0..1) between pairs of channels, of maps (n, c, h, w).

    It is computed over the h * w positions of each image, then averaged over the images. The
    correlation of a channel that is constant in an image (a dead ReLU) is undefined: its pairs are
    left out of that image's mean, neither 0 nor 1. An image with fewer than two channels that vary
    is left out; if all are, the answer is nan. `constant` gives the share that was left out.

    Raises:
        ValueError: not four axes.
    """
    _check(maps)
    values = [_image_redundancy(image) for image in maps]
    kept = [v for v in values if not math.isnan(v)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def constant(maps: np.ndarray) -> float:
    """The share (0..1) of channels that are constant in their image, of maps (n, c, h, w).

    Constant to within single precision.

    Raises:
        ValueError: not four axes.
    """
    _check(maps)
    return float(np.mean([flat(image) for image in maps]))


def flat(image: np.ndarray) -> np.ndarray:
    """Which channels of (c, h, w) are constant: (c,) booleans."""
    return np.ptp(image, axis=(1, 2)) <= FLAT * np.abs(image).max(axis=(1, 2))


def _image_redundancy(image: np.ndarray) -> float:
    """The mean over pairs of the channels of (c, h, w), nan without a pair."""
    varying = image[~flat(image)]
    if len(varying) < 2:
        return math.nan
    rows = varying.reshape(len(varying), -1).astype(np.float64)
    rows = rows - rows.mean(1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = np.abs(rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(pairs.mean())


def _check(maps: np.ndarray) -> None:
    if maps.ndim != 4:
        raise ValueError(
            f"`maps` has shape {maps.shape}, and must have four axes (n, c, h, w); "
            "of one image give maps[None]"
        )
