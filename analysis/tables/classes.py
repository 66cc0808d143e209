"""Per-class scores as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from analysis.stats.classes import Score


def to_csv(table: Sequence[Score]) -> str:
    """One line per score: class, support, n (seeds), then mean and sd of each share in per cent; no sd for one seed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    shares = ("precision", "recall", "f1")
    header = ["class", "support", "n"]
    for share in shares:
        header += [f"{share}_mean", f"{share}_sd"]
    writer.writerow(header)
    for score in table:
        line = [score.name, score.support, score.f1.n]
        for share in shares:
            summary = getattr(score, share)
            line += [_text(summary.mean), _text(summary.sd)]
        writer.writerow(line)
    return out.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
