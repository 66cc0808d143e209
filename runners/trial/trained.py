"""A finished trial's network again, from its saved weights: its predictions, its feature maps."""

from __future__ import annotations

import pickle

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners.data.dataset import Dataset, in_order
from runners.errors import SweepError
from runners.plan import Trial
from runners.store import Record, Store
from runners.trial import precision
from runners.trial.network import build
from runners.trial.run import data_of, pick_device
from runners.trial.testing import likeliest
from scconv.convs.octave import Octaves


def predictions(
    trial: Trial, store: Store, data_root: str | None = None, device: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class numbers, (n,) each, of every test image in the set's order; computed
    as the trial itself was tested.

    Raises:
        SweepError: the trial has not finished, its weights are missing or do not fit, or the data
            is not what it was trained on.
    """
    network = Trained(trial, store, data_root, pick_device(device))
    batches = [
        (y, likeliest(network.run(network.model, x))[:, 0])
        for x, y in in_order(network.data, network.data.test)
    ]
    truth, predicted = (torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True))
    return truth, predicted


def feature_maps(
    trial: Trial, store: Store, data_root: str | None, images: int, device: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """What the network's first stage makes of the first test images: float32 (images, c, h, w), and
    the images, bytes (images, h, w, 3).

    Octave's maps are in two sizes; the small ones are doubled, as that network itself does where it
    joins them.

    Raises:
        SweepError: as `predictions`.
        NoFirstStage: the network does not name one.
    """
    network = Trained(trial, store, data_root, pick_device(device))
    first = _first_stage(network.model, trial.config.backbone)
    rows = torch.arange(min(images, len(network.data.test)))
    maps, inputs = [], []
    for pixels, _ in network.data.test.read(rows, 50):
        maps.append(
            _joined(network.run(first, network.data.normalise(pixels))).float().cpu().numpy()
        )
        inputs.append(pixels.cpu().numpy())
    return np.concatenate(maps), np.concatenate(inputs)


class NoFirstStage(SweepError):
    """A backbone does not say which of its layers are its first stage."""


def _first_stage(model: nn.Module, backbone: str) -> nn.Module:
    try:
        return nn.Sequential(model.get_submodule("stem"), model.get_submodule("stages.0"))
    except AttributeError:
        raise NoFirstStage(
            f"backbone '{backbone}': feature maps are those behind its `stem` and `stages[0]`, "
            "which it does not have; give these names to the layers, or leave --against out"
        ) from None


class Trained:
    """A finished trial's model in eval mode, and its data, on a device."""

    def __init__(self, trial: Trial, store: Store, data_root: str | None, device: str):
        record = store.record(trial.id)
        if record is None or record.result is None:
            raise SweepError(
                f"{trial.name} is {record.status if record else 'not finished'}: only a finished "
                "trial can be inspected; train it first"
            )
        data = data_of(trial, store, data_root)
        self.data = _same_data(trial, record, data).to(device)
        model, _ = build(trial.config, self.data.classes, trial.own)
        _put_weights(model, store, trial, record)
        # layout and precision as in training: another rounding could turn a close call
        channels_last = {"memory_format": torch.channels_last}
        self.model = model.to(device).to(**channels_last).eval()
        self.device, self.precision = torch.device(device), record.provenance["precision"]

    @torch.no_grad()
    def run(self, module: nn.Module, x: Tensor) -> Tensor:
        with precision.autocast(self.precision, self.device):
            return module(x)


def _same_data(trial: Trial, record: Record, data: Dataset) -> Dataset:
    if data.digest != record.provenance["data"]:
        raise SweepError(
            f"{trial.name} was trained on {data.name} with digest {record.provenance['data']}, "
            f"this is {data.digest}; name its folder by --data"
        )
    return data


def _put_weights(model: nn.Module, store: Store, trial: Trial, record: Record) -> None:
    path = store.address(trial.id, "weights.pt")
    try:
        model.load_state_dict(store.weights(record))
    except FileNotFoundError:
        raise SweepError(
            f"{path}: the weights of {trial.name} are missing; restore them from a backup, or move"
            " the trial's folder away and the sweep trains it again"
        ) from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SweepError(
            f"{path}: not the weights of {trial.name} as this code builds it ({reason}); use the"
            f" code of commit {record.provenance['commit']}, or move the trial's folder away and"
            " the sweep trains it again"
        ) from None


def _joined(maps: Tensor | Octaves) -> Tensor:
    if isinstance(maps, Tensor):
        return maps
    return torch.cat(
        (F.interpolate(maps.low, size=maps.high.shape[-2:], mode="nearest"), maps.high), dim=1
    )
