"""Settings without an effect are refused, since somebody meant something by them."""

from __future__ import annotations

from collections.abc import Mapping

from runners.errors import SweepError
from runners.plan.config import WSD, Config
from runners.plan.kinds import KINDS
from runners.plan.settings import WSD_ALONE, inherits
from runners.plan.sweep import Resources


def refuse_options(base: dict, arms: list[dict]) -> None:
    """Options in base of something that no variant has from there.

    Raises:
        SweepError: names the first.
    """
    for kind in KINDS:
        if base.get(kind.options) and not any(inherits(kind, base, arm) for arm in arms):
            thing = {"conv": "convolution", "dataset": "data set"}.get(kind.key, kind.key)
            raise SweepError(
                f"base.{kind.options}: no variant has base's {thing}, so they would apply to none; "
                "set them in the variants"
            )


def refuse_wsd(base: dict, resources: Resources, every: Mapping[str, Config]) -> None:
    """What is of `schedule: wsd` alone, where no variant has it.

    Raises:
        SweepError: names the first.
    """
    if any(config.schedule == WSD for config in every.values()):
        return
    for key in WSD_ALONE:
        if key in base:
            raise SweepError(
                f"base.{key}: is of schedule: wsd, which no variant has; remove it"
                + (", or use warmup, a fraction of the epochs" if key == "warmup_epochs" else "")
            )
    if resources.keep_stable:
        raise SweepError(
            "resources.keep_stable: is of schedule: wsd, which no variant has; remove it"
        )
