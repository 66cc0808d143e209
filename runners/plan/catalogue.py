"""The catalogue: a name in a sweep file is a file, in the package or else beside the sweep file.

A file and its options are found and checked by the source alone: nothing is imported, and so no
torch.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runners.errors import SweepError, nearest, suggest
from runners.plan import foreign
from runners.plan.config import Data
from runners.plan.imports import digest_of, tree_of
from runners.plan.kinds import BACKBONE, CONV, DATASET, STEM, Kind

LISTS = "lists"  # the package's data set for which a folder of the data may be named
FOLDER = re.compile(r"\w[\w.-]*")
OF = ":"  # torchvision:resnet18 is the model resnet18 of the file torchvision.py


@functools.cache
def names(kind: Kind) -> tuple[str, ...]:
    """The package's own names: its files that define one of the kind's functions."""
    paths = sorted(kind.folder.glob(f"[a-z]*{kind.suffix}"))
    return tuple(p.stem for p in paths if not kind.functions or _function(kind, p))


def find(kind: Kind, name: str, folder: Path, place: str) -> Path:
    """The file of a name: in the package, else in `folder`.

    Raises:
        SweepError: in neither, or in both.
    """
    if kind is BACKBONE:
        name = _of(name, folder, place)
    beside = folder / f"{name}{kind.suffix}"
    there = name.isidentifier() and beside.is_file()
    if name in names(kind):
        if there and kind.functions and _function(kind, beside):
            raise SweepError(
                f"{place}: {name!r} is a {kind.key} of the package, and {beside} is one as well; "
                "rename the file"
            )
        return kind.folder / f"{name}{kind.suffix}"
    if there:
        return beside
    # a folder of images with lists; whether it is there is known when data is measured
    if kind is DATASET and FOLDER.fullmatch(name) and not nearest(name, names(kind)):
        return kind.folder / f"{LISTS}.py"
    own = f"; a {kind.key} of your own is {name}{kind.suffix} beside the sweep file"
    way = foreign.template(name) or suggest(name, names(kind)) + own
    raise SweepError(f"{place}: unknown {kind.key} {name!r}{way}")


def _of(name: str, folder: Path, place: str) -> str:
    """The file's name in a backbone's: of torchvision:resnet18 it is torchvision.

    Raises:
        SweepError: the file makes models by their names, and no model is named; or the reverse.
    """
    file, given, model = name.partition(OF)
    own = folder / f"{file}.py"
    path = BACKBONE.folder / own.name if file in names(BACKBONE) else own
    if not path.is_file():
        return file if given else name
    node = _function(BACKBONE, path)
    by_name = node is not None and node.name == "build_named"
    if by_name and not model:
        raise SweepError(f"{place}: '{file}' needs a model's name, such as {file}:resnet18")
    if given and node is not None and not by_name:
        raise SweepError(f"{place}: '{file}' is one network; write {file}, got {name!r}")
    return file


@dataclass(frozen=True)
class UserFile:
    """A file that is not the package's: where it is, and its digest as it was found."""

    path: str
    digest: str


@dataclass(frozen=True)
class Lookup:
    """What the names of one sweep file stand for, each looked up once."""

    folder: Path = Path()
    files: dict[tuple[str, str], UserFile] = field(default_factory=dict)  # (kind's key, name)
    shipped: dict[tuple[str, str], Path] = field(default_factory=dict)  # the package's, by the same
    data: dict[str, Data] = field(default_factory=dict)  # by `data_key`

    def file(self, kind: Kind, name: str, place: str = "") -> Path:
        """The file of a name; a user's file is remembered as it is now.

        Raises:
            SweepError: there is none, or it imports what cannot be kept.
        """
        if known := self.files.get((kind.key, name)):
            return Path(known.path)
        if shipped := self.shipped.get((kind.key, name)):
            return shipped
        file = find(kind, name, self.folder, place)
        if file.parent != kind.folder:
            file = file.resolve()
            self.files[kind.key, name] = UserFile(str(file), digest_of(file))
        else:
            self.shipped[kind.key, name] = file
        return file

    def user_file(self, kind: Kind, name: str) -> UserFile:
        """A user's file that was looked up; an empty one where the name is the package's."""
        return self.files.get((kind.key, name), UserFile("", ""))

    def moved(self, move: Callable[[UserFile], str]) -> Lookup:
        """The same with every user's file somewhere else."""
        files = {key: replace(file, path=move(file)) for key, file in self.files.items()}
        return replace(self, files=files)


def data_key(dataset: str, digest: str, options: Mapping[str, Any]) -> str:
    """Of a data set with its options: what it is measured by, once."""
    return json.dumps([dataset, digest, dict(options)], sort_keys=True)


def defaults_of(kind: Kind, file: Path) -> dict[str, Any]:
    """name -> default of the options that a file of the kind has.

    Raises:
        SweepError: the file defines none of the kind's functions, or not as the kind has them.
    """
    stat = file.stat()
    # kept until the file changes: a search asks a thousand times
    return dict(_defaults(kind, file, stat.st_mtime_ns, stat.st_size))


@functools.cache
def _defaults(kind: Kind, file: Path, changed: int, size: int) -> dict[str, Any]:
    node = _function(kind, file)
    if node is None:
        raise SweepError(f"{file}: must define {next(iter(kind.functions.values()))}")
    arguments = node.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    wanted = 2 if node.name == "build_named" else 1
    # a convolution's own check says more of its arguments
    if kind not in (CONV, STEM) and (positional != wanted or arguments.vararg or arguments.kwarg):
        raise SweepError(
            f"{file}: {node.name} must take {('one argument', 'two arguments')[wanted - 1]}, and "
            "its options after a `*`: "
            f"{kind.functions[node.name]}"
        )
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    try:
        return {a.arg: ast.literal_eval(default) if default else None for a, default in pairs}
    except ValueError:
        raise SweepError(
            f"{file}: the options of {node.name} must have literal defaults, "
            "so that sweeps can be checked"
        ) from None


def version_of(file: Path) -> int:
    """VERSION of a file of the catalogue, read from its source; 1 where it has none.

    Raises:
        SweepError: it is not a whole number.
    """
    stat = file.stat()
    return _version(file, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _version(file: Path, changed: int, size: int) -> int:
    for node in tree_of(file).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["VERSION"]:
            value = getattr(node.value, "value", None)
            if type(value) is not int or value < 1:
                raise SweepError(
                    f"{file}: VERSION must be a whole number of at least 1, got "
                    f"{ast.unparse(node.value)}; raise it by one when the numbers change"
                )
            return value
    return 1


def _function(kind: Kind, file: Path) -> ast.FunctionDef | None:
    """The first of the kind's functions that a file defines."""
    for node in tree_of(file).body:
        if isinstance(node, ast.FunctionDef) and node.name in kind.functions:
            return node
    return None


def canonical(
    kind: Kind, name: str, options: dict[str, Any], file: Path, place: str
) -> dict[str, Any]:
    """The options in canonical form: each of its default's type, those at their default left out.

    Raises:
        SweepError: an option that the file does not have, or a value of another type.
    """
    defaults = defaults_of(kind, file)
    canonical = {}
    for key, value in options.items():
        if key not in defaults:
            none = f": it takes none; set {kind.key} to one that takes options"
            way = suggest(key, defaults) if defaults else none
            raise SweepError(f"{place}: {kind.key} '{name}' has no option '{key}'{way}")
        value = _like(defaults[key], value, f"{place}.{key}")
        if value != plain(defaults[key]):
            canonical[key] = value
    return dict(sorted(canonical.items()))


def _like(default: Any, value: Any, place: str) -> Any:
    """`value` as the type of `default`: 1 and "1e-1" are floats where the default is one."""
    if isinstance(default, bool | int | float | str):
        strict = isinstance(default, bool | str)
        # pydantic would take true for the number 1
        given = value if not isinstance(value, bool) or strict else str(value)
        try:
            return TypeAdapter(type(default)).validate_python(given, strict=strict)
        except ValidationError:
            kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
            raise SweepError(
                f"{place}: must be {kinds[type(default)]}, got {value!r}; "
                f"the default is {default!r}"
            ) from None
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise SweepError(
            f"{place}: must be a number, text or a list of them, got {value!r}"
        ) from None
    return plain(value)


def plain(value: Any) -> Any:
    """A tuple as the list that JSON and YAML have for it."""
    return list(value) if isinstance(value, tuple) else value
