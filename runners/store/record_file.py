"""A record as its file: written with a version and a checksum, checked whenever it is read.

Reading checks that the parts agree with each other and with the folder, so that neither a damaged
figure nor another trial's record passes for this trial's.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, fields
from typing import Any

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from runners.errors import SweepError
from runners.plan import Config, Trial
from runners.store import upgrade
from runners.store.record import EVIDENCE, Epoch, Record, Result
from runners.store.state import State

VERSION = 2
EPOCH = {field.name for field in fields(Epoch)}
FIRST = b'\n "epochs": [\n'  # what `write` writes before the first epoch,
NEXT = b"\n  {"  # before every other,
LAST = b'\n ],\n "result": '  # and behind the last
WRITTEN = f'{{\n "version": {VERSION},\n "id": '.encode()  # how what `write` writes begins
RESULT = [field.name for field in fields(Result)]
BUT_EPOCHS = [field.name for field in fields(Record) if field.name != "epochs"]
TUPLES = [key for key, default in Config.defaults().items() if isinstance(default, tuple)]
_RECORD = TypeAdapter(Record)


class NewerRecord(Exception):
    """A later version of this code wrote the record; the message names what is not known here."""


def write(record: Record) -> bytes:
    """A record as its file, with version and checksum.

    Raises:
        ValueError: it could not be read back; says which figure or contradiction is why.
    """
    # through JSON once, so that the checksum is of what a reader will see
    raw = json.loads(json.dumps({"version": VERSION, **asdict(record)}))
    content = json.dumps(raw | {"sha256": checksum(raw)}, indent=1).encode()
    read(content, record.id)
    return content


def load(content: bytes, trial_id: str, path: str, *, checked: bool = False) -> Record:
    """The record in a trial's folder.

    Args:
        path: names it in errors.
        checked: this code has read this content as this trial's before, and found it in order: it
            is not checked again, which takes most of the time.

    Raises:
        SweepError: it is damaged, another trial's, or of a later version; says the way out.
    """
    try:
        return _in_order(content) if checked else read(content, trial_id)
    except NewerRecord as error:
        raise SweepError(
            f"{path}: written by a later version of this code ({error});"
            " update the code, or use another --storage"
        ) from None
    except ValueError as error:
        raise SweepError(
            f"{path}: this record is damaged: {error}; restore it from a backup, or move it"
            " away and the same command trains the trial again"
        ) from None


def read(content: bytes, trial_id: str) -> Record:
    """The record in a trial's folder, of any version so far.

    Raises:
        ValueError: it is damaged, contradicts itself or is of another trial; says where.
        NewerRecord: it is of a later version.
    """
    raw = _decoded(content)
    if not isinstance(raw, dict):
        raise ValueError(f"must be a mapping, got {_clip(raw)}")
    try:
        record = _shaped(_current(raw))
    except NewerRecord:
        # a damaged file need not be of a later version
        _check_intact(raw)
        raise
    _check_intact(raw)
    _check(record, trial_id)
    return record


def _decoded(content: bytes) -> Any:
    try:
        return pydantic_core.from_json(content)  # in half the time of json
    except ValueError:
        # json takes what a file's name that is no UTF-8 becomes, and has an error that people know
        return json.loads(content)


def _current(raw: dict[str, Any]) -> dict[str, Any]:
    """A record's mapping as today's version has it, with its config complete."""
    version = raw.get("version", 1)
    if version == 1:
        raw = upgrade.from_version_1(raw)
    elif version != VERSION:
        raise NewerRecord(f"version {version}, and this code knows {VERSION}")
    return raw | {"config": _completed(raw.get("config"))}


def _check_intact(raw: dict[str, Any]) -> None:
    """Version 1 had no checksum; every later version has."""
    if raw.get("version", 1) != 1 and raw.get("sha256") != checksum(raw):
        raise ValueError("its checksum is wrong")


def checksum(raw: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON of everything but the checksum itself."""
    content = {k: v for k, v in raw.items() if k != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _shaped(raw: dict[str, Any]) -> Record:
    """Every field is there and of its kind, and figures are finite.

    Raises:
        ValueError: the first that is not; names it.
    """
    try:
        return _RECORD.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise ValueError(f"{place} is missing") from None
        rule = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise ValueError(f"{place}: {rule}, got {_clip(first['input'])}") from None


def _in_order(content: bytes) -> Record:
    """What `read` makes of a content that is known to be in order.

    Its epochs are most of it, and only some readers want them: they are read when they are first
    asked for. `write` indents by one, so that a bracket behind a line's end and one space ends the
    list.
    """
    start, end = content.find(FIRST), content.rfind(LAST)
    if 0 <= start < end and content.startswith(WRITTEN):
        begin = start + len(FIRST)
        raw = _decoded(b"%b]%b" % (content[:begin], content[end + 3 :]))
        if raw.get("version") == VERSION:
            later = _Epochs(content[begin:end])
            return Record.reading_epochs_later(later, **_fields(_current(raw)))
    raw = _current(_decoded(content))
    return Record(epochs=[_epoch(row) for row in raw["epochs"]], **_fields(raw))


def _fields(raw: dict[str, Any]) -> dict[str, Any]:
    """All fields of a record but the epochs, of a mapping that is known to be in order."""
    values = {name: raw[name] for name in BUT_EPOCHS if name in raw}
    values["status"] = State(raw["status"])
    if found := raw["result"]:
        values["result"] = Result(**{name: found[name] for name in RESULT})
    return values


class _Epochs:
    """Those of a record, as `write` writes the inside of their list."""

    def __init__(self, content: bytes):
        self.content = content

    def __len__(self) -> int:
        return self.content.count(NEXT) + 1

    def last(self, count: int) -> list[Epoch]:
        """The last so many; all, where there are fewer."""
        _, *found = self.content.rsplit(NEXT, count)
        content = b"{" + NEXT.join(found) if len(found) == count else self.content
        return [_epoch(row) for row in _decoded(b"[%b]" % content)]


def _epoch(row: dict[str, Any]) -> Epoch:
    if row.keys() != EPOCH:
        return Epoch(**{key: row[key] for key in row.keys() & EPOCH})
    # there are hundreds of thousands, and a frozen dataclass sets its fields slowly
    made = object.__new__(Epoch)
    made.__dict__.update(row)
    return made


def _completed(config: Any) -> dict[str, Any]:
    """A config with the fields that were added since it was written, at their defaults."""
    if not isinstance(config, dict):
        raise ValueError(f"config: must be a mapping, got {_clip(config)}")
    known = Config.defaults()
    if later := [key for key in config if key not in known]:
        raise NewerRecord(f"config.{later[0]} is not known to this code")
    if lacking := next((key for key in ("backbone", "dataset") if key not in config), None):
        raise ValueError(f"config.{lacking} is missing")
    # JSON has no tuples
    pairs = {key: tuple(config[key]) for key in TUPLES if key in config}
    values: dict[str, Any] = config | pairs
    if len(values) == len(known) and values["early_stop"] is None:
        return values
    return Config(**values).plain()


def _check(record: Record, trial_id: str) -> None:
    """The parts of a record agree with each other, and with its folder.

    Raises:
        ValueError: two of them do not; says which.
    """
    if record.id != trial_id:
        whose = f"{record.variant} seed{record.seed}, {record.id}"
        raise ValueError(f"it is the record of another trial ({whose})")
    trial = Trial(record.sweep, record.variant, Config(**record.config), record.seed)
    if trial.id != record.id:
        raise ValueError(f"its config and seed are those of the trial {trial.id}")
    finished = record.status == State.FINISHED and trial.config.test
    if finished != (record.result is not None):
        has = "has a result" if record.result else "has no result"
        raise ValueError(f"its status is {record.status}, but it {has}")
    if record.result:
        _check_result(record.result, record.provenance)


def _check_result(result: Result, provenance: dict[str, Any]) -> None:
    if lacking := [key for key in EVIDENCE if key not in provenance]:
        raise ValueError(f"provenance.{lacking[0]} is missing")
    if result.primary not in result.scores:
        raise ValueError(f"result.scores.{result.primary} is missing")
    images, bits = provenance["test_images"], bytes.fromhex(result.correct)
    if "top1" not in result.scores or not bits:
        return
    if not isinstance(images, int) or len(bits) != math.ceil(images / 8):
        raise ValueError(f"result.correct: {len(bits)} bytes are not of {images} test images")
    counted = 100 * int.from_bytes(bits).bit_count() / images
    if not math.isclose(counted, result.scores["top1"], rel_tol=1e-9):
        said = result.scores["top1"]
        raise ValueError(f"result.scores.top1 is {said}, but result.correct counts {counted}")


def _clip(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
