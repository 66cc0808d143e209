"""Which code a number is said to come from, and which machine."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from runners.plan import Config, Trial, load
from runners.store import Store
from runners.train import main
from runners.trial import provenance
from runners.trial.provenance import Code, cpu, driver, machine, read_code
from runners.trial.run import run

SOURCE = Path(provenance.__file__)
TRIAL = Trial("s", "R20", Config("resnet20", "synthetic", epochs=1, batch_size=64), 0)


def git(folder: Path, *args: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *name, *args], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with this module in its place and one commit."""
    room = tmp_path / "checkout" / "runners" / "trial"
    room.mkdir(parents=True)
    (room / "provenance.py").write_text("a = 1\n")
    (tmp_path / "checkout" / "README.md").write_text("words\n")
    git(tmp_path / "checkout", "init", "-q")
    git(room, "add", "-A", ":/")
    git(room, "commit", "-q", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(room / "provenance.py"))
    return room


@pytest.fixture
def no_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout):
    (checkout.parents[1] / "README.md").write_text("other words, which no trial runs\n")
    (checkout.parents[1] / "mine.yaml").write_text("a sweep of the user's own\n")
    code = read_code()
    assert code == Code(git(checkout, "rev-parse", "--short=12", "HEAD"), "no")
    assert code.evidence() == {"commit": code.commit, "dirty": "no"}


def test_changes_and_new_files_are_a_patch_that_can_be_applied(checkout, tmp_path):
    (checkout / "provenance.py").write_bytes("a = 'ä'\n".encode("latin-1"))
    (checkout / "new.py").write_text("b = 2\n")
    code = read_code()
    assert code.dirty == "yes" and code.evidence()["patch"] == code.digest and code.kept
    assert code.digest != read_code_after(checkout / "new.py", "b = 3\n").digest

    git(tmp_path, "clone", "-q", "checkout", "again")
    patch = tmp_path / "a.patch"
    patch.write_bytes(code.content)
    git(tmp_path / "again", "apply", str(patch))
    again = tmp_path / "again" / "runners" / "trial"
    assert (again / "new.py").read_text() == "b = 2\n"
    assert (again / "provenance.py").read_bytes() == (checkout / "provenance.py").read_bytes()


def read_code_after(file: Path, text: str) -> Code:
    file.write_text(text)
    return read_code()


def test_of_a_large_patch_only_the_digest_is_kept(checkout, monkeypatch):
    monkeypatch.setattr(provenance, "PATCH_BYTES", 100)
    code = read_code_after(checkout / "new.py", "b = 2\n" * 100)
    assert not code.kept and code.evidence()["patch"] == f"{code.digest} (too large to be kept)"


def test_a_package_inside_the_checkout_of_another_project_is_not_that_project(checkout):
    (checkout.parents[1] / ".gitignore").write_text(".venv\n")
    inside = checkout.parents[1] / ".venv" / "runners" / "trial"
    inside.mkdir(parents=True)
    (inside / "provenance.py").write_text("a = 1\n")
    assert read_code(inside) == Code("unknown", "unknown")


def test_outside_a_checkout_it_is_what_the_image_was_built_from(no_checkout):
    built = Code("0123456789ab", "yes", "--- a\n+++ b\n")
    (no_checkout / "commit.json").write_text(json.dumps(asdict(built)))
    assert read_code() == built
    # as images were built before there was a patch
    (no_checkout / "commit.json").write_text(json.dumps({"commit": "0123456789ab", "dirty": "no"}))
    assert read_code() == Code("0123456789ab", "no")


@pytest.mark.parametrize("written", [None, "", "{", "[]", '{"sha": 1}'])
def test_and_unknown_where_nothing_says(written, no_checkout):
    if written is not None:
        (no_checkout / "commit.json").write_text(written)
    assert read_code() == Code("unknown", "unknown")


def test_the_image_writes_it_down_without_any_package_installed():
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "runners.trial.provenance"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Code(**json.loads(done.stdout)) == read_code()


def test_a_record_has_the_code_that_was_imported_and_says_that_the_checkout_moved(
    checkout, tmp_path, monkeypatch
):
    """A commit, or an edit, while a trial runs is not what the trial runs."""
    (checkout / "provenance.py").write_text("a = 2\n")
    imported = read_code()
    for module in ("provenance", "run"):
        monkeypatch.setattr(f"runners.trial.{module}.CODE", imported)
    store = Store(tmp_path / "runs")
    epochs = run(TRIAL, store, device="cpu")
    next(epochs)
    git(checkout, "commit", "-q", "-a", "-m", "second")
    assert [*epochs] == []

    said = store.record(TRIAL.id).provenance
    assert (said["commit"], said["dirty"]) == (imported.commit, "yes")
    assert said["commit_at_end"] == git(checkout, "rev-parse", "--short=12", "HEAD")
    assert said["patch"] == imported.digest
    assert store.files.read(f"patches/{imported.digest}.patch") == imported.content


def test_the_code_is_read_when_it_is_imported(checkout, monkeypatch):
    """Not at a trial's end, when another commit may be checked out."""
    file = checkout / "provenance.py"
    file.write_text(SOURCE.read_text())
    git(checkout, "commit", "-q", "-a", "-m", "second")
    spec = importlib.util.spec_from_file_location("imported", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "imported", module)
    spec.loader.exec_module(module)
    assert module.moved() == {}

    before = git(checkout, "rev-parse", "--short=12", "HEAD")
    file.write_text(f"{SOURCE.read_text()}# an edit\n")
    git(checkout, "commit", "-q", "-a", "-m", "third")
    assert (module.CODE.commit, module.CODE.dirty) == (before, "no")
    assert module.moved() == {"commit_at_end": git(checkout, "rev-parse", "--short=12", "HEAD")}


def test_the_machine_and_the_packages_that_make_the_numbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="1.2"))
    # another test in this process may have imported it
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    said = machine()
    assert (
        said.keys() == {"host", "python", "torchvision", "numpy", "numba", "ray"}
        and said["ray"] == "1.2"
    )
    monkeypatch.delitem(sys.modules, "ray")
    assert "ray" not in machine()
    fake = SimpleNamespace(
        version=SimpleNamespace(cuda="13.2"),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 92600)),
    )
    said = machine(fake)
    assert (said["cuda"], said["cudnn"]) == ("13.2", "92600") and said["driver"]


def test_the_processor_by_its_name_and_its_instructions(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Intel(R) Xeon(R)   Gold 6148 CPU @ 2.40GHz\n")
    capability = torch.backends.cpu.get_cpu_capability()
    assert cpu(file) == f"Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz, {capability}"
    assert cpu(tmp_path / "none").endswith(f", {capability}")
    # the same name, another generation
    lines = ["cpu family\t: 25", "model\t\t: 17", "model name\t: AMD EPYC", "stepping\t: 1"]
    file = tmp_path / "another"
    file.write_text("\n".join(lines))
    assert cpu(file) == f"AMD EPYC (family 25, model 17), {capability}"


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (a)",
    ],
)
def test_the_drivers_version(line, tmp_path):
    file = tmp_path / "version"
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    assert driver(file) == "550.54.15"


def test_a_record_names_the_sweep_file_that_planned_it(write_sweep, tmp_path):
    path = write_sweep(base={"epochs": 1})
    sweep, text = load(path), path.read_text()
    storage = tmp_path / "runs"
    assert main([str(path), "--variant", "R20", "--storage", str(storage)]) == 0
    path.write_text(text.replace("Does it work?", "Did it work?"))
    store = Store(storage)
    said = store.record(sweep.trials[0].id).provenance
    assert store.sweep_file("tiny", said["sweep_file"]) == text
    assert load(path).digest != sweep.digest and load(path).trials[0].id == sweep.trials[0].id
