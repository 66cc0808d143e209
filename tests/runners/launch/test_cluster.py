"""A cluster of two nodes on this machine: a node that cannot train is named before anything is
launched, and one that is lost costs nothing.
"""

import gc
import os
import shutil
import subprocess
import sys

import pytest
import torch

from runners.launch import cluster
from runners.plan import PACKAGE, load
from runners.store import Store
from runners.trial.run import run
from tests.nodes import Nodes
from tests.runners.test_sweep import finish, mlflow_runs, start, wait_for


@pytest.fixture
def nodes():
    """nodes(second node or not) -> a cluster."""
    started = []

    def start_nodes(second: bool) -> Nodes:
        started.append(Nodes(second))
        return started[-1]

    yield start_nodes
    for each in started:
        each.stop()


def test_a_node_says_what_it_lacks(tmp_path):
    store = Store(tmp_path / "runs")
    assert cluster.lacking(str(store.root), store.identity, [("synthetic", {}, PACKAGE)], "") == ""
    assert "this node does not see the store" in cluster.lacking(
        str(tmp_path / "elsewhere"), store.identity, [], ""
    )
    assert not (tmp_path / "elsewhere").exists()
    assert "sees another one at that path" in cluster.lacking(str(store.root), "another", [], "")
    assert "dataset 'imagenet' is not in" in cluster.lacking(
        str(store.root), store.identity, [("imagenet", {}, PACKAGE)], str(tmp_path)
    )
    left = {p.name for p in (tmp_path / "runs").rglob("*") if p.is_file()}
    assert left == {"identity", ".identity"}


def test_no_thread_collects_garbage_while_ray_shuts_down(monkeypatch):
    # what it drops then ends the process with status 1, behind a finished sweep
    seen = []
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: seen.append(gc.isenabled()))
    cluster.disconnect()
    assert seen == [False] and gc.isenabled()


def test_a_node_that_is_just_being_lost_is_no_reason_to_refuse(tmp_path, monkeypatch):
    dead = {
        "NodeID": "a" * 56,
        "NodeManagerAddress": "192.0.2.1",
        "NodeManagerHostname": "gone",
        "Alive": True,
        "Resources": {"CPU": 1.0},
    }
    cluster.connect("local")
    try:
        alive = cluster.ray.nodes()
        monkeypatch.setattr(cluster.ray, "nodes", lambda: [*alive, dead])
        cluster.check_nodes(Store(tmp_path / "runs"), [("synthetic", {}, PACKAGE)], "")
    finally:
        cluster.disconnect()


MOUNT = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
APART = (
    shutil.which("unshare") is not None
    and subprocess.run(MOUNT, capture_output=True).returncode == 0
)


@pytest.mark.skipif(
    not APART, reason="giving a node a disk of its own takes root, and a machine that lets it mount"
)
def test_a_node_with_a_disk_of_its_own_is_refused_before_anything_runs(
    nodes, write_sweep, tmp_path
):
    path, head = write_sweep(), nodes(False)
    (tmp_path / "runs").mkdir()
    join = f"mount -t tmpfs none {tmp_path}/runs && exec ray start --address={head.address} --num-cpus=1 --block"
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    apart = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", join],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        code, out = 0, ""
        wait_for(lambda: head.alive == 2 or apart.poll() is not None)
        assert apart.poll() is None, "the second node did not start (unshare may be forbidden here)"
        code, out = finish(start(path, "--address", head.address), path)
    finally:
        apart.terminate()
    assert (
        code == 2
        and "use a folder that all nodes share, or s3://bucket/folder" in out
        and "Traceback" not in out
    ), out
    assert not (tmp_path / "runs" / "trials").exists()


def test_a_lost_node_costs_its_trials_the_epoch_under_way(nodes, write_sweep, tmp_path):
    both = nodes(True)
    path = write_sweep(base={"epochs": 12}, seeds=2)
    store, trials = Store(tmp_path / "runs"), load(path).trials
    process = start(path, "--address", both.address)
    wait_for(lambda: sum(store.started(t.id) for t in trials) >= 2 or process.poll() is not None)
    both.lose(workers=False)  # its Ray alone: its worker is an orphan that must let go of its trial
    both.replace()
    wait_for(lambda: sum(store.ended(t.id) for t in trials) >= 2 or process.poll() is not None)
    both.lose()  # the plug is pulled
    code, out = finish(process, path)
    assert code == 0 and "4 of 4 trials finished" in out, out
    assert mlflow_runs(path) == {t.name: ("FINISHED", [*range(1, 13)], 1) for t in trials}
    undisturbed = Store(tmp_path / "undisturbed")
    for trial in trials:
        list(run(trial, undisturbed, device="cpu"))
        got, want = (
            torch.load(s.folder(trial.id) / "weights.pt", weights_only=True)
            for s in (store, undisturbed)
        )
        assert all(torch.equal(got[k], want[k]) for k in want), trial.name
