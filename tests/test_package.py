"""The wheel and the source distribution have what the product needs, and no tests."""

import contextlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from runners.launch import cluster

ROOT = Path(__file__).parents[1]

BUILD = """
from setuptools import build_meta
import os
os.makedirs("out")
build_meta.build_wheel("out")
build_meta.build_sdist("out")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with a wheel and an sdist, built from what git has or would take."""
    source = tmp_path_factory.mktemp("source")
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if names.returncode:
        pytest.skip("not a git checkout")
    for name in names.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(["-c", BUILD], source, ROOT)
    return source / "out"


def run(arguments: list[str], folder: Path, path: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def tracked(folder: str, *kinds: str) -> set[str]:
    return {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*") if p.suffix in kinds}


def test_both_have_the_sweeps_and_no_tests(built):
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    with tarfile.open(source) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    needed = tracked("sweeps", ".yaml") | tracked("scconv/paper", ".csv")
    needed |= tracked("analysis", ".html", ".css", ".mplstyle", ".py")
    needed |= tracked("runners", ".json", ".py")
    assert needed <= names and needed <= sources
    assert not [name for name in names | sources if name.startswith(("tests/", "results/"))]
    assert {"LICENSE", "README.md", "CITATION.cff", "pyproject.toml"} <= sources


def test_an_installed_wheel_plans_the_quickstart_from_another_directory(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    plan = ["-m", "runners", "plan", "sweeps/quickstart.yaml"]
    out = run(plan, tmp_path / "elsewhere", tmp_path / "site").stdout
    assert "18 trials (6 variants x 3 seeds): 18 new" in out


def test_a_folder_that_hides_a_package_is_named(tmp_path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "runners.sweep", "x.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{tmp_path / 'analysis'} hides the package of that name")


def test_rays_workers_do_not_look_in_such_a_folder_first(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(cluster.ray, "init", lambda **options: seen.append(Path.cwd()))
    with contextlib.chdir(tmp_path):
        cluster._init()
        (tmp_path / "runners").mkdir()
        (tmp_path / "runners" / "__init__.py").touch()
        cluster._init()
        assert Path.cwd() == tmp_path
    assert seen == [tmp_path, ROOT]
