"""Strict reading of what a person wrote: YAML without surprises, and one line for the first thing that is wrong.

Every message says the place, the rule, the value seen and the way out.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from runners.errors import SweepError, suggest


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, that does not let a repeated key win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise SweepError(
                    f"line {key_node.start_mark.line + 1}: a key must be text, got {key!r}; put it in quotes"
                )
            if key in seen:
                raise SweepError(
                    f"line {key_node.start_mark.line + 1}: '{key}' stands twice in one mapping; rename or remove one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict:
    """A YAML file that holds a mapping.

    Raises:
        SweepError: it cannot be read, is not valid YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(str(p) for p in Path("sweeps").glob("*.yaml")))
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SweepError(
            f"cannot be read ({reason})" + (f"; there are {known}" if known else "")
        ) from None
    try:
        raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise SweepError(
            f"{where}not valid YAML: {getattr(error, 'problem', None) or ' '.join(str(error).split())}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise (
            error
            if isinstance(error, SweepError)
            else SweepError(f"not valid YAML: {' '.join(str(error).split())}")
        ) from None
    if not isinstance(raw, dict):
        kind = "is empty" if raw is None else f"holds a {type(raw).__name__}"
        raise SweepError(
            f"must be a mapping with question, baseline, base and variants, but it {kind}; see sweeps/quickstart.yaml"
        )
    return raw


def override(raw: dict, setting: str) -> None:
    """Set one place of `raw`, as in "base.epochs=3".

    Raises:
        SweepError: not of that form.
    """
    place, equals, text = setting.partition("=")
    if not equals or not place.strip():
        raise SweepError(f"--set takes place=value, such as base.epochs=3; got {setting!r}")
    *parents, last = place.strip().split(".")
    target = raw
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            raise SweepError(f"--set {place}: '{parent}' is not a mapping")
    try:
        target[last] = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError):
        raise SweepError(f"--set {place}: not a YAML value: {text!r}") from None


def validate(kind: type, raw: dict, place: Callable[[str], str] = str) -> Any:
    """`raw` as the dataclass `kind`. `place` says where in the file a key stands.

    Raises:
        SweepError: pydantic's first complaint, as one line.
    """
    try:
        return _adapter(kind).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = [
            str(part)
            for part in first["loc"]
            if not str(part).startswith(("function-", "list[", "constrained-"))
        ]
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            owner = typing.get_type_hints(kind)[loc[0]] if loc[:-1] else kind
            inside = f"{'.'.join(loc[:-1])}: " if loc[:-1] else ""
            raise SweepError(
                f"{inside}unknown key '{loc[-1]}'{suggest(loc[-1], [f.name for f in dataclasses.fields(owner)])}"
            ) from None
        where = ".".join([place(loc[0]), *loc[1:]])
        if first["type"] in ("missing", "missing_argument"):
            raise SweepError(f"'{where}' is missing; see sweeps/quickstart.yaml") from None
        rule = (
            first["msg"]
            .replace("Input should be", "must be")
            .replace("Input should have", "must have")
        )
        raise SweepError(
            f"{where}: {rule[0].lower()}{rule[1:]}, got {_clip(first['input'])}"
        ) from None


@functools.cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)  # building one takes longer than a hundred validations


def _clip(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
