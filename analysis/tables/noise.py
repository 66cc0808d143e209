"""The noise floor: how much two trainings of the same network differ by chance alone."""

from __future__ import annotations

from dataclasses import asdict

from analysis.tables import text
from analysis.tables.table import Row, Table
from runners.plan import Config

PLACEBO = "placebo"  # the standard convolution under another name


def noise_floor(table: Table) -> list[str]:
    """Each placebo's difference to the baseline, beside the largest of all other differences."""
    placebos = [row for row in table.rows if row.difference and _is_placebo(table, row)]
    others = [row for row in table.rows if row.difference and not _is_placebo(table, row)]
    seen = ""
    if others:
        widest = max(others, key=_size)
        assert widest.difference
        seen = (
            "; the largest difference seen is that of "
            f"{widest.variant}, {widest.difference.mean:+.2f}"
        )
    lines = []
    for row in placebos:
        assert row.difference
        interval = text.interval(row.difference)
        bounds = f"95 % {interval}" if interval != "-" else "no interval"
        lines.append(
            f"Noise floor: {row.variant} is the network of {table.sweep.baseline} with other first "
            f"weights, and differs from it by {row.difference.mean:+.2f} points ({bounds}){seen}."
        )
    return lines


def _size(row: Row) -> float:
    return abs(row.difference.mean) if row.difference else 0.0


def _is_placebo(table: Table, row: Row) -> bool:
    """Whether nothing but chance separates the variant from the baseline."""
    config = table.sweep.variants[row.variant]
    base = table.sweep.variants.get(table.sweep.baseline)
    return bool(base) and config.conv == PLACEBO and _training(config) == _training(base)


def _training(config: Config) -> dict[str, object]:
    """Everything in a config but its convolution."""
    of_conv = ("conv", "conv_digest", "conv_version", "options")
    return {name: value for name, value in asdict(config).items() if name not in of_conv}
