"""The sweep files that planned the trials, which are the evidence; and what was edited since."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from analysis.tables import Table


@dataclass(frozen=True)
class SweepFile:
    """The page's contents about a sweep's file.

    Attributes:
        overrides: those of the command; empty for none.
        files: (title, text).
        edited: the path of the file that has been edited since; empty if it has not.
        changes: the edit, as a unified diff.
    """

    overrides: str
    files: list[tuple[str, str]]
    edited: str
    changes: str


def sweep_file(table: Table) -> SweepFile:
    """The files that planned the table's trials; of trials that name none, the file as read."""
    sweep, files = table.sweep, []
    for file in table.planned:
        title = f"{file.name}.yaml, as it planned {file.trials} of {len(table.records)} trials"
        files.append((title, file.text))
    if not files:
        files.append((sweep.path, sweep.text))
    before = [text for _, text in files]
    # the path may be another machine's, or the file removed: then nothing is known of an edit
    path = Path(sweep.path)
    now = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    edited = bool(now) and now not in before
    return SweepFile(
        ", ".join(sweep.overrides),
        files,
        sweep.path if edited else "",
        _changes(before[0], now) if edited else "",
    )


def _changes(before: str, now: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), lineterm="", n=1)
    # the first two lines name the files
    return "\n".join([*lines][2:])
