"""What MLflow keeps of a trial under which key: metrics of an epoch, final figures, tags."""

from __future__ import annotations

from typing import Any

from mlflow.entities import Metric

from runners.plan import Trial
from runners.store import Epoch, Evaluation, Record, Result, State
from runners.store.evaluation import UNFILLED, key_of, measured

STATUS = {
    State.FINISHED: "FINISHED",
    State.DIVERGED: "FAILED",
    State.FAILED: "FAILED",
    State.PRUNED: "KILLED",
}
REASON = 500  # letters of a reason that a tag keeps
EVALUATION = "evaluation"  # a tag: the digest of the conditions' figures that a run shows
EPOCH_KEY = "train/loss"  # every epoch has it, so its history is a run's epochs


def epoch_metrics(e: Epoch) -> list[Metric]:
    """An epoch's metrics, with the time at which it ended."""
    values = {f"train/{key}": value for key, value in e.train.items()}
    values |= {f"val/{key}": value for key, value in e.val.items()}
    values |= {"lr": e.lr, "sys/images_per_s": e.images_per_s, "sys/epoch_s": e.seconds}
    values |= {f"sys/{key}": value for key, value in e.sys.items()}
    return [Metric(key, value, e.ended, e.epoch) for key, value in values.items()]


def final_metrics(result: Result) -> dict[str, float]:
    """Test scores, and what they cost."""
    scores = {f"test/{name}": value for name, value in result.scores.items()}
    shares = {f"cost/{key}": result.costs[key] for key in ("mfu",) if key in result.costs}
    return (
        scores
        | shares
        | {
            "cost/params_m": result.params / 1e6,
            "cost/macs_m": result.macs / 1e6,
            "cost/paper_flops_m": result.paper_flops / 1e6,
            "cost/images_per_s": result.images_per_s,
            "cost/peak_memory_gb": result.peak_memory_gb,
            "cost/minutes": result.minutes,
        }
    )


def condition_metrics(trial: Trial, evaluation: Evaluation) -> dict[str, float]:
    """Top-1 of every condition that the trial is evaluated under, and their mean and worst.

    A fill's figures are named after it, such as test/linear/RG.
    """
    found: dict[str, float] = {}
    for fill in trial.fills:
        scores = evaluation.of(trial.evaluate, fill)
        # of a fill that the file leaves to the stem, the one that was used
        used = next((s.fill for s in scores.values() if s.fill != UNFILLED), UNFILLED)
        found |= {f"test/{s.key}": s.top1 for s in scores.values()}
        for name in ("mean", "worst"):
            if (value := measured(scores, name)) is not None:
                found[f"test/{key_of(name, used)}"] = value
    return found


def first_tags(trial: Trial, store: str) -> dict[str, str]:
    """What makes a run ours, and its trial's."""
    return {
        "trial": trial.id,
        "sweep": trial.sweep,
        "variant": trial.variant,
        "seed": str(trial.seed),
        "status": str(State.RUNNING),
        "store": store,
    }


def final_tags(record: Record) -> dict[str, str]:
    """How the trial ended, and the evidence beside its numbers."""
    tags: dict[str, Any] = {"status": str(record.status), "reason": record.reason[:REASON]}
    if record.config.get("early_stop"):
        tags["best_epoch"] = record.best
    tags |= {f"env.{key}": value for key, value in record.provenance.items()}
    return {key: str(value) for key, value in tags.items()}
