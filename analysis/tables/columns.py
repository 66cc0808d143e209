"""A column is defined once, whichever format it is written in: header, text, CSV and meaning."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")  # what a line of the table is about

# the printed tables of variants that a column names
RESULT, STATISTICS, PAPER = "result", "statistics", "paper"
# spreadsheets take a cell that begins so for a formula, and run it
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def _dash(item: Any) -> str:
    return "-"


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column of a table whose lines are items.

    Attributes:
        key: names the column in the code; no two of a table have the same.
        means: a sentence for the reader who asks what the column is.
        header: above the printed column; empty for a column of the CSV alone.
        text: an item's printed cell.
        fields: name in the CSV -> an item's value there, in full precision; None is an empty cell.
        tables: the names of the printed tables that it stands in.
    """

    key: str
    means: str
    header: str = ""
    text: Callable[[Item], str] = _dash
    fields: Mapping[str, Callable[[Item], Any]] = field(default_factory=dict)
    tables: Sequence[str] = ()


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        means: of each column.
        bold: the first cell of the line that stands out; empty for none.
    """

    headers: list[str]
    lines: list[list[str]]
    means: list[str] = field(default_factory=list)
    bold: str = ""

    @property
    def titled(self) -> list[tuple[str, str]]:
        """(header, meaning) of every column."""
        return [*zip(self.headers, self.means, strict=True)]

    def stands_out(self, line: list[str]) -> bool:
        return bool(self.bold) and line[0] == self.bold


def grid(columns: Sequence[Column[Item]], items: Iterable[Item], bold: str = "") -> Grid:
    """The items as a printed table."""
    lines = []
    for item in items:
        lines.append([column.text(item) for column in columns])
    headers = [column.header for column in columns]
    return Grid(headers, lines, [column.means for column in columns], bold)


def csv_text(columns: Sequence[Column[Item]], items: Iterable[Item], number: str = "{:.6g}") -> str:
    """The items as CSV, one a line.

    Args:
        number: how a float is written.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    # a printed column may have several in the CSV, such as a mean and its deviation
    fields: dict[str, Callable[[Item], Any]] = {}
    for column in columns:
        fields |= column.fields
    writer.writerow([_cell(name, number) for name in fields])
    for item in items:
        writer.writerow([_cell(value(item), number) for value in fields.values()])
    return out.getvalue()


def _cell(value: Any, number: str) -> Any:
    """A value as a cell of a CSV; an apostrophe keeps a spreadsheet from running a text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return number.format(value)
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def part(name: str, figure: str) -> Callable[[Any], Any]:
    """A figure of a part of an item; None where the item has no such part."""
    return lambda item: getattr(getattr(item, name), figure, None)
