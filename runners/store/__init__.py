"""What trials leave behind, on disk or in a bucket: the only truth."""

from runners.store.evaluation import Evaluation
from runners.store.record import EVIDENCE, Epoch, Record, Result
from runners.store.scores import advance, label, shown
from runners.store.state import State
from runners.store.trials import Store

__all__ = [
    "EVIDENCE",
    "Epoch",
    "Evaluation",
    "Record",
    "Result",
    "State",
    "Store",
    "advance",
    "label",
    "shown",
]
