"""Who may import whom, read from the source; and that what must stay light does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [p for folder in ("scconv", "runners", "analysis") for p in (ROOT / folder).rglob("*.py")]

# from the ground up: a floor imports only from floors below it
FLOORS = (
    ("runners.output", "runners.system"),
    ("scconv",),
    ("runners.redaction",),
    ("runners.errors",),
    ("runners.plan", "runners.planned"),
    ("runners.data", "runners.store"),
    ("runners.folder",),
    ("runners.trial", "runners.search"),
    ("runners.command",),
    ("runners.tracking", "analysis"),
    ("runners.launch",),
    ("runners.preview", "runners.conclusion"),
    ("runners.phases",),
    ("runners.sweep", "runners.train", "runners.inspect", "runners.shell"),
    ("runners.__main__", "runners.schemas"),
)
ONLY = {
    "ray": {"runners.launch"},
    "mlflow": {"runners.tracking"},
    "optuna": {"runners.search"},
    "rich": {"runners.launch"},
}


# analysis is called by its doors alone, one of each command that needs it
DOORS = {
    "runners.sweep": {"analysis.report"},
    "runners.phases": {"analysis.report"},
    "runners.conclusion": {"analysis.report"},
    "runners.power": {"analysis.report"},
    "runners.preview": {"analysis.report"},
    "runners.inspect": {"analysis.inspect"},
    "runners.schemas": {"analysis.programs"},
    "runners.shell.status": {"analysis.report"},
    "runners.shell.ls": {"analysis.report"},
}


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def floor(module: str) -> tuple[int, str] | None:
    """How high a module's room is, and which it is; None outside the house."""
    for height, rooms in enumerate(FLOORS):
        for room in rooms:
            if within(module, room):
                return height, room
    return None


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_floor_imports_only_from_floors_below(path):
    height, room = floor(name(path)) or (99, "")
    above = {m for m in imports(path) if (f := floor(m)) and f[1] != room and f[0] >= height}
    assert not above, f"{name(path)} must not import {above}"
    for package, allowed in ONLY.items():
        if room not in allowed:
            found = {m for m in imports(path) if within(m, package)}
            assert not found, f"{package} is imported in {allowed} alone"


@pytest.mark.parametrize("path", [p for p in FILES if name(p).startswith("runners")], ids=name)
def test_analysis_is_called_by_its_doors_alone(path):
    doors = DOORS.get(name(path), set())
    called = {m for m in imports(path) if within(m, "analysis") and m != "analysis"}
    inside = {m for m in called if not any(within(m, door) for door in doors)}
    assert not inside, f"{name(path)} must not import {inside}; its doors: {doors or 'none'}"


@pytest.mark.parametrize("module", ["runners.store", "analysis.report", "runners.plan"])
def test_reading_finished_trials_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'ray', 'mlflow'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda p: p.stem)
def test_no_test_asserts_how_long_something_took(path):
    """A busy machine fails it. A deadline of a wait is no such assertion: nothing is subtracted."""
    clocks = ("time.monotonic()", "time.time()", "time.perf_counter()", "time.process_time()")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assert):
            for part in (n for n in ast.walk(node.test) if isinstance(n, ast.BinOp)):
                timed = isinstance(part.op, ast.Sub) and ast.unparse(part.left) in clocks
                assert not timed, f"{path.name}, line {node.lineno}: count operations instead"


MOST = {ast.Module: 300, ast.ClassDef: 150, ast.FunctionDef: 50}  # lines of 100 columns


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_class_or_function_is_long(path):
    text = path.read_text()
    tree = ast.parse(text)
    lines = {f"{path.name}, the file": (len(text.splitlines()), MOST[ast.Module])}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            start = min(part.lineno for part in (node, *node.decorator_list))
            long = (node.end_lineno or start) - start + 1
            lines[f"{path.name}, {node.name}"] = long, MOST[type(node)]
    over = {where: pair for where, pair in lines.items() if pair[0] > pair[1]}
    assert not over, f"more lines than {[*MOST.values()]}: {over}; split it by idea"


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@pytest.mark.parametrize("path", [p for p in FILES if within(name(p), "analysis")], ids=name)
def test_no_comprehension_is_inside_another(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, COMPREHENSIONS):
            inner = [n for n in ast.walk(node) if n is not node and isinstance(n, COMPREHENSIONS)]
            assert not inner, f"{path}:{node.lineno}: make it a loop or a named function"
