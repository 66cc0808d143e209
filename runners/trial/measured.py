"""What building a network has shown of it, remembered on this machine: the next plan of the same
networks needs no torch.

A network is remembered by everything that can change what was measured: its part of the config, the
shape of its data, the code of `scconv`, and torch's version. A network of a user's own file is not:
what it imports may change.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import metadata

from runners import data
from runners.plan import NETWORK, Config, Own
from runners.store import cache

CODE = ("scconv", "runners/trial/network.py")


@dataclass(frozen=True)
class Measured:
    """Counts for one image by their names (`scconv.Cost`), how many convolutions were replaced, the
    digest of the printed layers, and the memory of one step with the config's batch and optimizer.
    """

    counts: dict[str, int]
    swapped: int
    structure: str
    train_mib: float


def remembered(config: Config, own: Own) -> Measured | None:
    """The measures of a config's network from an earlier start; None where there are none."""
    key = _key(config, own)
    if key and (known := cache.Memory("networks", code()).get(key)):
        with contextlib.suppress(TypeError):
            return Measured(**known)
    return None


def measured(config: Config, own: Own) -> Measured:
    """The measures of a config's network, from an earlier start or by building it.

    Raises:
        ValueError: it cannot be built, or does not make a score for each class.
    """
    if known := remembered(config, own):
        return known
    from runners.trial.network import measure  # and torch with it

    cost, swapped, layers = measure(config, own)
    mib = cost.train_mib(config.batch_size, config.optimizer)
    structure = hashlib.sha256(layers.encode()).hexdigest()[:16]
    found = Measured(asdict(cost), swapped, structure, mib)
    if key := _key(config, own):
        cache.Memory("networks", code()).put(key, asdict(found))
    return found


def _key(config: Config, own: Own) -> str:
    """Of what is remembered; empty: nothing is."""
    if own.conv or own.backbone or own.stem:
        return ""
    # whether channels are lost decides whether the network is refused
    network = {name: getattr(config, name) for name in (*NETWORK, "drop_channels")}
    step = config.batch_size, config.optimizer
    return json.dumps([network, data.shape(config.dataset, own.data), step], sort_keys=True)


@functools.cache
def code() -> str:
    """A digest of what networks are built and counted by."""
    digest = hashlib.sha256()
    for package in ("torch", "torchvision", "timm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            digest.update(f"{package} {metadata.version(package)}\n".encode())
    digest.update(cache.code(*CODE).encode())
    return digest.hexdigest()[:16]
