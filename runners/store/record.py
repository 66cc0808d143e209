"""A trial's record: its epochs, its result and the evidence beside them.

A record is open: a figure added later is one more name in `train`, `val`, `scores` or `costs`, and
records without it stay readable (runners/store/record_file.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from pydantic import Field, GetPydanticSchema, PlainValidator
from pydantic_core import CoreSchema, core_schema

from runners.plan import Config
from runners.store import stopping, upgrade
from runners.store.state import State

# evidence that a result needs beside it
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


def _finite(source: Any, handler: Any) -> CoreSchema:
    """An integer or a float as it is, checked by pydantic's own code: a record has hundreds."""
    number = core_schema.union_schema(
        [
            core_schema.int_schema(strict=True),
            core_schema.float_schema(strict=True, allow_inf_nan=False),
        ]
    )
    return core_schema.custom_error_schema(
        number, custom_error_type="finite", custom_error_message="must be a finite number"
    )


def _ended(value: Any) -> State:
    ended = [state for state in State if state.ended]
    if value not in ended:
        raise ValueError(f"must be one of {', '.join(ended)}")
    return State(value)


Number = Annotated[float, GetPydanticSchema(_finite)]
Whole = Annotated[int, Field(strict=True, ge=0)]


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures.

    Attributes:
        epoch: counted from 1.
        lr: the learning rate of its last batch.
        primary: the name of the score that judges a trial.
        train: `loss` and scores over the epoch's batches, as they were trained; top-k in per cent.
        val: the same of the validation split; empty without one, and without a loss that
            overflowed.
        seconds: of training and validation.
        images_per_s: of training alone.
        ended: ms since 1970.
        sys: the machine's figures, such as memory_gb.
    """

    epoch: Whole
    lr: Number
    primary: str
    train: dict[str, Number]
    val: dict[str, Number]
    seconds: Number
    images_per_s: Number
    ended: Whole
    sys: dict[str, Number] = field(default_factory=dict)

    @property
    def train_loss(self) -> float:
        return self.train["loss"]

    @property
    def val_loss(self) -> float | None:
        return self.val.get("loss")

    @property
    def train_score(self) -> float:
        return self.train[self.primary]

    @property
    def val_score(self) -> float | None:
        """None without a validation split."""
        return self.val.get(self.primary)

    @classmethod
    def read(cls, row: dict[str, Any]) -> Epoch:
        """An epoch as a checkpoint or a worker's report has it, of any version."""
        return cls(**upgrade.epoch(row) if "train_loss" in row else row)


def _cost(name: str) -> Any:
    return property(lambda self: self.costs[name])


@dataclass(frozen=True)
class Result:
    """A finished trial's figures; the test set was read once, after the last epoch.

    Attributes:
        primary: the name of the score that a comparison is about.
        scores: name -> figure on the test set; top-k in per cent.
        correct: one bit per test image, packed, in hex.
        costs: name -> figure of the network and of its training.
    """

    primary: str
    scores: dict[str, Number]
    correct: str
    costs: dict[str, Number]

    @property
    def score(self) -> float:
        """The primary one."""
        return self.scores[self.primary]

    params = _cost("params")
    paper_params = _cost("paper_params")
    macs = _cost("macs")
    paper_flops = _cost("paper_flops")
    images_per_s = _cost("images_per_s")
    peak_memory_gb = _cost("peak_memory_gb")
    swapped = _cost("swapped")
    minutes = _cost("minutes")

    @property
    def test_top1(self) -> float:
        return self.scores["top1"]

    @property
    def test_top5(self) -> float:
        return self.scores["top5"]


class Later(Protocol):
    """A record's epochs that have not been read."""

    def __len__(self) -> int: ...
    def last(self, count: int) -> list[Epoch]: ...


@dataclass(frozen=True)
class Record:
    """How a trial ended.

    Attributes:
        result: None for a trial that did not finish, or that must not read the test set.
        provenance: commit, device, versions, data digest, ...
        weights_sha256: of weights.pt; empty where there is none, or its writer made none yet.
    """

    id: str
    sweep: str
    variant: str
    seed: Whole
    config: dict[str, Any]
    status: Annotated[State, PlainValidator(_ended)]
    reason: str
    epochs: list[Epoch]
    result: Result | None
    provenance: dict[str, Any]
    weights_sha256: str = ""

    @classmethod
    def reading_epochs_later(cls, later: Later, **others: Any) -> Record:
        """One whose epochs are read when they are first asked for."""
        made = cls(epochs=[], **others)
        del made.__dict__["epochs"]
        made.__dict__["_later"] = later
        return made

    def __getattr__(self, name: str) -> Any:
        # only for what was not there when it was looked for
        own = self.__dict__
        if name == "epochs" and (later := own.get("_later")):
            own.setdefault("epochs", later.last(len(later)))
            own.pop("_later", None)
        if name == "epochs" and "epochs" in own:
            return own["epochs"]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def trained(self) -> int:
        """How many epochs there are, without reading them."""
        later = self.__dict__.get("_later")
        return len(self.epochs) if later is None else len(later)

    def last_epochs(self, count: int) -> list[Epoch]:
        """The last so many, without reading those before; all, where there are fewer."""
        later = self.__dict__.get("_later")
        return self.epochs[-count:] if later is None else later.last(count)

    @property
    def primary(self) -> str:
        """The name of the score that judges this trial; empty where it has no figures."""
        last = self.result or (self.epochs[-1] if self.epochs else None)
        return last.primary if last else ""

    @property
    def score(self) -> float | None:
        """The primary score on the test set; None without a result."""
        return self.result.score if self.result else None

    @property
    def best(self) -> int:
        """The epoch whose weights were tested, counted from 1; 0 without epochs."""
        return stopping.kept_epoch(Config(**self.config).early_stop, self.epochs)

    @property
    def val_score(self) -> float | None:
        """The primary score on the validation split of the epoch whose weights were tested."""
        return self.epochs[self.best - 1].val_score if self.epochs else None

    @property
    def minutes(self) -> float:
        """Of training and validation."""
        return sum(e.seconds for e in self.epochs) / 60
