"""What a trial's record says: its epochs, its result and the evidence beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; top-1 in per cent, `seconds` with validation, `images_per_s` of training alone, `ended` in ms since 1970.

    Without a validation split `val_loss` and `val_top1` are None.
    """

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_loss: float | None
    val_top1: float | None
    seconds: float
    images_per_s: float
    ended: int
    sys: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A finished trial's figures; the test set was read once, after the last epoch. `correct` packs one bit per test image, in hex."""

    test_top1: float
    test_top5: float
    correct: str
    params: int
    paper_params: int
    macs: int
    paper_flops: int
    images_per_s: float
    peak_memory_gb: float
    swapped: int
    minutes: float


@dataclass(frozen=True)
class Record:
    """How a trial ended. `provenance`: commit, device, versions, data digest, ...

    `result` is what the test set says: None for a trial that was "stopped" by its search, or was not to read the test set at all.
    """

    id: str
    sweep: str
    variant: str
    seed: int
    config: dict[str, Any]
    status: Literal["finished", "diverged", "failed", "stopped"]
    reason: str
    epochs: list[Epoch]
    result: Result | None
    provenance: dict[str, Any]

    @property
    def val_top1(self) -> float | None:
        """Of the last epoch, in per cent."""
        return self.epochs[-1].val_top1 if self.epochs else None

    @property
    def minutes(self) -> float:
        """Of training and validation."""
        return sum(e.seconds for e in self.epochs) / 60


# what a finished trial's provenance says at least: a number needs it beside it
EVIDENCE = (
    "commit",
    "dirty",
    "device",
    "precision",
    "torch",
    "data",
    "train_images",
    "val_images",
    "test_images",
)
