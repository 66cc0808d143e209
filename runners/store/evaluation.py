"""A finished trial's evaluations: what its network makes of the test set under conditions.

They are made from weights.pt, and lie in a file of their own beside the record, which is replaced
as a whole. So a sweep that is given conditions later is evaluated, not trained again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from runners.errors import SweepError
from runners.plan import Evaluate, Trial
from runners.store.record import Number, Record
from runners.store.record_file import checksum

VERSION = 1
UNFILLED = "none"  # the fill where no channel is missing, or the stem takes what is there


@dataclass(frozen=True)
class Scores:
    """What a network makes of the test set under one condition.

    Attributes:
        name: of the condition, such as RG.
        mask: which channels are there.
        size: the side in pixels that the images are brought to; None: they stay as they are.
        fill: what stands for an absent channel; "none" where the stem takes subsets, or none is.
        top1, top5: in per cent.
        loss: the mean; None where it is not finite.
        predicted: the likeliest class of each image, as `packed`.
        untrained: parameters that the condition uses and no training image did.
    """

    name: str
    mask: list[bool]
    size: int | None
    fill: str
    top1: Number
    top5: Number
    loss: Number | None
    predicted: str
    untrained: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """ "linear/RG", or "RG" where nothing was filled: no two of an evaluation are the same."""
        return key_of(self.name, self.fill)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing: all channels, at their size."""
        return all(self.mask) and self.size is None


def key_of(name: str, fill: str) -> str:
    """What a condition is called, with what stands for absent channels in it."""
    return name if fill == UNFILLED else f"{fill}/{name}"


@dataclass(frozen=True)
class Evaluation:
    """All that was made of a trial so far.

    Attributes:
        weights_sha256: of the weights that it was made from.
        truth: the class of each test image, as `packed`.
        classes: how many there are.
        conditions: in the order in which they were asked for, the whole images first.
        provenance: device, versions and commit of each writing; the last one's.
    """

    id: str
    weights_sha256: str
    classes: int
    truth: str
    conditions: list[Scores]
    provenance: dict[str, Any] = field(default_factory=dict)

    def of(self, evaluate: Evaluate | None, fill: str) -> dict[str, Scores]:
        """Name -> scores of the conditions that a sweep asks for, as a variant with this fill has
        them; fewer where some have not been made.

        Args:
            fill: "" where the variant leaves it to the stem.
        """
        if evaluate is None:
            return {}
        # a stem that takes subsets has conditions without a fill, and another one has none such
        own = any(not all(s.mask) and s.fill == UNFILLED for s in self.conditions)
        wanted = fill or (UNFILLED if own else "linear")
        found = {}
        for s in self.conditions:
            named = evaluate.channels == "all" or s.name in evaluate.channels or s.whole
            asked = named if s.size is None else s.size in evaluate.sizes
            if asked and (all(s.mask) or s.fill == wanted):
                found[s.name] = s
        return found

    def labels(self) -> np.ndarray:
        """(images,) true class numbers."""
        return unpacked(self.truth, self.classes)

    def predictions(self, scores: Scores) -> np.ndarray:
        """(images,) class numbers."""
        return unpacked(scores.predicted, self.classes)

    def covers(self, trial: Trial, record: Record) -> bool:
        """Whether it has all that the trial is to be evaluated under, of the record's weights."""
        if trial.evaluate is None or self.weights_sha256 != record.weights_sha256:
            return trial.evaluate is None
        return all(self._covers(trial, fill) for fill in trial.fills)

    def _covers(self, trial: Trial, fill: str) -> bool:
        assert trial.evaluate
        found, channels = self.of(trial.evaluate, fill), trial.evaluate.channels
        sizes = {s.size for s in found.values()}
        if not found or not {*trial.evaluate.sizes} <= sizes:
            return False
        if channels != "all":
            return {*channels} <= {*found}
        subsets = [s for s in found.values() if s.size is None]
        return len(subsets) == 2 ** len(subsets[0].mask) - 1


def joined(before: Evaluation | None, now: Evaluation) -> Evaluation:
    """What was made before of the same weights, and what is made now."""
    if before is None or before.weights_sha256 != now.weights_sha256:
        return now
    new = {s.key for s in now.conditions}
    kept = [s for s in before.conditions if s.key not in new]
    return replace(now, conditions=[*kept, *now.conditions])


def measured(found: Mapping[str, Scores], measure: str) -> float | None:
    """A figure of a network over its conditions, by `measure`: their mean, the worst, or one of
    them; in per cent. None where it has not been made.
    """
    values = {name: s.top1 for name, s in found.items()}
    if measure in ("mean", "worst") and values:
        return (
            math.fsum(values.values()) / len(values) if measure == "mean" else min(values.values())
        )
    return values.get(measure)


def packed(classes: Sequence[int] | np.ndarray, of: int) -> str:
    """Class numbers below `of` as base64 of one byte each, or two where there are more."""
    return base64.b64encode(np.asarray(classes, _kind(of)).tobytes()).decode()


def unpacked(text: str, of: int) -> np.ndarray:
    """What `packed` wrote, (n,)."""
    return np.frombuffer(base64.b64decode(text, validate=True), _kind(of)).astype(np.int64)


def _kind(of: int) -> str:
    # little-endian on every machine
    return "<u1" if of <= 256 else "<u2"


def write(evaluation: Evaluation) -> bytes:
    """An evaluation as its file, with version and checksum.

    Raises:
        ValueError: it could not be read back.
    """
    raw = json.loads(json.dumps({"version": VERSION, **asdict(evaluation)}))
    content = json.dumps(raw | {"sha256": checksum(raw)}, indent=1).encode()
    _read(content, evaluation.id)
    return content


def load(content: bytes, trial_id: str, path: str) -> Evaluation | None:
    """The evaluation in a trial's folder; None where it is damaged: it is then made again.

    Raises:
        SweepError: a later version of this code wrote it.
    """
    try:
        return _read(content, trial_id)
    except _Newer as error:
        raise SweepError(
            f"{path}: written by a later version of this code ({error}); update the code, or use "
            "another --storage"
        ) from None
    except (ValueError, ValidationError):
        return None


class _Newer(Exception):
    """A later version of this code wrote the evaluation."""


def _read(content: bytes, trial_id: str) -> Evaluation:
    raw = json.loads(content)
    if not isinstance(raw, dict) or raw.get("sha256") != checksum(raw):
        raise ValueError("its checksum is wrong")
    if raw.get("version") != VERSION:
        raise _Newer(f"version {raw.get('version')}, and this code knows {VERSION}")
    found: Evaluation = TypeAdapter(Evaluation).validate_python(raw)
    if found.id != trial_id:
        raise ValueError(f"it is of another trial, {found.id}")
    images = len(found.labels())
    for scores in found.conditions:
        if len(found.predictions(scores)) != images:
            raise ValueError(f"{scores.key} has not a class for each of {images} images")
        right = 100 * float((found.predictions(scores) == found.labels()).mean())
        if abs(right - scores.top1) > 1e-9 * 100:
            raise ValueError(f"{scores.key}: top1 is {scores.top1}, its classes count {right}")
    return found


def digest(evaluation: Evaluation) -> str:
    """Of the figures, for whoever shows them: it changes with any of them."""
    figures = [(s.key, s.top1, s.top5, s.loss, s.predicted) for s in evaluation.conditions]
    return hashlib.sha256(json.dumps(figures).encode()).hexdigest()[:16]
