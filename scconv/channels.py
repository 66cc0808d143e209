"""Images of which some channels are missing: which there are, what stands for them, how training
loses them.

Nothing here is tied to three channels. A mask is a boolean per channel: True where it is there.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

RGB = "RGB"
MOST = 10  # channels whose subsets are all listed: 1,023
FILLS = ("black", "mean", "copy", "linear", "none")
DROPS = ("none", "batch", "sample")
Mask = tuple[bool, ...]


@dataclass(frozen=True)
class Present:
    """Images and which of their channels are there; a stem that takes subsets accepts the pair."""

    images: Float[Tensor, "n c h w"]
    mask: Bool[Tensor, "n c"]

    def __len__(self) -> int:
        return len(self.images)


def pair(x: Tensor | Present, present: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The images and the mask of a stem's arguments; None where all channels are there."""
    return (x.images, x.mask) if isinstance(x, Present) else (x, present)


def takes_subsets(model: nn.Module) -> bool:
    """Whether a network, or a convolution, takes `Present`.

    Its first convolution, or a module before that, has `forward(x, present=None)`.
    """
    for module in model.modules():
        if "present" in inspect.signature(module.forward).parameters:
            return True
        if isinstance(module, nn.Conv2d):
            return False
    return False


def name_of(mask: Sequence[bool]) -> str:
    """ "RG" of three channels; "1+3" of any other number, counted from 1."""
    if len(mask) == len(RGB):
        return "".join(itertools.compress(RGB, mask))
    return "+".join(str(i) for i, there in enumerate(mask, 1) if there)


def mask_of(name: str, c: int) -> Mask:
    """The mask of a subset of `c` channels from its name.

    Raises:
        ValueError: it names no channel, a channel twice or out of order, or one that is not there.
    """
    known = [*RGB] if c == len(RGB) else [str(i) for i in range(1, c + 1)]
    named = [*name] if c == len(RGB) else name.split("+")
    mask = tuple(channel in named for channel in known)
    if not any(mask) or name_of(mask) != name:
        example = "RG" if c == len(RGB) else f"1+{c}" if c > 1 else "1"
        raise ValueError(
            f"must name some of {', '.join(known)} in this order, such as {example}, got {name!r}"
        )
    return mask


def subsets(c: int) -> list[tuple[str, Mask]]:
    """(name, mask) of every subset of `c` channels but the empty one, the largest first.

    RGB, RG, RB, GB, R, G, B for three.

    Raises:
        ValueError: there are more than 10 channels, so more than 1,023 subsets.
    """
    if not 1 <= c <= MOST:
        raise ValueError(
            f"all subsets are listed of 1 to {MOST} channels, got {c}; name the ones that matter"
        )
    masks = []
    for size in range(c, 0, -1):
        for chosen in itertools.combinations(range(c), size):
            masks.append(tuple(i in chosen for i in range(c)))
    return [(name_of(mask), mask) for mask in masks]


@dataclass(frozen=True)
class Fill:
    """What stands for an absent channel, from the means and covariances of training pixels.

    black: the pixel value 0. mean: the channel's mean in the training images. copy: the mean of the
    image's channels that are there, pixel by pixel. linear: the least-squares prediction from them,
    with an intercept; one fit per subset. none: the images stay as they are, for a stem that takes
    subsets.
    """

    kind: str
    mean: Float[Tensor, " c"]
    covariance: Float[Tensor, "c c"]

    @classmethod
    def fit(cls, kind: str, images: Shaped[Tensor, "n c h w"]) -> Fill:
        """Read the training pixels, 0..255 of any type, in float64.

        Raises:
            ValueError: an unknown kind.
        """
        if kind not in FILLS:
            raise ValueError(f"fill must be one of {', '.join(FILLS)}, got {kind!r}")
        c = images.shape[1]
        total = torch.zeros(c, dtype=torch.float64, device=images.device)
        products = torch.zeros(c, c, dtype=torch.float64, device=images.device)
        # in pieces: a float copy of a whole training set would take eight times its memory
        for piece in images.split(500):
            pixels = piece.transpose(0, 1).reshape(c, -1).double()  # (c, n h w)
            total += pixels.sum(1)
            products += pixels @ pixels.T
        n = images.numel() // c
        mean = total / n
        return cls(kind, mean, products / n - mean.outer(mean))

    def __call__(
        self,
        images: Shaped[Tensor, "n c h w"],
        present: Bool[Tensor, "n c"] | Bool[Tensor, " c"],
    ) -> Float[Tensor, "n c h w"]:
        """The same images with every absent channel filled; the others keep their values.

        Args:
            images: pixels, 0..255 of any type, not normalised. Absent channels are not read, but
                by the kind "none", which returns them.
            present: which channels are there; (c,) for all images alike.

        Raises:
            ValueError: an image has no channel at all.
        """
        x = images if images.is_floating_point() else images.float()
        mask = present.to(x.device).bool().expand(x.shape[:2])
        if not mask.any(1).all():
            raise ValueError("every image must have a channel that is there")
        if self.kind == "none":
            return x
        filled = torch.where(mask[:, :, None, None], x, 0)
        if self.kind == "black":
            return filled
        for row in mask.unique(dim=0):
            weights, intercept = (part.to(x) for part in self._linear(row))
            rows = (mask == row).all(1)
            guess = torch.einsum("ab,nbhw->nahw", weights, filled[rows]) + intercept[:, None, None]
            filled[rows] = torch.where(row[:, None, None], filled[rows], guess)
        return filled

    def _linear(self, row: Bool[Tensor, " c"]) -> tuple[Tensor, Tensor]:
        """(c, c) weights of the channels that are there, and (c,) intercepts, for every channel."""
        here = row.to(self.mean.device)
        weights = torch.zeros_like(self.covariance)
        if self.kind == "mean":
            return weights, self.mean
        if self.kind == "copy":
            return (here / here.sum()).to(weights).expand_as(weights), torch.zeros_like(self.mean)
        # of channels that follow from each other, as grey three times, the smallest weights
        inverse = torch.linalg.pinv(self.covariance[here][:, here], rtol=1e-9, hermitian=True)
        weights[:, here] = self.covariance[:, here] @ inverse
        return weights, self.mean - weights @ self.mean


def drawable(kind: str, p: float, c: int) -> list[Mask]:
    """Every mask that `draw` can return a row of.

    Raises:
        ValueError: all subsets of more than 10 channels.
    """
    every = (True,) * c
    return [every] if kind == "none" or p == 0 else [mask for _, mask in subsets(c)]


def draw(kind: str, p: float, n: int, c: int, generator: torch.Generator) -> Bool[Tensor, "n c"]:
    """Which channels each of `n` training images keeps.

    With probability p, a number of channels is drawn uniformly from 1 to c, then a subset of it
    uniformly; else all stay.

    Args:
        kind: "none" loses nothing, "batch" the same channels of all images, "sample" of each its
            own.
        generator: on the CPU, so that a seed loses the same channels on every device.
    """
    if kind not in DROPS:
        raise ValueError(f"drop_channels must be one of {', '.join(DROPS)}, got {kind!r}")
    if kind == "none":
        return torch.ones(n, c, dtype=torch.bool)
    draws = n if kind == "sample" else 1
    loses = torch.rand(draws, generator=generator) < p
    sizes = torch.randint(1, c + 1, (draws,), generator=generator)
    orders = torch.rand(draws, c, generator=generator).argsort(1)
    kept = first_of(orders, sizes) | ~loses[:, None]
    return kept.expand(n, c)


def first_of(orders: Shaped[Tensor, "n c"], sizes: Shaped[Tensor, " n"]) -> Bool[Tensor, "n c"]:
    """The mask of the first `sizes` channels of each permutation."""
    return orders.argsort(1) < sizes[:, None]
