"""Everything that can change a trial's numbers: its config and its seed; and the id that follows
from both.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from runners.plan.evaluating import Evaluate
from runners.plan.space import Whole

WSD = "wsd"  # warm-up, stable, decay
Fraction = Annotated[float, Field(ge=0, lt=1)]
RECIPES: dict[str, dict] = {
    # the paper's section 4: SGD 0.05, x0.1 after half and three quarters of 200 epochs.
    # Config's defaults, so it adds nothing
    "paper": {},
    # the paper's section 4 for ImageNet: rate 0.1, x0.1 every 30 of 100 epochs; batches of
    # 256 are the custom, the paper gives none
    "imagenet": {
        "epochs": 100,
        "lr": 0.1,
        "weight_decay": 1e-4,
        "milestones": (0.3, 0.6, 0.9),
        "batch_size": 256,
    },
    # a few epochs that end annealed: linear warm-up, then cosine to zero
    "short": {"epochs": 12, "lr": 0.1, "nesterov": True, "schedule": "cosine", "warmup": 0.15},
    # a usual first choice for a small network: Adam at its own paper's rate, which stays
    "adam": {
        "epochs": 50,
        "optimizer": "adam",
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "constant",
        "batch_size": 64,
        "augment": False,
        "grad_clip": 2.0,
        "early_stop": {"patience": 5, "monitor": "loss", "keep": "best"},
    },
}


# fields of Config that were added after records and studies had been written
LATER = (
    "conv_version",
    "compile_version",
    "backbone_digest",
    "backbone_options",
    "dataset_digest",
    "dataset_options",
    "data",
    "optimizer",
    "grad_clip",
    "early_stop",
    "stem",
    "stem_digest",
    "stem_options",
    "stem_version",
    "drop_channels",
    "drop_p",
    "warmup_epochs",
    "decay_fraction",
    "backbone_version",
)


@dataclass(frozen=True)
class EarlyStop:
    """Where a training ends before its last epoch.

    Attributes:
        patience: epochs in a row in which the validation is not better than its best so far.
        monitor: the validation's figure that is looked at.
        keep: which epoch's weights are tested.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    patience: Whole
    monitor: Literal["loss", "top1"] = "loss"
    keep: Literal["last", "best"] = "last"


@dataclass(frozen=True)
class Config:
    """Everything that can change a trial's numbers, but for the seed. A field at its default stays
    out of the trial's id.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    backbone: str
    dataset: str
    conv: str = "standard"
    # of the file and the local files that it imports, for a convolution of one's own
    conv_digest: str = ""
    # the convolution's, those at their default left out
    options: dict[str, Any] = field(default_factory=dict)
    epochs: Whole = 200
    batch_size: Annotated[int, Field(strict=True, ge=2)] = 128
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    schedule: Literal["step", "cosine", "constant", "wsd"] = "step"
    milestones: tuple[Fraction, ...] = (
        0.5,
        0.75,
    )  # of the epochs; "step" multiplies the rate by 0.1 at each
    warmup: Fraction = 0.0  # of the epochs, linear
    label_smoothing: Fraction = 0.0
    augment: bool = True
    val_fraction: Annotated[float, Field(ge=0, le=0.9)] = (
        0.1  # of the training set, held out; 0 trains on all of it
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = (
        "auto"  # auto: fp32 on a CPU, bf16 where the GPU has it, else fp16
    )
    compile: bool = False
    test: bool = True  # read the test set after the last epoch; the trials of a search never do
    # of the numbers of the convolution and of torch.compile (below: of stem and backbone), set by
    # the plan: trials of another version are other trials
    conv_version: int = 1
    compile_version: int = 1
    backbone_digest: str = ""
    backbone_options: dict[str, Any] = field(default_factory=dict)
    dataset_digest: str = ""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    data: str = ""  # the digest of data of one's own; "" for data with published checksums
    # adam adds the weight decay to the gradient, as an L2 penalty; adamw takes it from the weights
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    # the gradients' norm over all weights that is clipped to before each step; 0: none is
    grad_clip: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    early_stop: EarlyStop | None = None
    # what takes the place of the first convolution: a name of the same catalogue
    stem: str = "standard"
    stem_digest: str = ""
    stem_options: dict[str, Any] = field(default_factory=dict)
    stem_version: int = 1
    # training images lose channels: with this probability, all of a batch the same, or each its own
    drop_channels: Literal["none", "batch", "sample"] = "none"
    drop_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    # of wsd: the warm-up, linear; and the part of the epochs, at the end, in which the rate decays
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    decay_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    backbone_version: int = 1

    def __post_init__(self) -> None:
        # a record has the plain values
        if isinstance(self.early_stop, dict):
            object.__setattr__(self, "early_stop", EarlyStop(**self.early_stop))

    @cached_property
    def canonical(self) -> str:
        """The same text for the same numbers: what is at its default is left out."""
        defaults = Config.defaults()
        return json.dumps(
            {k: v for k, v in self.plain().items() if v != defaults[k]}, sort_keys=True
        )

    def plain(self) -> dict[str, Any]:
        """What `asdict` returns, in a tenth of its time: options are not copied."""
        stop = self.early_stop and asdict(self.early_stop)
        return {name: getattr(self, name) for name in Config.defaults()} | {"early_stop": stop}

    @staticmethod
    @cache
    def defaults() -> dict[str, Any]:
        """Every field's name and default; {} where it has none, or its default is one."""
        return {f.name: {} if f.default is MISSING else f.default for f in fields(Config)}

    @property
    def stable_epochs(self) -> int:
        """The epochs before the decay of `schedule: wsd`; 0 for other schedules.

        They do not depend on how many epochs follow.
        """
        return (
            self.epochs - max(1, round(self.decay_fraction * self.epochs))
            if self.schedule == WSD
            else 0
        )

    @cached_property
    def earlier(self) -> Sequence[Config]:
        """The same with every earlier version of what has versions."""
        names = ("conv_version", "stem_version", "compile_version", "backbone_version")
        if all(getattr(self, name) == 1 for name in names):
            return ()
        versions = itertools.product(*(range(1, getattr(self, name) + 1) for name in names))
        older = [replace(self, **dict(zip(names, v, strict=True))) for v in versions]
        return older[:-1]

    def written(self) -> dict[str, Any]:
        """All fields but those of LATER at their default.

        A digest over it stays the same when a field is added.
        """
        default = Config("", "")
        return {k: v for k, v in asdict(self).items() if k not in LATER or v != getattr(default, k)}


# the fields that say which network is built
NETWORK = (
    "backbone",
    "backbone_digest",
    "backbone_version",
    "backbone_options",
    "conv",
    "conv_digest",
    "conv_version",
    "options",
    "stem",
    "stem_digest",
    "stem_version",
    "stem_options",
)


@dataclass(frozen=True)
class Data:
    """What was measured of a data set.

    `identity` is what a trial's id has of it: "" for data with published checksums. `digest` is
    what a record says of it, `contents` covers the bytes of every image file of every split; ""
    where they are not known. `image` is (c, h, w).
    """

    classes: int
    image: tuple[int, int, int]
    identity: str = ""
    digest: str = ""
    contents: str = ""


@dataclass(frozen=True)
class Own:
    """What a trial uses that is not the package's: the paths of its user's files, and their data.

    A path is "" where the name is the package's; `data` is None where nothing had to be measured.
    """

    conv: str = ""
    backbone: str = ""
    dataset: str = ""
    data: Data | None = None
    stem: str = ""


PACKAGE = Own()  # of a trial that uses nothing else


@dataclass(frozen=True)
class Trial:
    """One variant with one seed."""

    sweep: str
    variant: str
    config: Config
    seed: int
    own: Own = PACKAGE
    sweep_digest: str = ""  # of the sweep file that planned it; no part of the id
    # how it is evaluated when it has finished, and with which fills; no part of the id
    evaluate: Evaluate | None = None
    fills: tuple[str, ...] = ()
    keep_stable: bool = False  # the state before the decay, for longer trainings; no part of the id

    @cached_property
    def id(self) -> str:
        """The same for the same numbers, whatever the sweep and the variant are called."""
        return self.id_of(self.config)

    @cached_property
    def stable_id(self) -> str:
        """The same for the trials of `schedule: wsd` whose stable part is the same; "" for others.

        They differ in their number of epochs and in the length of their decay alone.
        """
        if self.config.schedule != WSD:
            return ""
        return self.id_of(
            replace(self.config, epochs=Config.epochs, decay_fraction=Config.decay_fraction)
        )

    def id_of(self, config: Config) -> str:
        """Its id with another config."""
        return hashlib.sha256(f"{config.canonical} seed={self.seed}".encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        return f"{self.variant} seed{self.seed}"
