"""Ray is closed to strangers: a local sweep has a token of its own, a cluster one of its nodes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runners.errors import SweepError
from runners.launch import auth, scratch
from tests.runners.test_sweep import finish, start, wait_for

STRANGER = """
import sys
import ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
    print("JOINED", ray.get(ray.remote(lambda: "ran").remote()))
except BaseException as error:
    print("REFUSED", type(error).__name__)
"""


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """The sweep's driver and all of its processes."""
    driver = psutil.Process(process.pid)
    return [driver, *driver.children(recursive=True)]


def gcs_port(process: subprocess.Popen) -> int | None:
    """Where the sweep's Ray listens for drivers, once a worker trains."""
    for each in family(process):
        if "gcs_server" in each.name():
            ports = [c.laddr.port for c in each.net_connections() if c.status == "LISTEN"]
            wanted = next((a for a in each.cmdline() if a.startswith("--gcs_server_port=")), "")
            port = int(wanted.partition("=")[2] or 0)
            return port or (ports[0] if ports else None)
    return None


def test_a_stranger_is_refused_and_the_token_is_nowhere_but_in_the_environment(write_sweep):
    path = write_sweep(base={"epochs": 400}, variants={"R20": {"conv": "standard"}}, seeds=1)
    process = start(path)
    store = path.parent / "runs"
    wait_for(lambda: [*store.glob("trials/*/checkpoint.pt")] or process.poll() is not None)
    port = gcs_port(process)
    assert port
    token = psutil.Process(process.pid).environ().get("RAY_AUTH_TOKEN")
    tokens = {e.get("RAY_AUTH_TOKEN") for p in family(process) if (e := p.environ())} - {
        None,
        token,
    }
    (token,) = tokens  # the driver set it after it had started
    for mode in ("token", "disabled"):
        environment = os.environ | {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": "0" * 64}
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, f"127.0.0.1:{port}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert "REFUSED" in done.stdout and "JOINED" not in done.stdout, done
    assert not any(
        token in " ".join(p.cmdline()) for p in psutil.process_iter(["pid"]) if readable(p)
    )
    session = Path("/tmp/ray")
    logs = [p for p in session.glob("session_*/logs/**/*") if p.is_file()]
    files = [*logs, *(p for p in path.parent.rglob("*") if p.is_file())]
    assert not [p for p in files if token.encode() in p.read_bytes()]
    assert process.poll() is None  # the strangers have done it no harm
    os.kill(process.pid, 15)
    code, out = finish(process, path)
    assert code == 130 and token not in out, out


def readable(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline())
    except psutil.Error:
        return False


def test_every_local_run_has_another_token():
    code = "from runners.launch import auth; auth.use('local'); import os; print(os.environ['RAY_AUTH_TOKEN'])"
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "mine"}
    said = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    tokens = {done.stdout.strip() for done in said}
    assert len(tokens) == 2 and all(len(t) == 64 for t in tokens)


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_a_cluster_without_a_token_is_refused_or_warned_of(no_token, monkeypatch, capsys):
    with pytest.raises(SweepError, match=r"a cluster needs a token.*ray get-auth-token --generate"):
        auth.use("auto")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    auth.use("10.0.0.1:6379")
    assert "can run code as you" in capsys.readouterr().err
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize("place", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "file"])
def test_a_clusters_token_is_taken_from_where_ray_keeps_it(place, no_token, monkeypatch, tmp_path):
    if place == "file":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("t")
    else:
        monkeypatch.setenv(place, "t")
    auth.use("auto")
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ.get("RAY_AUTH_TOKEN") == ("t" if place == "RAY_AUTH_TOKEN" else None)


def test_folders_of_dead_drivers_are_removed_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"sweep-{dead.pid}-abc", f"sweep-{os.getppid()}-abc", "sweep-notes", "sweep-12x-abc"]
    for name in names:
        (tmp_path / name / "inside").mkdir(parents=True)
    (tmp_path / f"sweep-{dead.pid}-file").touch()
    with scratch.folder() as path:
        assert Path(path).is_dir() and Path(path).name.startswith(f"sweep-{os.getpid()}-")
        left = {p.name for p in tmp_path.iterdir()}
    assert left == {*names[1:], f"sweep-{dead.pid}-file", Path(path).name}
    assert not Path(path).exists()
