"""Every network of a sweep, built and counted on torch's meta device before anything is
launched.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict

from runners.errors import SweepError
from runners.output import watched
from runners.plan import NETWORK, Config, Own, Sweep
from runners.trial.measured import Measured, measured


def networks(sweep: Sweep) -> dict[str, Measured]:
    """variant -> its network's measures.

    Raises:
        SweepError: a network cannot be built, or two variants build the same one; names variant
            and layer.
    """
    found: dict[str, Measured] = {}
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for variant, config in sweep.variants.items():
        with _named(sweep, variant):
            network = found[variant] = measured(config, sweep.own(config))

        # two variants can only be twins if their layers, costs and training are the same
        fill = sweep.fills.get(variant, "")
        key = network.structure, json.dumps(network.counts), _training(config), fill
        twins = alike.setdefault(key, [])
        if variant not in sweep.found:
            _refuse_twin(sweep, variant, twins)
        twins.append(variant)
    return found


def known_cost(config: Config, own: Own) -> dict[str, float]:
    """A config's multiply-adds and parameters, both in millions, known before it is trained.

    Raises:
        ValueError: its network cannot be built.
    """
    with watched(f"building '{config.conv}' in '{config.backbone}' for the search"):
        counts = measured(config, own).counts
    return {"macs_m": counts["macs"] / 1e6, "params_m": counts["params"] / 1e6}


def _fingerprint(sweep: Sweep, variant: str) -> str:
    from runners.trial.network import fingerprint  # and torch with it

    config = sweep.variants[variant]
    with _named(sweep, variant):
        return fingerprint(config, sweep.own(config))


@contextlib.contextmanager
def _named(sweep: Sweep, variant: str) -> Iterator[None]:
    """Name the variant in one line for whatever goes wrong, and for what does not end."""
    try:
        with watched(f"{sweep.path}: building variants.{variant}"):
            yield
    except Exception as error:  # a convolution of the user's own may raise anything
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        reason = " ".join(str(error).split())
        raise SweepError(f"{sweep.path}: variants.{variant}: {kind}{reason}") from None


def _training(config: Config) -> str:
    """All of a config but its network."""
    return json.dumps({k: v for k, v in asdict(config).items() if k not in NETWORK})


def _refuse_twin(sweep: Sweep, variant: str, twins: list[str]) -> None:
    """Compare fingerprints: networks of the same layers may still differ."""
    for twin in twins:
        if _fingerprint(sweep, twin) == _fingerprint(sweep, variant):
            raise SweepError(
                f"{sweep.path}: variants: '{twin}' and '{variant}' build the same network; "
                "change or remove one"
            )
