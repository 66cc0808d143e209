"""Run the notebooks on the quickstart's trials, and store them with what they show.

python -m tests.notebooks           make notebooks
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import nbclient
import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "analysis/notebooks"
COLAB = "colab"  # the tag of a cell that needs Google's machine, and the notebook that has some
FRESH = "outputs_of"  # in the notebook's metadata: the digest of the code that made its outputs


def paths() -> list[Path]:
    """The notebooks of finished trials; the one for Colab trains them."""
    return sorted(path for path in FOLDER.glob("*.ipynb") if path.stem != COLAB)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def digest(notebook: NotebookNode) -> str:
    """Of all code in it."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def execute(notebook: NotebookNode, folder: Path, env: dict[str, str], seconds: int = 180) -> None:
    """Run all cells in `folder`, in a process with these variables, and keep their outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    nbclient.NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=os.environ | {"PYTHONPATH": str(ROOT)} | env)


def store(path: Path) -> None:
    """Run a notebook and write it with its outputs, without what changes at every run."""
    notebook = read(path)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    execute(notebook, path.parent, {})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata[FRESH] = digest(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def main() -> int:
    for path in paths():
        store(path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
