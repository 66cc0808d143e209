"""Twins: two variants that build the same network and train it alike. They would end with the same
weights, and be compared as if they differed.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from runners.errors import SweepError
from runners.plan import NETWORK, Config, Sweep
from runners.trial.measured import Measured


def refuse(sweep: Sweep, measures: dict[str, Measured], fingerprint: Callable[[str], str]) -> None:
    """Refuse a sweep with twins.

    Args:
        measures: of every variant's network.
        fingerprint: of a variant's network; equal for networks of one function and the same first
            weights. It takes a second, so it is asked only where two may be twins.

    Raises:
        SweepError: two variants are twins; names both.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for variant, config in sweep.variants.items():
        network, fill = measures[variant], sweep.fill(variant)
        # only these can be twins; but networks of the same layers may still differ
        key = network.structure, json.dumps(network.counts), _training(config), fill
        others = alike.setdefault(key, [])
        # a search may find what is compared already
        for twin in others if variant not in sweep.found else ():
            if fingerprint(twin) == fingerprint(variant):
                raise SweepError(
                    f"{sweep.path}: variants: '{twin}' and '{variant}' build the same network; "
                    "change or remove one"
                )
        others.append(variant)


def _training(config: Config) -> str:
    """All of a config but its network."""
    return json.dumps({k: v for k, v in config.plain().items() if k not in NETWORK})
