"""The settings of `base` and of one variant, as the file has them, become one checked Config."""

from __future__ import annotations

from dataclasses import fields

from runners.errors import SweepError, suggest
from runners.plan import foreign
from runners.plan.catalogue import Lookup, canonical, data_key, version_of
from runners.plan.checking import validate
from runners.plan.config import RECIPES, WSD, Config
from runners.plan.kinds import DATASET, KINDS, Kind

# 1: a worker that had trained other variants may have run it uncompiled; 2: see trial/compiled.py
COMPILE_VERSION = 2
SGD_ALONE = ("momentum", "nesterov")
WSD_ALONE = ("warmup_epochs", "decay_fraction")
NOT_WSD = ("milestones", "warmup")
# fields of a config that follow from others
FOLLOWING = {
    *("test", "data", "compile_version"),
    *(kind.digest for kind in KINDS),
    *(kind.version for kind in KINDS if kind.versioned),
}

# settings of a variant that are no field of its config
BESIDE = {"recipe", "fill"}


def config_of(place: str, base: dict, arm: dict, lookup: Lookup) -> Config:
    """The config of a variant: the recipe, then `base`, then the variant's own settings.

    Args:
        place: where the variant stands in the file, for messages.

    Raises:
        SweepError: place, rule, value and way out.
    """
    known = {f.name for f in fields(Config)} - FOLLOWING | BESIDE
    for where, settings in (("base", base), (place, arm)):
        if extra := [key for key in settings if key not in known]:
            raise SweepError(f"{where}: {foreign.unknown(extra, known, 'config')}")
    recipe = arm.get("recipe", base.get("recipe", "paper"))
    if not isinstance(recipe, str) or recipe not in RECIPES:
        where = place if "recipe" in arm else "base"
        way = suggest(str(recipe), RECIPES)
        raise SweepError(f"{where}.recipe: unknown recipe {recipe!r}{way}")
    merged = {k: v for k, v in (RECIPES[recipe] | base | arm).items() if k not in BESIDE}
    _fit_optimizer(merged, recipe, base, arm, place)
    _fit_schedule(merged, recipe, base, arm, place)
    _fit_drop(merged, arm, place)
    for kind in KINDS:
        merged[kind.options] = _merged_options(kind, base, arm, place)

    def at(key: str) -> str:
        return f"{place if key in arm else 'base'}.{key}"

    # once for its own errors, then with what follows from the files that it names
    config: Config = validate(Config, merged, at)
    _check_early_stop(config, recipe, base | arm, at("early_stop"))
    _check_stable(config, at("warmup_epochs"))
    for kind in KINDS:
        name, options = getattr(config, kind.key), getattr(config, kind.options)
        file = lookup.file(kind, name, at(kind.key))
        merged[kind.digest] = lookup.user_file(kind, name).digest
        merged[kind.options] = canonical(kind, name, options, file, at(kind.options))
        if kind.versioned:
            own = merged[kind.digest]
            merged[kind.version] = kind.own_version if own else version_of(file)
    measured = lookup.data.get(
        data_key(config.dataset, merged[DATASET.digest], merged[DATASET.options])
    )
    merged["compile_version"] = COMPILE_VERSION if config.compile else 1
    merged["data"] = measured.identity if measured else ""
    return validate(Config, merged, at)


def _fit_optimizer(merged: dict, recipe: str, base: dict, arm: dict, place: str) -> None:
    """Leave out what is SGD's alone where another optimizer trains.

    Raises:
        SweepError: it was set for that optimizer, or the learning rate would be SGD's.
    """
    name = merged.get("optimizer", "sgd")
    # an unknown one is refused with all other values
    if name not in ("adam", "adamw"):
        return
    where = place if "optimizer" in arm else "base"
    # base's settings may be meant for other variants
    written = arm if "optimizer" in arm else base | arm
    for key in SGD_ALONE:
        if key in written:
            raise SweepError(
                f"{place if key in arm else 'base'}.{key}: is SGD's, and {where}.optimizer is "
                f"{name}; remove one of the two"
            )
        merged.pop(key, None)
    given = {**RECIPES[recipe]} if RECIPES[recipe].get("optimizer") == name else {}
    if "lr" not in given | written:
        raise SweepError(
            f"{where}.optimizer: {name} needs a learning rate of its own, since the recipe's is "
            f"SGD's; add lr, such as lr: 0.001"
        )


def _fit_schedule(merged: dict, recipe: str, base: dict, arm: dict, place: str) -> None:
    """Leave out what says nothing to the schedule, where one of the two is `wsd`.

    Raises:
        SweepError: it was set for that schedule.
    """
    name = merged.get("schedule", Config.schedule)
    wsd = name == WSD
    where = f"{place if 'schedule' in arm else 'base'}.schedule"
    if "schedule" not in base | arm:
        where = f"the schedule of recipe {recipe}"
    # base's settings may be meant for other variants
    written = arm if "schedule" in arm or not wsd else base | arm
    for key in NOT_WSD if wsd else WSD_ALONE:
        if key in written:
            reason = (
                "wsd has warmup_epochs and decay_fraction instead" if wsd else "is of schedule: wsd"
            )
            raise SweepError(
                f"{place if key in arm else 'base'}.{key}: {reason}, and {where} is "
                f"{name}; remove one of the two"
            )
        merged.pop(key, None)


def _check_stable(config: Config, where: str) -> None:
    """Refuse a warm-up that would not end before the decay.

    Raises:
        SweepError: says both.
    """
    if config.schedule == WSD and config.warmup_epochs > config.stable_epochs:
        raise SweepError(
            f"{where}: the warm-up must end before the decay; it takes {config.warmup_epochs:g} "
            f"epochs, and of {config.epochs} the decay begins after {config.stable_epochs}; use "
            "more epochs, or a smaller warmup_epochs or decay_fraction"
        )


def _fit_drop(merged: dict, arm: dict, place: str) -> None:
    """Leave out the probability where no channels are lost.

    Raises:
        SweepError: it was set for that variant.
    """
    if merged.get("drop_channels", "none") != "none":
        return
    # base's may be meant for other variants
    if "drop_p" in arm:
        raise SweepError(
            f"{place}.drop_p: has no effect while drop_channels is none; add drop_channels: batch "
            "or sample, or remove it"
        )
    merged.pop("drop_p", None)


def _check_early_stop(config: Config, recipe: str, written: dict, where: str) -> None:
    """Refuse a stop that has nothing to look at, or that cuts an annealing off.

    Raises:
        SweepError: it goes with neither `schedule: cosine` or `wsd` nor `val_fraction: 0`.
    """
    if config.early_stop is None:
        return
    if "early_stop" not in written:
        where = f"{where}, of recipe {recipe}"
    if config.schedule in ("cosine", WSD):
        raise SweepError(
            f"{where}: an annealing that is cut off is another protocol, and schedule is "
            f"{config.schedule}; "
            "use schedule: constant, or early_stop: null"
        )
    if not config.val_fraction:
        raise SweepError(
            f"{where}: looks at a validation split, and val_fraction is 0; set val_fraction, such "
            "as 0.1, or early_stop: null"
        )


def inherits(kind: Kind, base: dict, arm: dict) -> bool:
    """Whether the variant has base's conv (backbone, data set), and so its options.

    Another one's options would mean nothing to it.
    """
    usual = base.get(kind.key, getattr(Config, kind.key, None))
    return arm.get(kind.key, usual) == usual


def _merged_options(kind: Kind, base: dict, arm: dict, place: str) -> dict:
    merged: dict = {}
    inherited = base if inherits(kind, base, arm) else {}
    for where, settings in (("base", inherited), (place, arm)):
        options = settings.get(kind.options) or {}
        if not isinstance(options, dict):
            raise SweepError(
                f"{where}.{kind.options}: must be a mapping of option to value, got {options!r}"
            )
        merged |= options
    return merged
