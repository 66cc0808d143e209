"""JSON Schemas of what the commands print for programs, beside the code that they are made from.

python -m runners.schemas          # write the files again

A change that a reader of version 1 would not understand (a name taken away or given another
meaning) needs a version 2; a name that is added does not.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from analysis.programs import Report
from runners.launch.events import Event
from runners.planned import Plan
from runners.shell.status import Status

FOLDER = Path(__file__).parent
# file's stem -> what it describes
KINDS = {"plan-1": Plan, "status-1": Status, "report-1": Report, "progress-1": Event}


def text(stem: str) -> str:
    """The schema of a kind, as its file has it."""
    schema = TypeAdapter(KINDS[stem]).json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | schema, indent=1) + "\n"


def write() -> list[Path]:
    """Write every file; returns their paths."""
    paths = []
    for stem in KINDS:
        path = FOLDER / f"{stem}.json"
        path.write_text(text(stem), encoding="utf-8")
        paths.append(path)
    return paths
