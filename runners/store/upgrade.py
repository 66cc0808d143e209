"""Records and epochs of earlier versions, in the shape of today's. Such files are read for ever."""

from __future__ import annotations

import math
from typing import Any

from runners.store.state import State

COSTS_1 = (
    "params",
    "paper_params",
    "macs",
    "paper_flops",
    "images_per_s",
    "peak_memory_gb",
    "swapped",
    "minutes",
)


def from_version_1(old: dict[str, Any]) -> dict[str, Any]:
    """A record of version 1, which had no version, no checksum and a field for every figure.

    Raises:
        ValueError: a field is missing, or is not of its kind.
    """
    try:
        epochs = [epoch(row) for row in old["epochs"]]
        result = _result(old["result"]) if old["result"] is not None else None
        status = State.PRUNED if old["status"] == "stopped" else old["status"]
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from None
    except (TypeError, ValueError):
        raise ValueError("epochs and result: must be a list and a mapping") from None
    return old | {"epochs": epochs, "result": result, "status": status}


def _result(old: dict[str, Any]) -> dict[str, Any]:
    return {
        "primary": "top1",
        "scores": {"top1": old["test_top1"], "top5": old["test_top5"]},
        "correct": old["correct"],
        "costs": {name: old[name] for name in COSTS_1},
    }


def epoch(old: dict[str, Any]) -> dict[str, Any]:
    """An epoch of version 1, which had a field for every figure, None without a validation
    split.
    """
    figures = dict(old)
    train = {name: figures.pop(f"train_{name}") for name in ("loss", "top1")}
    val = {name: figures.pop(f"val_{name}") for name in ("loss", "top1")}
    # a validation loss may overflow while the training goes on
    if isinstance(val["loss"], float) and not math.isfinite(val["loss"]):
        val["loss"] = None
    val = {name: value for name, value in val.items() if value is not None}
    return figures | {"primary": "top1", "train": train, "val": val}
