"""One trial from wherever the store has it to its record. Knows neither Ray nor MLflow."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Generator
from dataclasses import asdict, replace

import torch

from runners import data as datasets
from runners.data.dataset import Dataset
from runners.errors import Diverged
from runners.plan import Config, Own, Trial
from runners.store import Epoch, Record, Result, State, Store
from runners.store.stopping import stopped
from runners.trial import stable_part
from runners.trial.provenance import CODE, cpu, machine, moved
from runners.trial.saving import Saver
from runners.trial.training import Training
from scconv import CRU, SRU
from scconv.kernels import used_on


def run(
    trial: Trial, store: Store, data_root: str | None = None, device: str = "auto"
) -> Generator[list[Epoch], None, None]:
    """Train a trial from its last checkpoint, if it has one, to its record.

    Yields the epochs not yielded before; at first, all that are saved. An epoch that is yielded is
    in the store, and so is the record when the last ones are: finished, or diverged. A trial of a
    search (`config.test` False) has no result and keeps no weights.

    Raises:
        Held: another process trains it.
        StoreError: the store is full or unreachable.
    """
    with store.hold(trial.id):
        if record := store.record(trial.id):
            store.drop_left([record])
            yield record.epochs
            return
        data = data_of(trial, store, data_root)
        begin = functools.partial(Training, trial, data, pick_device(device))
        if saved := store.checkpoint(trial.id):
            (state, epochs), training = saved, begin()
            training.load(state)
        else:
            training, epochs = stable_part.go_on(trial, store, begin)
        if epochs:
            stable_part.keep(trial, store, training, epochs)
            yield list(epochs)

        told = len(epochs)
        status, reason, result, weights = State.FINISHED, "", None, None
        try:
            with contextlib.closing(_train(trial, store, training, epochs)) as trained:
                for news in trained:
                    told += len(news)
                    yield news
            if trial.config.test:
                result, weights = training.result(epochs), training.model.state_dict()
        except Diverged as error:
            status, reason = State.DIVERGED, str(error)

        if CODE.kept:
            store.keep(f"patches/{CODE.digest}.patch", CODE.content)
        # workers that failed or died before this one
        attempts = 1 + len(store.failures(trial.id))
        evidence = provenance(trial, training) | {"attempts": attempts}
        store.commit(_record(trial, status, reason, epochs, result, evidence), weights)
        if last := epochs[told:]:
            yield last


def _train(
    trial: Trial, store: Store, training: Training, epochs: list[Epoch]
) -> Generator[list[Epoch], None, None]:
    """Train the epochs that are left and append them; yields those that a checkpoint has.

    Raises:
        Diverged: the loss is not finite.
    """
    diverged = None
    with Saver(store, trial.id, len(epochs), behind=trial.config.test) as saver:
        try:
            for index in range(len(epochs), trial.config.epochs):
                if stopped(trial.config, epochs):
                    break
                epochs.append(training.epoch(index))
                training.keep_best(epochs)
                saver.save(training.state, epochs)
                stable_part.keep(trial, store, training, epochs)
                if news := saver.news(epochs):
                    yield news
        except Diverged as error:
            diverged = error
        saver.wait()
        if news := saver.news(epochs):
            yield news
    if diverged:
        raise diverged


def _record(
    trial: Trial,
    status: State,
    reason: str,
    epochs: list[Epoch],
    result: Result | None,
    evidence: dict[str, str | int],
) -> Record:
    return Record(
        id=trial.id,
        sweep=trial.sweep,
        variant=trial.variant,
        seed=trial.seed,
        config=asdict(trial.config),
        status=status,
        reason=reason,
        epochs=epochs,
        result=result,
        provenance=evidence,
    )


def provenance(trial: Trial, training: Training) -> dict[str, str | int]:
    """What a number needs beside it to be believed; nothing else of the machine's environment."""
    on_gpu = training.device.type == "cuda"
    said: dict[str, str | int] = {
        **CODE.evidence(),
        **moved(),
        "sweep_file": trial.sweep_digest,
        "device": device_name(training.device),
        "precision": training.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **machine(torch if on_gpu else None),
        "data": training.data.digest,
        "train_images": len(training.data.train),
        "val_images": len(training.data.val),
        "test_images": len(training.data.test),
    }
    if training.compiled:
        said["compiled"] = training.compiled.outcome
    units = any(isinstance(layer, SRU | CRU) for layer in training.model.modules())
    if on_gpu and units and not training.compiled:
        said["kernels"] = used_on(training.device) or "layers"
    said |= training.shared
    if trial.own.data and trial.own.data.contents:
        said["contents"] = trial.own.data.contents
    return said


def device_name(device: torch.device) -> str:
    """The GPU's own name, or the CPU's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({cpu()})"


def pick_device(name: str) -> str:
    """The device called `name`; "auto" is the GPU where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def data_of(trial: Trial, store: Store, root: str | None) -> Dataset:
    """The data that the trial trains on, without a validation split.

    Raises:
        ValueError: it is not there, or not what the trial was planned with.
    """
    return _data(*_choice(trial), root, str(store.cache))


def _choice(trial: Trial) -> tuple[str, Own]:
    """The part of a trial that chooses its data: equal for all trials that train on the same."""
    config = {name: getattr(trial.config, name) for name in ("dataset", "dataset_options")}
    return json.dumps(config), replace(trial.own, conv="", backbone="", stem="")


@functools.lru_cache(1)
def _data(config: str, own: Own, root: str | None, cache: str) -> Dataset:
    """Kept between the trials of one process; of the config it takes what chooses the data."""
    return datasets.of_trial(Config(backbone="", **json.loads(config)), own, root, cache)
