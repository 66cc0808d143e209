"""One trial from wherever the store has it to its record. Knows neither Ray nor MLflow."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from dataclasses import asdict

import torch

from runners.data import dataset as datasets
from runners.data.dataset import Dataset
from runners.errors import Diverged
from runners.plan import Trial
from runners.store import Epoch, Record, Store
from runners.trial.provenance import commit
from runners.trial.training import Training


def run(
    trial: Trial, store: Store, data_root: str | None = None, device: str = "auto"
) -> Iterator[list[Epoch]]:
    """Train a trial from wherever the store has it to its record; yields the epochs not yielded before (at first, all the saved ones).

    When an epoch is yielded it is on disk, and when the generator ends so is the record: finished, or diverged. A search's trial
    (`config.test` False) is judged by its last epoch's validation: it has no result and keeps no weights.
    """
    device = pick_device(device)
    with store.hold(trial.id):
        if record := store.record(trial.id):
            yield record.epochs
            return
        data = _data(trial.config.dataset, data_root, str(store.cache))
        training, epochs = Training(trial, data, device), []
        if saved := store.checkpoint(trial.id):
            state, epochs = saved
            training.load(state)
            yield list(epochs)
        status, reason, result, weights = "finished", "", None, None
        try:
            for index in range(len(epochs), trial.config.epochs):
                epochs.append(training.epoch(index))
                store.save(trial.id, training.state(), epochs)
                yield epochs[-1:]
            if trial.config.test:
                result, weights = training.result(epochs), training.model.state_dict()
        except Diverged as error:
            status, reason = "diverged", str(error)
        # workers that failed or died before this one
        evidence = provenance(training) | {"attempts": 1 + len(store.failures(trial.id))}
        store.commit(
            Record(
                trial.id,
                trial.sweep,
                trial.variant,
                trial.seed,
                asdict(trial.config),
                status,
                reason,
                epochs,
                result,
                evidence,
            ),
            weights,
        )


def provenance(training: Training) -> dict[str, str | int]:
    """What a number needs beside it to be believed."""
    device = (
        torch.cuda.get_device_name(training.device)
        if training.device.type == "cuda"
        else f"CPU ({platform.machine()})"
    )
    return {
        **commit(),
        "device": device,
        "precision": training.precision,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "data": training.data.digest,
        "train_images": len(training.data.train),
        "val_images": len(training.data.val),
        "test_images": len(training.data.test),
    }


def pick_device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


@functools.lru_cache(1)
def _data(name: str, root: str | None, cache: str) -> Dataset:
    """Kept between the trials of one process."""
    return datasets.load(name, root, cache)
