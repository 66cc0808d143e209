"""How finished trials are evaluated: the keys `evaluate`, `fill` and `measure` of a sweep file.

None of them changes a trial's numbers, so none is part of its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field

from runners.errors import SweepError

if TYPE_CHECKING:
    from runners.plan.config import Config

FILLS = ("black", "mean", "copy", "linear", "none")
MEASURES = ("top1", "mean", "worst")
TOP1 = "top1"
Side = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Evaluate:
    """The conditions that a trained network is tested under, beside all channels at their size.

    Attributes:
        channels: the names of subsets of the channels, such as RG; "all" for every subset.
        sizes: sides in pixels that the test images are brought to.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    channels: str | tuple[str, ...] = ()
    sizes: tuple[Side, ...] = ()


def fills_of(base: Mapping[str, Any], arms: Mapping[str, tuple[str, dict]]) -> dict[str, str]:
    """Variant -> what stands for an absent channel; "" where the file leaves it to the stem.

    Args:
        arms: variant -> its place in the file, its settings.

    Raises:
        SweepError: an unknown one.
    """
    found = {}
    for variant, (place, arm) in arms.items():
        found[variant] = arm.get("fill", base.get("fill", ""))
        if found[variant] not in ("", *FILLS) or ("fill" in {**base, **arm} and not found[variant]):
            where = place if "fill" in arm else "base"
            raise SweepError(
                f"{where}.fill: must be one of {', '.join(FILLS)}, got {found[variant]!r}"
            )
    return found


def check(
    evaluate: Evaluate | None, measure: str, fills: Mapping[str, str], *, searches: bool
) -> None:
    """Refuse what cannot go together.

    Raises:
        SweepError: place, rule, value and way out.
    """
    if evaluate is not None and not (evaluate.channels or evaluate.sizes):
        raise SweepError(
            "evaluate: needs channels, such as channels: all, or sizes, such as sizes: [16]"
        )
    if evaluate and isinstance(evaluate.channels, str) and evaluate.channels != "all":
        raise SweepError(
            f"evaluate.channels: must be all, or a list such as [RG, B], got {evaluate.channels!r}"
        )
    for key in ("channels", "sizes") if evaluate else ():
        values = getattr(evaluate, key)
        if values != "all" and len({*values}) < len(values):
            raise SweepError(f"evaluate.{key}: each must occur once, got {[*values]}")
    if any(fills.values()) and not (evaluate and evaluate.channels):
        raise SweepError(
            "fill: says what stands for channels that are missing, and none is; add "
            "evaluate: {channels: all}, or remove it"
        )
    if measure != TOP1 and evaluate is None:
        raise SweepError(
            f"measure: {measure} is of the conditions of evaluate, which is missing; add "
            "evaluate: {channels: all}, or remove measure"
        )
    if measure != TOP1 and searches:
        raise SweepError(
            f"measure: a search judges by top1 alone, got {measure!r}; remove one of the two"
        )


def refuse_twins(variants: Mapping[str, Config], fills: Mapping[str, str]) -> None:
    """Two variants may be one training that is evaluated twice, and nothing more alike than that.

    Raises:
        SweepError: two have one configuration and one fill.
    """
    seen: dict[tuple[str, str], str] = {}
    for name, config in variants.items():
        twin = seen.setdefault((config.canonical, fills.get(name, "")), name)
        if twin != name:
            raise SweepError(
                f"variants: '{twin}' and '{name}' are the same configuration; change or remove one"
            )
