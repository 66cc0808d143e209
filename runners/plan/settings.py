"""The settings of `base` and of one variant, as the file has them, become one checked Config."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

from runners.errors import SweepError, suggest
from runners.plan import foreign
from runners.plan.catalogue import canonical, catalogue, find_file, version_of
from runners.plan.checking import validate
from runners.plan.config import RECIPES, Config

# Of a convolution outside the catalogue, whose file is part of the id: it is raised when the same file comes to other numbers.
# 1: its convolutions started from torch's default; 2: from the weights of what they replace, or by the backbone's rule
OWN_VERSION = 2
# 1: a worker that had trained other variants may have run it uncompiled; 2: see trial/compiled.py
COMPILE_VERSION = 2
SET_BY_THE_PLAN = {"conv_digest", "conv_version", "compile_version", "test"}


def config_of(
    place: str,
    base: dict,
    arm: dict,
    folder: Path,
    conv_paths: dict[str, str],
    digests: dict[str, str],
) -> Config:
    known = {f.name for f in fields(Config)} - SET_BY_THE_PLAN | {"recipe"}
    for where, settings in (("base", base), (place, arm)):
        if extra := [key for key in settings if key not in known]:
            raise SweepError(f"{where}: {foreign.unknown(extra, known, 'config')}")
    recipe = arm.get("recipe", base.get("recipe", "paper"))
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise SweepError(
            f"{place if 'recipe' in arm else 'base'}.recipe: unknown recipe {recipe!r}{suggest(str(recipe), RECIPES)}"
        )
    merged = {k: v for k, v in (RECIPES[recipe] | base | arm).items() if k != "recipe"}
    merged["options"] = _merged_options(base, arm, place)

    def at(key: str) -> str:
        return f"{place if key in arm else 'base'}.{key}"

    config: Config = validate(Config, merged, at)
    file = (
        Path(conv_paths[config.conv])
        if config.conv in conv_paths
        else find_file(config.conv, folder, at("conv"))
    )
    own = config.conv in conv_paths or not file.is_relative_to(catalogue())
    merged["conv_version"] = OWN_VERSION if own else version_of(file)
    merged["compile_version"] = COMPILE_VERSION if config.compile else 1
    if own:
        conv_paths.setdefault(config.conv, str(file.resolve()))
        merged["conv_digest"] = digests.setdefault(
            config.conv, hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        )
    merged["options"] = canonical(config.conv, config.options, file, at("options"))
    return validate(Config, merged, at)


def inherits(base: dict, arm: dict) -> bool:
    """Whether the variant has base's convolution, and so its options: another convolution's would mean nothing to it."""
    standard = Config.conv
    return arm.get("conv", base.get("conv", standard)) == base.get("conv", standard)


def _merged_options(base: dict, arm: dict, place: str) -> dict:
    merged: dict = {}
    for where, settings in (("base", base if inherits(base, arm) else {}), (place, arm)):
        options = settings.get("options") or {}
        if not isinstance(options, dict):
            raise SweepError(
                f"{where}.options: must be a mapping of option to value, got {options!r}"
            )
        merged |= options
    return merged
