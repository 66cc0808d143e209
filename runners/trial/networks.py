"""Every network of a sweep, built and counted on torch's meta device before anything is
launched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from runners.errors import SweepError
from runners.output import watched
from runners.plan import Config, Own, Sweep
from runners.trial import twins
from runners.trial.measured import Measured, measured, remembered


def networks(sweep: Sweep) -> dict[str, Measured]:
    """variant -> its network's measures.

    Raises:
        SweepError: a network cannot be built, or two variants build the same one; names variant
            and layer.
    """
    found: dict[str, Measured] = {}
    for variant, config in sweep.variants.items():
        own = sweep.own(config)
        if known := remembered(config, own):
            found[variant] = known
            continue
        with _named(sweep, variant):
            found[variant] = measured(config, own)
    twins.refuse(sweep, found, lambda variant: _fingerprint(sweep, variant))
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
