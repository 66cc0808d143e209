"""A name's module: a file of this package, or a user's file together with the local files it
imports.

A user's file runs inside a package that is made for it, so that `import parts`, `from parts import
X`, `from .parts import X` and `importlib.import_module("parts")` all find `parts.py` beside it. Two
versions of one file, or two users' files of one name, therefore never meet in a process.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "scconv_user_"  # of the packages that are made for users' files
OURS = frozenset({"scconv", "runners", "analysis"})  # never local, even where they lie beside
_digests: dict[str, dict[str, str]] = {}  # package -> file -> digest of what was run


def named(
    word: str,
    name: str,
    path: str | Path | None,
    package: str,
    functions: dict[str, str],
    *,
    fresh: bool = False,
) -> ModuleType:
    """The module of a name: `package`.`name`, or the user's file at `path`.

    Args:
        word: the kind of thing, for messages: "conv".
        functions: what the module defines one of, with the signature; the first is the usual one.
        fresh: run the file at `path` again, even if one of the same content has been.

    Raises:
        ValueError: there is no such file, it cannot be imported, or it defines none of them.
    """
    usual = next(iter(functions))
    if path is None:
        folder = Path(str(importlib.import_module(package).__file__)).parent
        known = names(folder, tuple(functions))
        if name not in known:
            raise ValueError(
                f"unknown {word} '{name}'; use one of {', '.join(known)}, "
                f"or write {name}.py beside the sweep file"
            )
        return importlib.import_module(f"{package}.{name}")
    if not Path(path).is_file() or Path(path).suffix != ".py":
        raise ValueError(
            f"{word} '{name}': {path} is not a Python file; "
            f"give the path of the file that defines {usual}"
        )
    try:
        module = user_module(path, fresh=fresh)
    except Exception as error:  # a user's file may raise anything
        raise ValueError(
            f"{word} '{name}': {path} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    if not any(hasattr(module, function) for function in functions):
        raise ValueError(f"{word} '{name}' ({path}) must define {functions[usual]}")
    return module


@functools.cache
def names(folder: Path, functions: tuple[str, ...]) -> list[str]:
    """The names in a folder of the package: its files that define one of these functions."""
    starts = tuple(f"def {function}(" for function in functions)
    found = []
    for path in sorted(folder.glob("[a-z]*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        if any(line.startswith(starts) for line in lines):
            found.append(path.stem)
    return found


def user_module(path: str | Path, *, fresh: bool = False) -> ModuleType:
    """A user's file as a module; run again only where it, or a local file it imports, has changed.

    Raises:
        Exception: whatever the file raises.
    """
    path = Path(path).absolute()
    content = hashlib.sha256(f"{path}\0".encode() + path.read_bytes()).hexdigest()[:12]
    package, stem = PREFIX + content, "".join(c if c.isalnum() else "_" for c in path.stem)
    module = sys.modules.get(f"{package}.{stem}")
    if module is not None and not fresh and _unchanged(package):
        return module
    _forget(package)

    # the package stays in sys.modules, so that the file's classes can be pickled
    parent = ModuleType(package)
    parent.__path__ = [str(path.parent)]
    sys.modules[package] = parent
    spec = importlib.util.spec_from_file_location(
        f"{package}.{stem}", path, loader=_Loader(f"{package}.{stem}", str(path))
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(package)
        raise
    return module


def is_local(folder: Path, name: str) -> bool:
    """Whether the top-level module `name` is a file or a package of this folder."""
    if name in OURS or name in sys.stdlib_module_names:
        return False
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def _unchanged(package: str) -> bool:
    return all(
        Path(file).is_file() and hashlib.sha256(Path(file).read_bytes()).hexdigest() == digest
        for file, digest in _digests.get(package, {}).items()
    )


def _forget(package: str) -> None:
    _digests.pop(package, None)
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds the modules of the packages that are made for users' files."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or not path:
            return None
        base = Path(path[0]) / fullname.rpartition(".")[2]
        init, file = base / "__init__.py", base.with_name(f"{base.name}.py")
        if init.is_file():
            loader = _Loader(fullname, str(init))
            places = [str(base)]
            return importlib.util.spec_from_file_location(
                fullname, init, loader=loader, submodule_search_locations=places
            )
        if file.is_file():
            loader = _Loader(fullname, str(file))
            return importlib.util.spec_from_file_location(fullname, file, loader=loader)
        return None


sys.meta_path.insert(0, _Finder())


class _Loader(SourceFileLoader):
    """Runs a file whose absolute imports of local files are turned into imports from its
    package.
    """

    def get_code(self, fullname: str) -> Any:
        source = self.get_data(self.path)
        package = fullname.partition(".")[0]
        digest = hashlib.sha256(source).hexdigest()
        _digests.setdefault(package, {})[self.path] = digest
        folder = Path(sys.modules[package].__path__[0])
        tree = _Local(package, folder).visit(ast.parse(source, self.path))
        code = ast.fix_missing_locations(tree)
        return compile(code, self.path, "exec", dont_inherit=True)


class _Local(ast.NodeTransformer):
    """`import parts` becomes `from PACKAGE import parts`, wherever it stands."""

    def __init__(self, package: str, folder: Path):
        self.package, self.folder = package, folder

    def _is_local(self, name: str) -> bool:
        return is_local(self.folder, name.partition(".")[0])

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for alias in node.names:
            if not self._is_local(alias.name):
                found.append(ast.copy_location(ast.Import([alias]), node))
                continue
            first, *inner = alias.name.split(".")
            parent, _, leaf = f"{self.package}.{alias.name}".rpartition(".")
            # `import a.b` imports both and binds a, `import a.b as c` binds b
            bound = [ast.alias(leaf, alias.asname or first)]
            found.append(ast.copy_location(ast.ImportFrom(parent, bound, 0), node))
            if inner and not alias.asname:
                top = ast.ImportFrom(self.package, [ast.alias(first)], 0)
                found.append(ast.copy_location(top, node))
        return found

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if not node.level and node.module and self._is_local(node.module):
            node.module = f"{self.package}.{node.module}"
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called == "import_module" and node.args and isinstance(node.args[0], ast.Constant):
            name = node.args[0].value
            if isinstance(name, str) and self._is_local(name):
                node.args[0] = ast.copy_location(ast.Constant(f"{self.package}.{name}"), node)
        return node
