"""What trials leave behind, on disk or in a bucket: the only truth."""

from runners.store.trials import EVIDENCE, Epoch, Record, Result, Store

__all__ = ["EVIDENCE", "Epoch", "Record", "Result", "Store"]
