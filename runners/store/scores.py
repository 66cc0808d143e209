"""What a trial's scores are called where people read them; records and MLflow keep the short
names.
"""

from __future__ import annotations

from runners.store.record import Epoch

# name -> (label, unit)
LABELS = {"top1": ("top-1", "%"), "top5": ("top-5", "%")}


def label(name: str) -> str:
    """A score's name for readers: "top-1" for "top1"; a score without an entry has its own name."""
    return LABELS.get(name, (name or "score", ""))[0]


def shown(name: str, value: float) -> str:
    """A score with its name and unit: "top-1 91.20 %"."""
    unit = LABELS.get(name, ("", ""))[1]
    return f"{label(name)} {value:.2f}{f' {unit}' if unit else ''}"


def advance(epoch: Epoch, of: int) -> str:
    """An epoch's line: "epoch 3/12: loss 1.234, validation top-1 91.20 % (4.1 s)"."""
    score = epoch.val_score
    val = f", validation {shown(epoch.primary, score)}" if score is not None else ""
    return f"epoch {epoch.epoch}/{of}: loss {epoch.train_loss:.3f}{val} ({epoch.seconds:.1f} s)"
