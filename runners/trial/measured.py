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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from runners import data
from runners.plan import NETWORK, Config, Own
from runners.store import cache

ROOT = Path(__file__).parents[2]
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


def measured(config: Config, own: Own) -> Measured:
    """The measures of a config's network, from an earlier start or by building it.

    Raises:
        ValueError: it cannot be built, or does not make a score for each class.
    """
    key = _key(config, own)
    if key and (known := _remembered(_memory()).get(key)):
        return known
    from runners.trial.network import measure  # and torch with it

    cost, swapped, layers = measure(config, own)
    memory = cost.train_mib(config.batch_size, config.optimizer)
    found = Measured(asdict(cost), swapped, _digest(layers), memory)
    if key:
        _remember(key, found)
    return found


def _key(config: Config, own: Own) -> str:
    """Of what is remembered; empty: nothing is."""
    if own.conv or own.backbone or own.stem:
        return ""
    # whether channels are lost decides whether the network is refused
    network = {name: getattr(config, name) for name in (*NETWORK, "drop_channels")}
    step = config.batch_size, config.optimizer
    return json.dumps([network, data.shape(config.dataset, own.data), step], sort_keys=True)


def _memory() -> Path:
    """The file of what was measured by this code and this torch."""
    return cache.folder() / f"networks-{_code()}.jsonl"


@functools.cache
def _code() -> str:
    digest = hashlib.sha256(metadata.version("torch").encode())
    for place in CODE:
        files = sorted((ROOT / place).rglob("*.py")) or [ROOT / place]
        for file in files:
            digest.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _remembered(file: Path) -> dict[str, Measured]:
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    return dict(_lines(content))


def _lines(content: str) -> Iterator[tuple[str, Measured]]:
    """What the whole lines say; a line that another process is just writing is left out."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            key, said = json.loads(line)
            yield key, Measured(**said)


def _remember(key: str, found: Measured) -> None:
    """Append a line; a memory that cannot be written costs time alone."""
    file = _memory()
    _remembered(file)[key] = found
    with contextlib.suppress(OSError):
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            # those of other code are of no use any more
            for old in file.parent.glob("networks-*.jsonl"):
                old.unlink(missing_ok=True)
        # one write, so that the lines of several processes do not mix
        line = json.dumps([key, asdict(found)]) + "\n"
        with open(file, "ab", buffering=0) as out:
            out.write(line.encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
