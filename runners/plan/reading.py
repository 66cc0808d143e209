"""YAML without surprises: a sweep file as plain values, with the line of every place in it.

The scalars are those of YAML 1.2's core schema, so `no` is a text, `1e-1` a number, and `1:30` a
text; `010`, which YAML 1.1 reads as 8 and YAML 1.2 as 10, is refused. So is a repeated key. A key
may override a merged one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from runners.errors import SweepError
from runners.plan import foreign

MOST_VALUES = 200_000  # of one file, aliases counted as often as they are used
CORE = "tag:yaml.org,2002:"
SCALARS = {
    "null": (re.compile(r"~|null|Null|NULL|"), "~nN"),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    "int": (re.compile(r"[-+]?(0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+"), "-+0123456789"),
    "float": (
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        "-+.0123456789",
    ),
    "merge": (re.compile(r"<<"), "<"),
}


class Document(dict):
    """The mapping of a file; `lines` has the line of every place, such as "base.lr".

    `text` is the file as it was read.
    """

    def __init__(self, *content: Any):
        super().__init__(*content)
        self.lines: dict[str, int] = {}
        self.text = ""

    def locate(self, message: str) -> str:
        """The message, behind the line of the place that it begins with.

        The file has no such line for a place that was overridden, or that only has a default.
        """
        places = [p for p in self.lines if message.startswith((f"{p}: ", f"{p} ", f"{p}, "))]
        if not places:
            return message
        place = max(places, key=len)
        unknown = re.search(r"unknown keys? '([^']+)'", message)
        line = self.lines.get(f"{place}.{unknown[1]}" if unknown else place, self.lines[place])
        return f"line {line}: {message}"

    def forget(self, place: str) -> None:
        """Drop the lines of a place that no longer has the file's value."""
        for known in [k for k in self.lines if k == place or k.startswith(f"{place}.")]:
            del self.lines[known]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, for its parser alone; the scalars are those of SCALARS."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own form


for _name, (_pattern, _first) in SCALARS.items():
    _whole = re.compile(f"(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(
        CORE + _name, _whole, [*_first, *([""] if _name == "null" else [])]
    )


def read(path: Path) -> Document:
    """A YAML file that holds a mapping.

    Raises:
        SweepError: it cannot be read, is not valid YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(str(p) for p in Path("sweeps").glob("*.yaml")))
        reason = (
            error.strerror
            if isinstance(error, OSError)
            else "it is not UTF-8 text; save it as such"
        )
        there = f"; there are {known}" if known else ""
        if path.suffix == ".yml" and path.with_suffix(".yaml").is_file():
            there = f"; did you mean {path.with_suffix('.yaml')}?"
        raise SweepError(f"cannot be read ({reason}){there}") from None
    builder = _Builder()
    raw = builder.load(text)
    if not isinstance(raw, dict):
        kind = "is empty" if raw is None else f"holds a {type(raw).__name__}"
        raise SweepError(
            f"must be a mapping with question, baseline, base and variants, but it {kind}; "
            "see sweeps/quickstart.yaml"
        )
    document = Document(raw)
    document.lines, document.text = builder.lines, text
    return document


def override(raw: dict, setting: str) -> None:
    """Set one place of `raw`, as in "base.epochs=3".

    Raises:
        SweepError: not of that form.
    """
    place, equals, text = setting.partition("=")
    if not equals or not place.strip():
        raise SweepError(
            f"--set takes place=value, such as base.epochs=3; got {setting!r}"
            + _place_for(place.strip() or text.strip())
        )
    if not text.strip():  # of a variable of the shell that is empty
        raise SweepError(f"--set {place}: has no value; give one, or null for none")
    *parents, last = place.strip().split(".")
    target = raw
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            raise SweepError(f"--set {place}: '{parent}' is not a mapping")
    try:
        target[last] = _Builder().load(text)
    except SweepError as error:
        raise SweepError(f"--set {place}: not a YAML value: {text!r} ({error})") from None
    if isinstance(raw, Document):
        raw.forget(place.strip())


def _place_for(text: str) -> str:
    return f"; write --set {text}=VALUE" if re.fullmatch(r"[\w.]+", text) else ""


class _Builder:
    """Plain values from YAML's nodes, and the line of every place."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.count = 0
        self.open: set[int] = set()  # nodes that are being built, to find one that contains itself

    def load(self, text: str) -> Any:
        """The value of a YAML text.

        Raises:
            SweepError: the text is not valid YAML, or has one of the surprises named above.
        """
        try:
            node = yaml.compose(text, _Loader)
            return None if node is None else self._value(node, "")
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}: " if mark else ""
            problem = getattr(error, "problem", None) or " ".join(str(error).split())
            raise SweepError(
                f"{where}not valid YAML: {problem}{_hint(text, mark, problem)}"
            ) from None
        except RecursionError:
            raise SweepError("not valid YAML: it is nested too deeply") from None

    def _value(self, node: yaml.Node, place: str) -> Any:
        self.count += 1
        line = node.start_mark.line + 1
        if self.count > MOST_VALUES:
            raise SweepError(
                f"line {line}: the file has more than {MOST_VALUES:,} values, aliases counted as "
                "often as they are used; write less of it out, or use factors"
            )
        if id(node) in self.open:
            raise SweepError(f"line {line}: an alias is inside what it stands for; remove it")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return self._list(node, place)
            return _scalar(node)
        finally:
            self.open.discard(id(node))

    def _list(self, node: yaml.SequenceNode, place: str) -> list:
        _plain_tag(node, "seq")
        values = []
        for i, item in enumerate(node.value):
            inside = f"{place}.{i}"
            self.lines[inside] = item.start_mark.line + 1
            values.append(self._value(item, inside))
        return values

    def _mapping(self, node: yaml.MappingNode, place: str) -> dict:
        _plain_tag(node, "map")
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == CORE + "merge":
                # of several merged mappings the first one wins, as YAML's merge key says
                for mapping in reversed([*_merged(value_node)]):
                    merged |= self._value(mapping, place)
                continue
            key = self._key(key_node)
            line = key_node.start_mark.line + 1
            if key in own:
                raise SweepError(
                    f"line {line}: '{key}' stands twice in one mapping; rename or remove one"
                )
            inside = f"{place}.{key}" if place else key
            own[key] = self._value(value_node, inside)
            self.lines[inside] = line
        return merged | own

    def _key(self, node: yaml.Node) -> str:
        line = node.start_mark.line + 1
        key = _scalar(node) if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
        if not isinstance(node, yaml.ScalarNode):
            way = foreign.template("{{") if isinstance(node, yaml.MappingNode) else ""
            raise SweepError(f"line {line}: a key must be text, got {key}{way}")
        if not isinstance(key, str):
            raise SweepError(f"line {line}: a key must be text, got {key!r}; put it in quotes")
        return key


def _merged(node: yaml.Node) -> Iterator[yaml.Node]:
    """The mappings that a merge key names: one, or a list of them."""
    for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(part, yaml.MappingNode):
            line = part.start_mark.line + 1
            raise SweepError(f"line {line}: '<<' takes a mapping or a list of mappings")
        yield part


def _plain_tag(node: yaml.Node, kind: str) -> None:
    if node.tag != CORE + kind:
        raise SweepError(
            f"line {node.start_mark.line + 1}: not valid YAML: could not determine a constructor "
            f"for the tag {node.tag!r}; remove it"
        )


def _scalar(node: yaml.Node) -> Any:
    kind, text = node.tag.removeprefix(CORE), node.value
    line = node.start_mark.line + 1
    if kind not in ("null", "bool", "int", "float", "str"):
        _plain_tag(node, "str")
    if kind == "str":
        plain = getattr(node, "style", None) is None  # not in quotes
        if plain and re.fullmatch(r"[-+]?0[0-9_]+", text):
            raise SweepError(
                f"line {line}: {text} is 8-based in YAML 1.1 and 10-based in YAML 1.2; write it "
                "without the leading zero, or in quotes if it is a text"
            )
        return text
    if not SCALARS[kind][0].fullmatch(text):
        raise SweepError(f"line {line}: {text!r} is not of the kind that its tag !!{kind} says")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return _whole_number(text, line)
    return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))


def _whole_number(text: str, line: int) -> int:
    if len(text) > 400:
        raise SweepError(f"line {line}: a number of {len(text)} digits; write a smaller one")
    digits = text.replace("_", "")
    return int(digits, 0) if digits[:2] in ("0o", "0x") else int(digits)


def _hint(text: str, mark: Any, problem: str) -> str:
    """The way out of what the parser usually stumbles over."""
    lines = text.splitlines()
    if "another document" in problem:
        return "; one file is one question: make it two files"
    if "'\\t'" in problem:
        return "; indent by spaces, not by tabs"
    if mark is None or mark.line >= len(lines):
        return ""
    if way := foreign.template(lines[mark.line]):
        return way
    if re.match(r"\s*[\w.-]+:\s+[^'\"\[{#|>]*:\s", lines[mark.line] + " "):
        return "; put a text that has a colon in quotes"
    return ""
