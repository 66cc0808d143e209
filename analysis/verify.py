"""Whether a stored report agrees with the trials, and whether their weights are whole."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from analysis.tables import Table
from analysis.tables.latex import chosen
from analysis.writing import contents
from runners.errors import SweepError
from runners.store import Store


def differences(table: Table, folder: Path) -> list[str]:
    """A line for everything in which the stored tables differ from the trials.

    Raises:
        OSError: there are no stored tables.
    """
    latex = (folder / "table.tex").read_text(encoding="utf-8")
    texts = contents(table, chosen(latex))
    stored = _by_variant((folder / "table.csv").read_text(encoding="utf-8"))
    now = _by_variant(texts["table.csv"])
    found = [f"{v}: not in the stored report" for v in now if v not in stored]
    found += [f"{v}: not in the sweep" for v in stored if v not in now]
    for v in now:
        if v in stored:
            found += _cells(v, stored[v], now[v])
    for name in texts:
        # of the CSV its cells were named
        if name != "table.csv":
            was = (folder / name).read_text(encoding="utf-8")
            found += _lines(name, was.splitlines(), texts[name].splitlines())
    return found


def damaged_weights(table: Table, store: Store) -> list[str]:
    """A line for each trial of the table whose weights are damaged."""
    found = []
    for record in table.records:
        try:
            store.weights(record, parse=False)
        except FileNotFoundError:
            # removed to save space, perhaps: no figure of the tables rests on them
            continue
        except SweepError as error:
            found.append(str(error))
    return found


def _by_variant(text: str) -> dict[str, dict[str, str]]:
    return {row.get("variant", ""): row for row in csv.DictReader(io.StringIO(text))}


def _cells(variant: str, stored: dict[str, str], now: dict[str, str]) -> list[str]:
    found = []
    for key in dict.fromkeys([*stored, *now]):
        was, is_ = stored.get(key), now.get(key)
        if was != is_:
            found.append(
                f"{variant}, {key}: stored {was or 'nothing'}, by the trials {is_ or 'nothing'}"
            )
    return found


def _lines(name: str, was: list[str], now: list[str]) -> list[str]:
    changed = [line for line in now if line not in was]
    if changed:
        return [f"{name}: differs; the first line that is missing: {changed[0].strip()}"]
    return [f"{name}: differs in its length"] if len(was) != len(now) else []
