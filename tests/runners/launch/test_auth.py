"""Ray is closed to strangers: a local sweep has a token of its own, a cluster one of its nodes."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import psutil
import pytest

from runners.errors import SweepError
from runners.launch import auth, cluster, scratch
from runners.plan import load
from runners.store import Store
from tests.nodes import Nodes
from tests.runners.test_sweep import finish, start, wait_for

pytestmark = pytest.mark.slow

MODE, TOKEN, PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

# a convolution whose first training step waits for a file
GATED = """
import pathlib, time
from torch import nn

class Gated(nn.Conv2d):
    def forward(self, x):
        while self.training and x.device.type != "meta" and not pathlib.Path(self.gate).exists():
            time.sleep(0.05)
        return super().forward(x)

def drop_in(conv, *, gate=""):
    new = Gated(conv.in_channels, conv.out_channels, 1, conv.stride, bias=False)
    new.gate = gate
    return new
"""

JOIN = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR'); print('joined')"


def join(address: str, **environment: str) -> subprocess.Popen:
    """Another process, with none of this one's settings of Ray, tries to join."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    # without this it would not even find the port
    clean["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, address],
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def listening(process: psutil.Process) -> dict[str, set[str]]:
    """Name of a program of the process's tree -> the addresses that it listens on."""
    found: dict[str, set[str]] = {}
    for each in [process, *process.children(recursive=True)]:
        ports = [c.laddr for c in each.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        found.setdefault(each.name(), set()).update(f"{ip}:{port}" for ip, port in ports)
    return found


def holding(secret: str, *roots: Path) -> list[str]:
    """Files below the roots, and command lines of this machine, with the secret in them."""
    files = [p for root in roots for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
    found = [str(p) for p in files if secret.encode() in p.read_bytes()]
    for process in psutil.process_iter(["cmdline"]):
        if secret in " ".join(process.info["cmdline"] or []):
            found.append(str(process))
    return found


def test_a_stranger_is_refused_and_the_token_is_nowhere(write_sweep, tmp_path, monkeypatch):
    # the user's own settings, which are for other clusters
    monkeypatch.setenv(MODE, "disabled")
    monkeypatch.setenv(TOKEN, "of-the-user")
    monkeypatch.setenv(PATH, str(tmp_path / "none"))
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("of-the-user")
    (tmp_path / "gated.py").write_text(GATED)
    gated = {"conv": "gated", "options": {"gate": str(tmp_path / "gate")}}
    path = write_sweep(variants={"R20": {}, "gated": gated}, seeds=1, resources={"gpu": 0})
    trials, store = load(path).trials, Store(tmp_path / "runs")
    process = start(path)
    wait_for(lambda: any(store.ended(t.id) for t in trials) or process.poll() is not None)

    driver = psutil.Process(process.pid)
    server = next(p for p in driver.children(recursive=True) if "gcs_server" in p.name())
    token = server.environ()[TOKEN]
    folders = [Path(f.path).parent for f in driver.open_files() if scratch.OWNED in f.path]
    assert len(folders) == 2 and any([*f.glob("ray/session_*/logs")] for f in folders)
    assert all(f.stat().st_mode & 0o077 == 0 for f in folders), "other users can read Ray's logs"
    assert len(token) == 64 and server.environ()[MODE] == "token"
    addresses = listening(driver)
    assert all(a.startswith(("127.", "::1", "::ffff:127.")) for s in addresses.values() for a in s)
    (gcs,) = (a for a in addresses[server.name()] if a)
    gcs = "127.0.0.1:" + gcs.rsplit(":", 1)[1]

    without = join(gcs, **{MODE: "disabled"})
    wrong = join(gcs, **{MODE: "token", TOKEN: 32 * "ab"})
    for stranger in (without, wrong):
        said, _ = stranger.communicate(timeout=600)
        assert stranger.returncode != 0 and "joined" not in said, said
        assert "ConnectionError" in said, said
    assert process.poll() is None, "the sweep was to be running while the strangers tried"
    assert holding(token, *folders, tmp_path) == []
    # the same attempt succeeds with the token
    assert "joined" in join(gcs, **{MODE: "token", TOKEN: token}).communicate()[0]

    (tmp_path / "gate").touch()
    code, out = finish(process, path)
    assert code == 0 and "2 of 2 trials finished" in out and "Ray ended" not in out, out
    assert holding(token, tmp_path) == [] and not any(f.exists() for f in folders)


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


@pytest.mark.parametrize("mode, warned", [("disabled", True), ("token", False)])
def test_a_cluster_that_was_started_without_a_token_is_found_out(mode, warned, capsys):
    """This process has a token in either case."""
    nodes = Nodes(second=False, mode=mode)
    try:
        cluster.connect(nodes.address)
        cluster.disconnect()
    finally:
        nodes.stop()
    assert ("was started without a token" in capsys.readouterr().err) == warned
