"""A plan for programs: what `python -m runners.sweep SWEEP --plan --json` prints.

runners/schemas/plan-1.json describes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of the plan; `status` is one of `runners.store.State`."""

    id: str
    variant: str
    seed: int
    status: str


@dataclass(frozen=True)
class PlannedVariant:
    """A variant's cost for one image, counted on its built network.

    Attributes:
        params, macs: plain; paper_params, paper_flops: counted as the paper counts them.
        swapped: convolutions that were replaced.
        reference: what is printed for it; empty where there is nothing.
        counts: these and all others of `scconv.Cost`, by their names.
        train_mib: memory of a training step, by activations and weights.
    """

    name: str
    params: int
    paper_params: int
    macs: int
    paper_flops: int
    swapped: int
    train_mib: float
    reference: dict[str, Any]
    counts: dict[str, int]


@dataclass(frozen=True)
class PlannedEvaluation:
    """The conditions that networks are evaluated under, and how many finished trials lack it."""

    conditions: list[str]
    to_evaluate: int


@dataclass(frozen=True)
class Plan:
    """What a start of the sweep would do, for programs.

    Attributes:
        done: trials that would not be run; `to_run` those that would.
        earlier_versions: convolution, stem or backbone -> trials that have not ended, and that an
            earlier version of it has finished; they are not mixed in.
        search: its mode, its trials, its space; empty without one.
        time: how long it takes, and how that is known; empty where it is not.
        resources: of a trial, its share of a GPU (null: one where there is one) and its CPU cores.
        warnings: what does not fit on a GPU, or would let it wait; a sentence each.
    """

    sweep: str
    trials: list[PlannedTrial]
    variants: list[PlannedVariant]
    done: int
    to_run: int
    notes: list[str]
    earlier_versions: dict[str, int]
    search: dict[str, Any]
    time: dict[str, Any] = field(default_factory=dict)
    evaluation: PlannedEvaluation = PlannedEvaluation([], 0)
    resources: dict[str, float | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    schema: Literal["scconv-sweeps/plan/1"] = "scconv-sweeps/plan/1"
