"""How alike the channels of a feature map are: a number, and the picture of Figure 5 of the SCConv paper with that number in it.

A picture of feature maps can be made to say much by the choice of image, channels and contrast. Here the image is the caller's for both
sides, the channels are the network's first ones in their own order, and every channel is scaled by one rule.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import STYLE, plt
from analysis.stats import summarise

SHOWN = 64  # channels of one side, 8 x 8
FLAT = 1e-6  # of a channel's largest magnitude: what single precision leaves of a constant
RULE = (
    "Every channel is scaled by the same rule on both sides: from its own smallest value (dark) to its own largest (bright); grey channels are "
    "constant. Redundancy is the mean absolute Pearson correlation between all pairs of channels, over the positions of one image; constant "
    "channels have no correlation and are left out. ± is the standard deviation over seeds."
)


@dataclass(frozen=True)
class Side:
    """One half of the picture: a variant's maps (c, h, w) of the image; and, by seed, its redundancy over many images, their number `images`."""

    variant: str
    maps: np.ndarray
    redundancy: Mapping[int, float]
    images: int


def redundancy(maps: np.ndarray) -> float:
    """Mean absolute Pearson correlation (0..1) between pairs of different channels, of feature maps (n, c, h, w).

    It is computed over the h * w positions of each image, then averaged over the images. The correlation of a channel that is constant in
    an image (a dead ReLU) is undefined: its pairs are left out of that image's mean, neither 0 nor 1. An image with fewer than
    two channels that vary is left out; if all are, the answer is nan. `constant` says how much was left out.

    Raises:
        ValueError: not four axes.
    """
    _check(maps)
    values = [_image_redundancy(image) for image in maps]
    kept = [v for v in values if not math.isnan(v)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def constant(maps: np.ndarray) -> float:
    """The share (0..1) of channels that are constant in their image, of feature maps (n, c, h, w), to within single precision.

    Raises:
        ValueError: not four axes.
    """
    _check(maps)
    return float(np.mean([_constant(image) for image in maps]))


def figure(image: np.ndarray, left: Side, right: Side, caption: str) -> Figure:
    """The image, bytes (h, w, 3), and beside it up to 64 channels of each side's maps; `caption` says what the image and the maps are."""
    with plt.style.context([STYLE, {"axes.grid": False}]):
        drawing, axes = plt.subplots(
            1, 3, figsize=(12, 6.1), width_ratios=(1.1, 4, 4), layout="constrained"
        )
        drawing.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr]
        axes[0].imshow(image, interpolation="nearest")
        _bare(axes[0], "input image")
        for place, side in zip(axes[1:], (left, right), strict=True):
            colours = plt.get_cmap("viridis").with_extremes(bad="white", under="#BBBBBB")
            place.imshow(mosaic(side.maps), cmap=colours, vmin=0, vmax=1, interpolation="nearest")
            _bare(place, _title(side))
        drawing.supxlabel(
            textwrap.fill(f"{caption} {RULE}", 190),
            fontsize="small",
            x=0.01,
            ha="left",
            parse_math=False,
        )
        return drawing


def mosaic(maps: np.ndarray) -> np.ndarray:
    """Up to 64 channels of (c, h, w) in a square, row by row, each scaled to 0..1; -1 where a channel is constant, nan between them."""
    shown, (h, w) = maps[:SHOWN], maps.shape[1:]
    columns, gap = math.ceil(math.sqrt(len(shown))), max(1, h // 12)
    picture = np.full(
        (math.ceil(len(shown) / columns) * (h + gap) - gap, columns * (w + gap) - gap), np.nan
    )
    flat = _constant(shown)
    for i, channel in enumerate(shown.astype(float)):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        picture[y : y + h, x : x + w] = (
            -1 if flat[i] else (channel - channel.min()) / np.ptp(channel)
        )
    return picture


def _image_redundancy(image: np.ndarray) -> float:
    """(c, h, w) -> the mean over pairs, nan without one."""
    varying = image[~_constant(image)]
    if len(varying) < 2:
        return math.nan
    rows = varying.reshape(len(varying), -1).astype(np.float64)
    rows = rows - rows.mean(1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = np.abs(rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(pairs.mean())


def _constant(image: np.ndarray) -> np.ndarray:
    """(c, h, w) -> which channels are: (c,)."""
    return np.ptp(image, axis=(1, 2)) <= FLAT * np.abs(image).max(axis=(1, 2))


def _check(maps: np.ndarray) -> None:
    if maps.ndim != 4:
        raise ValueError(
            f"`maps` has shape {maps.shape}, and must have four axes (n, c, h, w); of one image give maps[None]"
        )


def _title(side: Side) -> str:
    """The variant, its number for this picture and over many images and seeds, and what is shown of it."""
    c = len(side.maps)
    shown = f"all {c} channels" if c <= SHOWN else f"the first {SHOWN} of {c} channels"
    lines = [
        textwrap.fill(f"{side.variant} ({shown})", 60),
        f"redundancy {redundancy(side.maps[None]):.3f} in this image",
    ]
    if s := summarise([*side.redundancy.values()]):
        sd = f" ± {s.sd:.3f}" if s.sd is not None else ""
        lines.append(
            f"redundancy {s.mean:.3f}{sd} over {side.images} images, n={s.n} seed{'s' if s.n > 1 else ''}"
        )
    return "\n".join(lines)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left", parse_math=False)
    axes.set_axis_off()
