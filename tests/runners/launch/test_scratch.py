"""What a killed process leaves in /tmp is removed by the next start, and nothing else is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runners.launch import scratch

ROOT = Path(__file__).parents[3]
HOLD = """
import os, pathlib, signal, sys
from runners.launch import scratch
scratch.ROOT = pathlib.Path(sys.argv[1])
with scratch.folder() as made:
    (made / "session" / "logs").mkdir(parents=True)
    (made / "session" / "logs" / "raylet.out").write_text("text")
    (made / "link").symlink_to(sys.argv[1])
    print(made, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "ROOT", tmp_path)
    return tmp_path


def hold(root: Path, how: str) -> tuple[subprocess.Popen, Path]:
    """A process with a scratch folder in `root`, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_gone_afterwards(root):
    with scratch.folder() as made:
        assert made.parent == root and made.stat().st_mode & 0o077 == 0
        (made / "inside").mkdir()
    assert [*root.iterdir()] == []


def test_the_next_start_removes_what_a_killed_one_left(root):
    process, left = hold(root, "killed")
    assert process.wait() == -signal.SIGKILL and left.exists()
    with scratch.folder() as made:
        assert [*root.iterdir()] == [made]


def test_a_folder_in_use_stays_and_so_does_all_that_is_not_ours(root, monkeypatch):
    process, used = hold(root, "running")
    (root / "sweep-of-somebody").mkdir()
    (root / "sweep-of-somebody" / "notes").write_text("mine")
    (root / "sweep-file").write_text("mine")
    (root / "sweep-link").symlink_to(used)
    (root / "other").mkdir()
    before = sorted(root.rglob("*"))
    with scratch.folder():
        pass
    assert sorted(root.rglob("*")) == before

    process.kill()
    process.wait()
    with monkeypatch.context() as another_user:
        another_user.setattr(os, "getuid", lambda: 12345)
        scratch.remove_abandoned()
    assert sorted(root.rglob("*")) == before
    scratch.remove_abandoned()
    assert not used.exists() and (root / "sweep-of-somebody" / "notes").exists()
