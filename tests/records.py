"""Records whose parts agree, made up for tests that train nothing."""

from __future__ import annotations

from dataclasses import asdict, replace

from runners.plan import Trial
from runners.store import Epoch, Record, Result, State, Store
from runners.store.upgrade import COSTS_1

EVIDENCE = {
    "commit": "c0ffee", "dirty": "no", "device": "CPU (test)", "precision": "fp32", "torch": "2.0",
    "data": "d1", "train_images": 288, "val_images": 32, "test_images": 160,
}  # fmt: skip


def epoch(n: int = 1, *, loss: float = 1.0, val: float | None = 50.0, **fields) -> Epoch:
    """The epoch `n` with this training loss and validation accuracy; `val` None: no split."""
    validated = {} if val is None else {"loss": 1.0, "top1": val}
    row = Epoch(n, 0.1, "top1", {"loss": loss, "top1": 50.0}, validated, 1.0, 100.0, n)
    return replace(row, **fields)


def result(right: int = 112, images: int = 160, **costs: float) -> Result:
    """`right` of `images` test images right, the first ones."""
    bits = (1 << images) - (1 << (images - right))
    padded = bits << (-images % 8)
    correct = padded.to_bytes((images + 7) // 8).hex()
    scores = {"top1": 100 * right / images, "top5": 99.0}
    return Result("top1", scores, correct, dict.fromkeys(COSTS_1, 1.0) | costs)


def record(trial: Trial, status: str = "finished", **fields) -> Record:
    """How `trial` ended; one that finished, and has a test set, has a result."""
    ended = Record(
        trial.id,
        trial.sweep,
        trial.variant,
        trial.seed,
        asdict(trial.config),
        State(status),
        "" if status == "finished" else "why",
        [epoch()],
        result() if status == "finished" and trial.config.test else None,
        dict(EVIDENCE),
    )
    return replace(ended, **fields)


def overwrite(store: Store, record: Record) -> None:
    """Put a record in place of one that is there, as only the owner of the trial's lock may."""
    with store.hold(record.id, wait_s=0):
        store.commit(record)
