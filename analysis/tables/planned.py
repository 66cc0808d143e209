"""The sweep files that planned the trials of a table, as they were before any later edit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from runners.store import Record, Store


@dataclass(frozen=True)
class Planned:
    """A sweep file as it was when it planned some of the trials; `name` is the sweep's."""

    name: str
    trials: int
    text: str


def planned(records: Iterable[Record], store: Store) -> list[Planned]:
    """The kept files, the one with the most trials first.

    Older records do not name the file that planned their trial; they are in none.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        # trials of a search are recorded under "<sweep>/search", and were planned by the same file
        if digest := record.provenance.get("sweep_file"):
            counts[record.sweep.partition("/")[0], digest] += 1
    found = [
        (name, trials, store.sweep_file(name, digest))
        for (name, digest), trials in counts.most_common()
    ]
    return [Planned(name, trials, text) for name, trials, text in found if text is not None]
