"""Which local files a user's file imports, read from the source; so that all of them are identified
and kept.

A file of one's own may import others that lie beside it, by any form of import. An import that
cannot be followed from the source is refused: the file behind it would be neither in a trial's
identity nor kept with the trial.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runners.errors import SweepError

OURS = frozenset({"scconv", "runners", "analysis"})  # their commit is in every record
LOADERS = ("spec_from_file_location", "SourceFileLoader", "run_path", "run_module", "__import__")


def tree_of(file: Path) -> ast.Module:
    """The file's syntax tree.

    Raises:
        SweepError: it cannot be read, or is not valid Python.
    """
    try:
        return ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise SweepError(f"{file}: cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        raise SweepError(f"{file}: not valid Python: {error}") from None


def files_of(main: Path) -> list[Path]:
    """A user's file and, sorted after it, every local file that it imports, directly or not.

    Raises:
        SweepError: an import that cannot be followed; names its line.
    """
    found, waiting = {main}, [main]
    while waiting:
        file = waiting.pop()
        for target in _imported(file, main.parent):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return [main, *sorted(found - {main})]


def digest_of(main: Path) -> str:
    """The digest of a user's file together with every local file that it imports."""
    files = files_of(main)
    if len(files) == 1:
        return hashlib.sha256(main.read_bytes()).hexdigest()[:16]
    whole = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        whole.update(f"{file.relative_to(main.parent).as_posix()} {content}\n".encode())
    return whole.hexdigest()[:16]


@dataclass(frozen=True)
class _Place:
    """A line of a file, in the folder where its local imports are looked for."""

    file: Path
    line: int
    folder: Path

    def refuse(self, why: str) -> SweepError:
        return SweepError(f"{self.file}: line {self.line}: {why}")


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """The local files that one file names in its imports."""
    for node in ast.walk(tree_of(file)):
        place = _Place(file, getattr(node, "lineno", 0), folder)
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _absolute(alias.name, [], place)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if node.level:
                yield from _relative("." * node.level + (node.module or ""), names, place)
            else:
                yield from _absolute(node.module or "", names, place)
        elif isinstance(node, ast.Call):
            yield from _called(node, place)
        elif isinstance(node, ast.Name) and node.id == "__file__":
            raise place.refuse(
                "uses __file__, but a trial runs a copy of this file kept with it; "
                "take paths from an option, or for data from `root`"
            )
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            raise place.refuse(
                "uses sys.path, so what it imports can be neither identified nor kept; "
                "put the files beside it, where they are found without it"
            )


def _called(node: ast.Call, place: _Place) -> Iterator[Path]:
    """What a call of `import_module` imports; other ways of loading a file are refused."""
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in LOADERS:
        raise place.refuse(
            f"loads code by {name}, which can be neither identified nor kept; "
            "put the file beside it and import it by its name"
        )
    if name != "import_module" or not node.args:
        return
    module, whole = _text(node.args[0])
    if whole:
        find = _relative if module.startswith(".") else _absolute
        yield from find(module, [], place)
    elif "." not in module.lstrip("."):
        raise place.refuse(
            "imports a module whose name it computes, which can be neither identified nor kept; "
            "write the name out"
        )
    elif module.startswith(".") or _is_local(place.folder, module.partition(".")[0]):
        raise place.refuse(
            "imports a local module whose name it computes, which can be neither identified nor "
            "kept; write the name out"
        )


def _text(node: ast.expr) -> tuple[str, bool]:
    """The text that an expression begins with, and whether that is all of it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value, True
    if isinstance(node, ast.JoinedStr) and node.values:
        return _text(node.values[0])[0], False
    if isinstance(node, ast.BinOp):
        return _text(node.left)[0], False
    return "", False


def _relative(module: str, names: list[str], place: _Place) -> Iterator[Path]:
    inner = module.lstrip(".")
    base = place.file.parent
    for _ in range(len(module) - len(inner) - 1):
        base = base.parent
    if not base.is_relative_to(place.folder):
        raise place.refuse(
            f"imports from above {place.folder}; put the file beside {place.file.name}"
        )
    found = [*_follow(base, inner, names)]
    if inner and not found:
        raise place.refuse(f"imports {module}, and there is no {inner.replace('.', '/')}.py")
    yield from found


def _absolute(module: str, names: list[str], place: _Place) -> Iterator[Path]:
    top = module.partition(".")[0]
    if _is_local(place.folder, top):
        yield from _follow(place.folder, module, names)
    elif top and top not in OURS and top not in sys.stdlib_module_names and _elsewhere(top):
        raise place.refuse(
            f"imports {top} from the working directory, where it can be neither identified nor "
            f"kept; put it beside {place.file.name} (a folder needs an __init__.py), or install it"
        )


def _is_local(folder: Path, name: str) -> bool:
    if name in OURS or name in sys.stdlib_module_names:
        return False
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def _follow(base: Path, module: str, names: list[str]) -> Iterator[Path]:
    """The files of `from MODULE import NAMES` below a folder: of its packages, and of itself."""
    parts = module.split(".") if module else []
    for part in parts:
        for file in (base / f"{part}.py", base / part / "__init__.py"):
            if file.is_file():
                yield file
        base = base / part
    for name in names:
        for file in (base / f"{name}.py", base / name / "__init__.py"):
            if file.is_file():
                yield file


def _elsewhere(name: str) -> bool:
    """Whether a module would come from the working directory, as an uninstalled file."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    places = [spec.origin] if spec and spec.origin else []
    if spec and not places:
        places = [*(spec.submodule_search_locations or [])]
    here = Path.cwd()
    return any(
        Path(p).is_relative_to(here) and "site-packages" not in Path(p).parts for p in places
    )
