"""A longer training of `schedule: wsd` goes on from what a shorter one left before its decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runners.plan import Trial
from runners.store import Epoch, Store
from runners.trial.provenance import CODE
from runners.trial.training import Training, fits

MADE = "made"  # in the state: how it was trained
SAME = ("precision", "device")  # without these, the first epochs would be other ones


def keep(trial: Trial, store: Store, training: Training, epochs: list[Epoch]) -> None:
    """Keep the state where the stable part has just ended, and somebody asked for it."""
    if not trial.keep_stable or len(epochs) != _shared(trial, training):
        return
    if not store.keeps_stable(trial):
        store.keep_stable(trial, training.state() | {MADE: _made(training)}, epochs)


def go_on(
    trial: Trial, store: Store, begin: Callable[[], Training]
) -> tuple[Training, list[Epoch]]:
    """The training after the longest stable part that it can go on from, and the epochs of that;
    the training that has just begun, and no epochs, where there is none.
    """
    training = begin()
    if not _shared(trial, training):
        return training, []
    for state, epochs, trial_id in store.stable_parts(trial):
        made = state.pop(MADE, {})
        if why := _unlike(made, training, state):
            print(f"the stable part of trial {trial_id} was trained {why}, not used")
            continue
        where = f"{trial_id} after epoch {len(epochs)}"
        shared = {"stable_part": where, "stable_part_commit": made["commit"]}
        try:
            training.load(state | {"shared": shared})
        # such as a library's network whose layers have other names by now
        except (RuntimeError, KeyError, ValueError) as error:
            why = " ".join(str(error).split())[:200]
            print(f"the stable part of trial {trial_id} does not fit ({why}), not used")
            training = begin()
            continue
        print(f"goes on from the stable part of trial {where}")
        return training, epochs
    return training, []


def _shared(trial: Trial, training: Training) -> int:
    """How many first epochs do not depend on the length of the training; 0 for none.

    A layer that changes with the progress of the whole training has none.
    """
    return 0 if training.changing else trial.config.stable_epochs


def _made(training: Training) -> dict[str, str]:
    return {
        "precision": training.precision,
        "device": training.device.type,
        "commit": str(CODE.evidence()["commit"]),
    }


def _unlike(made: dict[str, str], training: Training, state: dict[str, Any]) -> str:
    """In what the state was trained otherwise than this trial would be; empty where in nothing."""
    if not fits(state, training.data):
        return "on other images"
    now = _made(training)
    for key in SAME:
        if made.get(key) != now[key]:
            return f"with {key} {made.get(key)}, not {now[key]}"
    return ""
