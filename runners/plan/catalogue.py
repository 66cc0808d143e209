"""A convolution's file and options, found and checked by its source alone: without importing it, and so without torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runners.errors import SweepError, suggest


def catalogue() -> Path:
    """The folder of the project's own convolutions."""
    spec = importlib.util.find_spec(
        "scconv"
    )  # finds the package without importing it, and so without torch
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "convs"


def find_file(name: str, folder: Path, place: str) -> Path:
    """The file of the convolution called `name`: in the catalogue, else in `folder`.

    Raises:
        SweepError: in neither.
    """
    known = sorted(p.stem for p in catalogue().glob("[a-z]*.py"))
    if name in known:
        return catalogue() / f"{name}.py"
    if name.isidentifier() and (folder / f"{name}.py").is_file():
        return folder / f"{name}.py"
    raise SweepError(
        f"{place}: unknown conv {name!r}{suggest(name, known)}; a conv of your own is {name}.py beside the sweep file"
    )


def defaults_of(file: Path) -> dict[str, Any]:
    """What `_defaults` reads, kept until the file changes: a search asks a thousand times.

    Raises:
        SweepError: the file defines neither `drop_in` nor `convert`, or an option's default is not a literal.
    """
    stat = file.stat()
    return dict(_defaults(file, stat.st_mtime_ns, stat.st_size))


@functools.cache
def _defaults(file: Path, changed: int, size: int) -> dict[str, Any]:
    """name -> default of a convolution's options, read from its source without importing it.

    Raises:
        SweepError: the file defines neither `drop_in` nor `convert`, or an option's default is not a literal.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise SweepError(f"{file}: not valid Python: {error}") from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in ("drop_in", "convert"):
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            try:
                return {
                    arg.arg: ast.literal_eval(default) if default else None
                    for arg, default in pairs
                }
            except ValueError:
                raise SweepError(
                    f"{file}: the options of {node.name} must have literal defaults, so that sweeps can be checked"
                ) from None
    raise SweepError(f"{file}: must define drop_in(conv, *, option=default, ...) -> nn.Module")


def version_of(file: Path) -> int:
    """VERSION of a convolution of the catalogue, read from its source without importing it; 1 where it has none.

    Raises:
        SweepError: it is not a whole number.
    """
    stat = file.stat()
    return _version(file, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _version(file: Path, changed: int, size: int) -> int:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["VERSION"]:
            value = getattr(node.value, "value", None)
            if type(value) is not int or value < 1:
                raise SweepError(
                    f"{file}: VERSION must be a whole number of at least 1, got "
                    f"{ast.unparse(node.value)}; raise it by one when the numbers change"
                )
            return value
    return 1


def canonical(conv: str, options: dict[str, Any], file: Path, place: str) -> dict[str, Any]:
    """The options in canonical form: each of its default's type, those at their default left out.

    Raises:
        SweepError: an option that the convolution does not have, or a value of another type.
    """
    defaults = defaults_of(file)
    canonical = {}
    for key, value in options.items():
        if key not in defaults:
            way = suggest(key, defaults) if defaults else ": it takes none"
            raise SweepError(f"{place}: conv '{conv}' has no option '{key}'{way}")
        value = _like(defaults[key], value, f"{place}.{key}")
        if value != plain(defaults[key]):
            canonical[key] = value
    return dict(sorted(canonical.items()))


def _like(default: Any, value: Any, place: str) -> Any:
    """`value` as the type of `default`: 1 and "1e-1" are floats where the default is one."""
    if isinstance(default, bool | int | float | str):
        try:
            strict = isinstance(default, bool | str)
            return TypeAdapter(type(default)).validate_python(
                value if not isinstance(value, bool) or strict else str(value), strict=strict
            )
        except ValidationError:
            kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[
                type(default)
            ]
            raise SweepError(
                f"{place}: must be {kind}, got {value!r}; the default is {default!r}"
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
