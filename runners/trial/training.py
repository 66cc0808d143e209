"""Train a network on a data set, epoch by epoch. Knows neither Ray nor MLflow: it runs wherever
torch does.

On a CPU a trial is repeatable bit for bit, and one that was interrupted and resumed ends with the
weights of one that was not: every epoch draws from generators seeded by (seed, epoch), so there is
no random state to lose.
"""

from __future__ import annotations

import hashlib
import math
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners.data.dataset import Dataset, Split, batches
from runners.data.image_files import Files
from runners.errors import Diverged
from runners.plan import Config, Trial
from runners.store import Epoch, Result
from runners.store.stopping import kept_epoch, stopped
from runners.trial import peak_memory, precision, schedule
from runners.trial.compiled import Compiled
from runners.trial.measured import measured
from runners.trial.network import build
from runners.trial.testing import look, per_cent
from runners.trial.utilisation import utilisation
from scconv.channels import Present, draw

PRIMARY = "top1"  # the score that a classifier is judged by, in training, validation and test


class Training:
    """One trial's model, optimizer and data on a device, advanced by whole epochs."""

    def __init__(self, trial: Trial, data: Dataset, device: torch.device | str = "cpu"):
        self.config, self.seed, self.device = trial.config, trial.seed, torch.device(device)
        self.own = trial.own
        # a search cannot read what it does not have
        if not self.config.test:
            data = replace(data, test=data.test.subset(torch.arange(0)))
        self.data = data.hold_out(self.config.val_fraction).to(self.device)
        self.precision = precision.choose(self.config.precision, self.device)
        torch.manual_seed(_seed(trial.seed, "weights"))
        # built on the CPU, so that a seed's first weights are the same on every device;
        # channels_last is faster on both
        model, self.swapped = build(self.config, data.classes, trial.own)
        model = model.to(self.device)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        c = self.config
        batch = min(c.batch_size, len(self.data.train))
        self.compiled = Compiled(self.model, batch) if c.compile else None
        self.forward = self.compiled or self.model
        self.optimizer = optimizer(c, self.model)
        # layers that change while they are trained, such as those of scconv/convs/dynamic.py
        self.changing: list[Any] = [m for m in model.modules() if hasattr(m, "set_progress")]
        # the weights of the best epoch so far, where those are what is tested
        self.best: dict[str, Tensor] | None = None
        self.shared: dict[str, str] = {}  # for the record: whose stable part it went on from
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        peak_memory.reset(self.device)

    def state(self) -> dict:
        """Everything the next epoch depends on, but for the config."""
        parts = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        state = {name: part.state_dict() for name, part in parts.items()}
        if self.compiled:
            state["compiled"] = self.compiled.outcome
        if self.best is not None:
            state["best"] = self.best
        return state | {"data": self.data.train_digest, "shared": self.shared}

    def load(self, state: dict) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: it was trained on other data.
        """
        if not fits(state, self.data):
            raise ValueError(
                f"the checkpoint was trained on images with digest {state['data']}, these have "
                f"{self.data.train_digest}; use another --storage"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.shared = state.get("best"), state.get("shared", {})
        if self.compiled:
            self.compiled.before = state.get("compiled", "unknown")
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def epoch(self, index: int) -> Epoch:
        """Train the epoch with this index, counted from 0, and validate.

        Raises:
            Diverged: the loss is not finite.
        """
        start = time.perf_counter()
        loss, top1 = self._train(index)
        trained = time.perf_counter() - start
        if not math.isfinite(loss):
            raise Diverged(f"the training loss was {loss} in epoch {index + 1}")
        return Epoch(
            epoch=index + 1,
            lr=self.optimizer.param_groups[0]["lr"],
            primary=PRIMARY,
            train={"loss": loss, "top1": 100 * top1},
            val=self._validate(),
            seconds=time.perf_counter() - start,
            images_per_s=len(self.data.train) / trained,
            ended=time.time_ns() // 1_000_000,
            sys={"memory_gb": peak_memory.gigabytes(self.device), "load": os.getloadavg()[0]},
        )

    def keep_best(self, epochs: list[Epoch]) -> None:
        """Keep the weights of the last of these epochs, if it is the best and that is tested."""
        stop = self.config.early_stop
        if stop and stop.keep == "best" and kept_epoch(stop, epochs) == len(epochs):
            state = self.model.state_dict()
            self.best = {name: tensor.cpu().clone() for name, tensor in state.items()}

    def _validate(self) -> dict[str, float]:
        """Loss and scores on the validation split; empty without one."""
        if not len(self.data.val):
            return {}
        loss, hits = self._evaluate(self.data.val)
        figures = {"loss": loss, "top1": per_cent(hits[:, 0])}
        # the loss may overflow while the training goes on; a record has finite figures alone
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    def result(self, epochs: list[Epoch]) -> Result:
        """Read the test set, once, with the weights that the config says."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        _, hits = self._evaluate(self.data.test)
        counted = measured(self.config, self.own)  # as it is built: a trained one may have changed
        return Result(
            primary=PRIMARY,
            scores={"top1": per_cent(hits[:, 0]), "top5": per_cent(hits.any(1))},
            correct=np.packbits(hits[:, 0].numpy()).tobytes().hex(),
            costs={
                **counted.counts,
                "train_mib": counted.train_mib,
                "swapped": self.swapped,
                **_measured(epochs, counted.counts["macs"], self.device, self.precision),
            },
        )

    def _train(self, index: int) -> tuple[float, float]:
        """Mean loss and accuracy (0..1) over the epoch's batches, as they were trained."""
        c = self.config
        # for whatever a convolution draws itself
        torch.manual_seed(_seed(self.seed, f"dropout {index}"))
        steps = math.ceil(len(self.data.train) / c.batch_size)
        loss_sum = torch.zeros((), device=self.device)
        hits = torch.zeros((), device=self.device)
        seen = 0
        self.model.train()
        for i, (x, y) in enumerate(_inputs(self.data, c, self.seed, index)):
            step = index * steps + i + 0.5
            progress = step / (c.epochs * steps)
            for group in self.optimizer.param_groups:
                group["lr"] = schedule.rate(c, step, steps)
            for layer in self.changing:
                layer.set_progress(progress)
            with precision.autocast(self.precision, self.device):
                logits = self.forward(x)
                loss = F.cross_entropy(logits, y, label_smoothing=c.label_smoothing)
            _step(loss, self.optimizer, self.scaler, c.grad_clip)
            loss_sum += loss.detach().float() * len(y)  # stays on the device: no waiting per batch
            hits += (logits.detach().argmax(1) == y).sum()
            seen += len(y)
        return loss_sum.item() / seen, hits.item() / seen

    def _evaluate(self, split: Split | Files) -> tuple[float, Tensor]:
        """Mean loss, and which of the five likeliest classes was right: (n, 5) booleans."""
        loss, guesses, truth = look(
            self.model.eval(), self.data, split, self.precision, self.device
        )
        return loss, guesses == truth[:, None]


def fits(state: dict, data: Dataset) -> bool:
    """Whether a training's state was trained on these images."""
    # the test images may have changed: a damaged one is mended without training again. Older
    # checkpoints have the digest of everything
    return state["data"] in (data.train_digest, data.digest)


def optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """SGD, Adam (D. P. Kingma, J. Ba, ICLR 2015) or AdamW (I. Loshchilov, F. Hutter, ICLR 2019)."""
    weights, decay = [*model.parameters()], config.weight_decay
    # as torch chooses on CUDA. On a CPU it takes half the time of one parameter after another, for
    # the same bits
    foreach = True if all(w.device.type == "cpu" for w in weights) else None
    if config.optimizer == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return torch.optim.SGD(
            weights,
            config.lr,
            config.momentum,
            weight_decay=decay,
            nesterov=nesterov,
            foreach=foreach,
        )
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(weights, config.lr, weight_decay=decay, foreach=foreach)


def _measured(
    epochs: list[Epoch], macs: int, device: torch.device, precision: str
) -> dict[str, float]:
    """The costs of a training that its machine shows."""
    speed = statistics.median(e.images_per_s for e in epochs)
    memory = peak_memory.gigabytes(device)
    return {
        "images_per_s": speed,
        "peak_memory_gb": max(memory, *(e.sys["memory_gb"] for e in epochs)),
        "minutes": sum(e.seconds for e in epochs) / 60,
        **utilisation(macs, speed, device, precision),
    }


def _inputs(
    data: Dataset, config: Config, seed: int, epoch: int
) -> Iterator[tuple[Tensor | Present, Tensor]]:
    """What a network is given in an epoch: shuffled, augmented images, some without channels."""
    generator = torch.Generator().manual_seed(_seed(seed, f"batches {epoch}"))
    # of their own, so that lost channels change neither the order nor the augmentation
    channels = torch.Generator().manual_seed(_seed(seed, f"channels {epoch}"))
    for x, y in batches(data, config.batch_size, generator, augment=config.augment):
        if config.drop_channels == "none":
            yield x, y
            continue
        kept = draw(config.drop_channels, config.drop_p, len(x), x.shape[1], channels)
        yield Present(x, kept.to(x.device)), y


def _step(
    loss: Tensor, steps: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float
) -> None:
    """One step down the loss; gradients are clipped to this norm, 0 for none."""
    steps.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    if clip:
        scaler.unscale_(steps)
        weights = [w for group in steps.param_groups for w in group["params"]]
        nn.utils.clip_grad_norm_(weights, clip)
    scaler.step(steps)
    scaler.update()


def train(
    trial: Trial, data: Dataset, device: torch.device | str = "cpu"
) -> Iterator[Epoch | Result]:
    """Yield one Epoch at a time and, last, the Result. Keeps nothing on disk.

    Raises:
        Diverged: the loss is not finite.
    """
    training, epochs = Training(trial, data, device), []
    for index in range(trial.config.epochs):
        if stopped(trial.config, epochs):
            break
        epochs.append(training.epoch(index))
        training.keep_best(epochs)
        yield epochs[-1]
    yield training.result(epochs)


def _seed(seed: int, stream: str) -> int:
    """A seed of its own for every stream of random numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stream}".encode()).digest()[:7])
