"""A finished trial's network, made again from its weights, under every condition that is asked for.

Nothing is trained, so conditions can be added to a sweep that has finished. What was made before is
kept, and a kill at any moment leaves the evaluation as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from runners.data.dataset import bytes_in_order
from runners.data.image_files import Files
from runners.plan import Trial
from runners.store import Evaluation, Record, Store
from runners.store.evaluation import UNFILLED, Scores, joined, key_of, packed
from runners.store.evaluations import lacks
from runners.trial.conditions import Condition, conditions, masked
from runners.trial.provenance import CODE
from runners.trial.run import device_name, pick_device
from runners.trial.testing import look, per_cent
from runners.trial.trained import Trained
from runners.trial.untrained import untrained
from scconv.channels import Fill, takes_subsets

FITTED = 2_000  # images that a fill is fitted on, where the data set is read from files


def evaluate(
    trial: Trial, store: Store, data_root: str | None = None, device: str = "auto"
) -> Evaluation | None:
    """Make what a finished trial's evaluation lacks, and keep it in the store.

    Returns:
        All of it; None for a trial that asks for none, or has no result.

    Raises:
        Held: another process trains or evaluates it.
        SweepError: its weights or its data are missing or damaged, or a condition is not possible.
        StoreError: the store is full or unreachable.
    """
    if trial.evaluate is None:
        return None
    with store.hold(trial.id):
        record, before = store.record(trial.id), store.evaluation(trial.id)
        if record is None or not lacks(trial, record, before):
            return before
        network = Trained(trial, store, data_root, pick_device(device))
        made = joined(before, _made(trial, record, network, before))
        store.keep_evaluation(made)
        return made


def _made(trial: Trial, record: Record, network: Trained, before: Evaluation | None) -> Evaluation:
    """The conditions that there are no scores of yet."""
    same = before is not None and before.weights_sha256 == record.weights_sha256
    done = {s.key for s in before.conditions} if before and same else set()
    looks, found = _Looks(trial, network), []
    for condition in looks.conditions:
        for fill in looks.fills:
            used = UNFILLED if all(condition.mask) else fill
            if (key := key_of(condition.name, used)) not in done:
                found.append(looks.at(condition, used))
                done.add(key)
    return Evaluation(
        trial.id,
        record.weights_sha256,
        network.data.classes,
        packed(looks.truth.numpy(), network.data.classes),
        found,
        {
            "commit": CODE.evidence()["commit"],
            "device": device_name(network.device),
            "torch": torch.__version__,
        },
    )


class _Looks:
    """One network looks at the test set as often as there are conditions.

    Attributes:
        fills: what stands for absent channels in each of the trial's variants.
        truth: (n,) true class numbers.
    """

    def __init__(self, trial: Trial, network: Trained):
        self.trial, self.network, self.data = trial, network, network.data
        usual = UNFILLED if takes_subsets(network.model) else "linear"
        self.fills = [*dict.fromkeys(fill or usual for fill in trial.fills)]
        assert trial.evaluate
        self.conditions = conditions(trial.evaluate, self.data.image[0])
        self.truth = torch.cat([y for _, y in bytes_in_order(self.data.test)]).cpu()

    def at(self, condition: Condition, fill: str) -> Scores:
        """The scores under one condition."""
        data, network = self.data, self.network
        loss, guesses, truth = look(
            network.model,
            data,
            data.test,
            network.precision,
            network.device,
            self._change(condition, fill),
        )
        hits = guesses == truth[:, None]
        return Scores(
            condition.name,
            [*condition.mask],
            condition.size,
            fill,
            per_cent(hits[:, 0]),
            per_cent(hits.any(1)),
            loss if math.isfinite(loss) else None,
            packed(guesses[:, 0].numpy(), data.classes),
            # what is filled goes through the network as whole images do
            self._untrained[condition.name] if fill == UNFILLED and not condition.size else [],
        )

    @cached_property
    def _untrained(self) -> dict[str, list[str]]:
        """Condition -> the parameters that it uses and that no training image reached."""
        trial, data = self.trial, self.data
        masks = {c.name: c.mask for c in self.conditions if not c.size}
        return untrained(trial.config, trial.own, data.classes, data.image, masks)

    def _change(self, condition: Condition, fill: str) -> Callable[[Tensor], Any]:
        """From bytes (n, h, w, 3) to what the network takes."""
        data, mask = self.data, condition.mask
        if side := condition.size:
            return lambda images: data.normalise(resized(images, side))
        if all(mask):
            return data.normalise
        if fill == UNFILLED:
            return lambda images: masked(data.normalise(images), mask)
        filled, there = self._fill(fill), torch.tensor(mask)
        return lambda images: data.normalise(
            filled(images.permute(0, 3, 1, 2), there).permute(0, 2, 3, 1)
        )

    def _fill(self, kind: str) -> Fill:
        return replace(self._fitted, kind=kind)

    @cached_property
    def _fitted(self) -> Fill:
        """Means and covariances of the images that the network was trained on."""
        train = self.data.hold_out(self.trial.config.val_fraction).train
        if isinstance(train, Files):
            rows = torch.linspace(0, len(train) - 1, min(FITTED, len(train))).long()
            images = torch.cat([x for x, _ in train.read(rows, 100)])
        else:
            images = train.images
        return Fill.fit("linear", images.permute(0, 3, 1, 2))


def resized(images: Tensor, side: int) -> Tensor:
    """Bytes (n, h, w, 3) as pixels of this side, by antialiased bilinear interpolation."""
    x = images.permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=[side, side], mode="bilinear", antialias=True)
    return x.permute(0, 2, 3, 1)
