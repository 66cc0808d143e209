"""Figure 5 of the SCConv paper, with a number in it: the channels of a first stage's feature maps.

The choice of image, channels and contrast decides much of what such a picture suggests.
Here the caller picks one image for both sides, the channels are the network's first ones in their
own order, and every channel is scaled by one rule.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import plt, style
from analysis.stats import summarise
from analysis.stats.redundancy import flat, redundancy

SHOWN = 64  # channels of one side, 8 x 8
RULE = (
    "Every channel is scaled by the same rule on both sides: from its own smallest value (dark) to "
    "its own largest (bright); grey channels are constant. Redundancy is the mean absolute Pearson "
    "correlation between all pairs of channels, over the positions of one image; constant channels "
    "have no correlation and are left out. ± is the standard deviation over seeds."
)


@dataclass(frozen=True)
class Side:
    """One half of the picture: a variant's maps of the image.

    Attributes:
        maps: (c, h, w).
        redundancy: seed -> the mean over many images.
        images: how many those are.
    """

    variant: str
    maps: np.ndarray
    redundancy: Mapping[int, float]
    images: int


def figure(image: np.ndarray, left: Side, right: Side, caption: str) -> Figure:
    """The image, bytes (h, w, 3), and beside it up to 64 channels of each side's maps.

    `caption` names the image and the maps.
    """
    with style(**{"axes.grid": False}):
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
        )
        return drawing


def mosaic(maps: np.ndarray) -> np.ndarray:
    """Up to 64 channels of (c, h, w) in a square, row by row, each scaled to 0..1.

    -1 where a channel is constant, nan between channels.
    """
    shown, (h, w) = maps[:SHOWN], maps.shape[1:]
    columns, gap = math.ceil(math.sqrt(len(shown))), max(1, h // 12)
    rows = math.ceil(len(shown) / columns)
    picture = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), np.nan)
    constant = flat(shown)
    for i, channel in enumerate(shown.astype(float)):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        # every channel by its own range: their contrasts compare, their magnitudes do not
        scaled = -1 if constant[i] else (channel - channel.min()) / np.ptp(channel)
        picture[y : y + h, x : x + w] = scaled
    return picture


def _title(side: Side) -> str:
    """The variant, what is shown of it, and its redundancy here and over many images and seeds."""
    c = len(side.maps)
    shown = f"all {c} channels" if c <= SHOWN else f"the first {SHOWN} of {c} channels"
    lines = [
        textwrap.fill(f"{side.variant} ({shown})", 60),
        f"redundancy {redundancy(side.maps[None]):.3f} in this image",
    ]
    if s := summarise([*side.redundancy.values()]):
        sd = f" ± {s.sd:.3f}" if s.sd is not None else ""
        seeds = f"n={s.n} seed{'s' if s.n > 1 else ''}"
        lines.append(f"redundancy {s.mean:.3f}{sd} over {side.images} images, {seeds}")
    return "\n".join(lines)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set_axis_off()
