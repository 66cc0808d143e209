"""Who may import whom, read from the source; and that what must stay light does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [p for folder in ("scconv", "runners", "analysis") for p in (ROOT / folder).rglob("*.py")]

# module prefix -> what it must never import, even inside a function
FORBIDDEN = {
    "scconv": {"yaml", "ray", "mlflow", "runners", "analysis", "pydantic"},
    "runners.strict": {"torch", "ray", "mlflow", "scconv", "analysis", "runners"},
    "runners.options": {"torch", "ray", "mlflow", "scconv", "analysis", "runners.plan"},
    "runners.evidence": {"torch", "ray", "mlflow", "scconv", "analysis"},
    "runners.plan": {"torch", "ray", "mlflow", "scconv", "analysis"},
    "runners.space": {"torch", "ray", "mlflow", "scconv", "analysis", "runners.plan"},
    "runners.study": {"torch", "ray", "mlflow", "scconv", "analysis", "runners.train"},
    "runners.search": {"torch", "ray", "mlflow", "scconv", "analysis", "runners.train"},
    "runners.work": {"torch", "ray", "mlflow", "scconv", "analysis", "runners.train"},
    "runners.cluster": {"torch", "mlflow", "scconv", "analysis", "runners.train", "runners.sweep"},
    "runners.driver": {"torch", "ray", "scconv", "analysis", "runners.train", "runners.sweep"},
    "runners.data": {"ray", "mlflow", "analysis"},
    "runners.folder": {"ray", "mlflow", "scconv", "analysis"},
    "runners.inspect": {"ray", "mlflow", "runners.sweep", "runners.launch", "runners.tracking"},
    "runners.train": {
        "ray",
        "mlflow",
        "analysis",
        "runners.sweep",
        "runners.launch",
        "runners.tracking",
    },
    "runners.files": {"torch", "ray", "mlflow", "scconv", "analysis", "runners.plan"},
    "runners.store": {"ray", "mlflow", "scconv", "analysis", "runners.train"},
    "runners.tracking": {"ray", "torch", "scconv", "analysis", "runners.train"},
    "analysis": {
        "torch",
        "ray",
        "scconv",
        "mlflow",
        "runners.train",
        "runners.launch",
        "runners.sweep",
    },
}
ONLY = {
    "ray": {"runners.cluster"},
    "mlflow": {"runners.tracking"},
    "optuna": {"runners.study"},
    "rich": {"runners.console"},
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


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_keep_to_the_house(path):
    for prefix, forbidden in FORBIDDEN.items():
        if within(name(path), prefix):
            broken = {m for m in imports(path) for f in forbidden if within(m, f)}
            assert not broken, f"{name(path)} must not import {broken}"
    for package, allowed in ONLY.items():
        if name(path) not in allowed:
            assert not {m for m in imports(path) if within(m, package)}, (
                f"{package} belongs in {allowed}"
            )


@pytest.mark.parametrize("module", ["runners.store", "analysis.report", "runners.plan"])
def test_reading_finished_trials_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'ray', 'mlflow'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
