"""What Ray has to offer: this machine or a cluster, its slots, and whether its nodes can train."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runners.launch import auth

# Ray reads these when it is imported
os.environ.update(
    auth.missing(),
    RAY_AIR_NEW_OUTPUT="0",
    RAY_CHDIR_TO_TRIAL_DIR="0",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",  # ours waits for the current epochs
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0",
)
# one heap for a worker's threads, so that a trial can use what the one before it freed
os.environ.setdefault("MALLOC_ARENA_MAX", "1")
# read in a worker: how long its next trial waits until the one that was stopped has saved its state
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
import ray
from ray import tune as tune  # others import it from here, behind the settings above
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    RayError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.tune.search import Searcher as Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runners import system
from runners.errors import SweepError
from runners.launch import scratch, swallowed
from runners.plan import Config, Resources
from runners.store import Store
from runners.store import identity as names
from runners.trial.datasets import Need

PACKAGE = Path(__file__).parents[2]  # where this product's packages are
JOIN_S = 60.0  # for the workers of a cluster that is just starting
READY_S = 180  # for a node to import torch and to look at the data


_folder = contextlib.ExitStack()  # of the Ray that this process has started
_left: list[contextlib.ExitStack] = []  # of those whose start has failed or was interrupted


def connect(address: str) -> None:
    """Start Ray on this machine, or join the cluster at `address`, unless that was done before.

    Raises:
        SweepError: there is no cluster at that address, it refuses this process's token, or Ray
            cannot start on this machine.
        KeyboardInterrupt: Ctrl-C or SIGTERM came while Ray started.
    """
    if is_connected():
        return
    ours = signal.getsignal(signal.SIGTERM)
    try:
        with swallowed.raised_again():
            if address == "local":
                _start()
            else:
                _join(address)
    except (SystemExit, KeyboardInterrupt):  # the former is Ray's own answer to SIGTERM
        if is_connected():
            disconnect()
        raise KeyboardInterrupt from None
    except (OSError, ValueError, RuntimeError, RayError) as error:
        why = " ".join(str(error).split())[:300]
        if address == "local":
            raise SweepError(
                f"Ray cannot start on this machine: {why}; it needs a local folder with a short "
                "path for its sockets and logs ($RAY_TMPDIR, else /tmp)"
            ) from None
        raise SweepError(
            f"--address {address}: {why}; start one with `ray start --head`, give this process "
            "the token that its nodes have, or leave --address out"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, ours)


def is_connected() -> bool:
    """Whether this process has Ray, its own or a cluster's."""
    return ray.is_initialized()


def _start() -> None:
    """Start Ray on this machine, in a folder that no other user can read.

    With $RAY_TMPDIR set, its logs are where Ray puts them, and stay.
    """
    place: dict[str, Any] = {}
    # Ray itself knows of a container's limits, but not of an affinity or a batch system
    if system.cores() < (os.cpu_count() or 1):
        place["num_cpus"] = system.cores()
    if "RAY_TMPDIR" not in os.environ:
        # a folder in it, since Ray opens its own to all users
        place["_temp_dir"] = str(_folder.enter_context(scratch.folder()) / "ray")
    try:
        _init(address="local", include_dashboard=False, **place)
    except BaseException:
        # Ray's processes end with this one, and write there until then: the next start removes the
        # folder, as it does after a kill
        _left.append(_folder.pop_all())
        raise


def _join(address: str) -> None:
    if re.fullmatch(r"[^/]+:\d+", address):  # Ray itself would try for minutes
        host, port = address.rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=10).close()
    _init(address=address)

    # the head may train nothing, and its workers still be coming up
    deadline = time.monotonic() + JOIN_S
    while not any(node["Resources"].get("CPU") for node in _nodes()):
        if time.monotonic() > deadline:
            return  # fit_resources has the error
        time.sleep(0.5)
    auth.warn_if_open(address, _mode())


def _init(**options: Any) -> None:
    # Ray puts this directory before all others in its workers' search for modules
    here = PACKAGE if hides(Path.cwd()) else Path.cwd()
    with contextlib.chdir(here):
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)


def hides(folder: Path) -> bool:
    """Whether a package of the user's there has the name of one of ours."""
    if folder.resolve() == PACKAGE.resolve():
        return False
    return any((folder / room / "__init__.py").is_file() for room in ("analysis", "runners"))


def _mode() -> str:
    """How the cluster checks who is there, asked of one of its workers.

    A cluster without a token also lets those in who have one: this process's own proves nothing.
    """
    try:
        return ray.get(ray.remote(auth.mode).options(num_cpus=0).remote(), timeout=READY_S)
    except RayError:  # check_nodes will say what is wrong with the node
        return auth.mode()


def disconnect() -> None:
    # an object's last reference that another thread's collection drops while Ray shuts down
    # ends this process at once, with status 1
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()
    _folder.close()


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def fit_resources(resources: Resources) -> Resources:
    """The request with its defaults filled in.

    Raises:
        SweepError: no node of the cluster can ever meet it; Tune would wait for ever.
    """
    nodes = [node["Resources"] for node in _nodes()]
    written = resources.share
    gpu = written if written is not None else float(any(n.get("GPU") for n in nodes))
    for name, wanted, key in (("gpu", gpu, "GPU"), ("cpu", resources.cpu, "CPU")):
        most = max(n.get(key, 0) for n in nodes)
        if wanted > most:
            way = (
                f"use --set resources.{name}={most:g}"
                if most or key == "GPU"
                else "start a worker that joins the cluster"
            )
            raise SweepError(
                f"resources.{name}: a trial asks for {wanted:g}, "
                f"but no node has more than {most:g}; {way}"
            )
    if not any(n.get("GPU", 0) >= gpu and n.get("CPU", 0) >= resources.cpu for n in nodes):
        raise SweepError(
            f"resources: no single node has {gpu:g} GPU and {resources.cpu:g} CPU together; "
            "ask for less of one"
        )
    return Resources(gpu, resources.cpu)


def slots(resources: Resources) -> int:
    """How many trials run at a time on the cluster as it is."""
    nodes = [node["Resources"] for node in _nodes()]
    by_cpu = (n.get("CPU", 0) // resources.cpu for n in nodes)
    share = resources.share
    by_gpu = (n.get("GPU", 0) // share if share else float("inf") for n in nodes)
    return int(sum(min(pair) for pair in zip(by_cpu, by_gpu, strict=True)))


def free(resources: Resources) -> int:
    """How many trials can start now, beside what others run on the cluster, at most."""
    left = ray.available_resources()
    share = resources.share
    by_gpu = [left.get("GPU", 0) // share] if share else []
    # Ray counts below zero for a while where a task that waited goes on
    return int(max(0, min(slots(resources), left.get("CPU", 0) // resources.cpu, *by_gpu)))


def check_nodes(store: Store, needs: Sequence[Need], data_root: str) -> None:
    """Ask every other node whether it reaches the store, has the code, and finds the data.

    Raises:
        SweepError: one does not; names the node and what it lacks.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in _nodes() if node["NodeID"] != here and node["Resources"].get("CPU")]
    if not others:
        return
    ask = ray.remote(lacking)
    arguments = str(store.root), store.identity, [*needs], data_root
    asked = [
        ask.options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote(*arguments)
        for node in others
    ]
    for node, answer in zip(others, asked, strict=True):
        try:
            lacks = ray.get(answer, timeout=READY_S)
        except GetTimeoutError:
            lacks = f"no answer within {READY_S} s"
        except (TaskUnschedulableError, WorkerCrashedError, NodeDiedError):
            continue  # it has just been lost; what joins in its place is asked by its first trial
        except RayError as error:
            reason = next(
                (line.strip() for line in reversed(str(error).splitlines()) if line.strip()),
                type(error).__name__,
            )
            lacks = f"{reason[:300]}; every node needs this code and its packages"
        if lacks:
            raise SweepError(
                f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']}): {lacks}"
            )


def unseen(store: Store, identity: str) -> str:
    """Why this node cannot train for the store of this identity; empty: it can."""
    if names.read(store.files) == identity:
        return ""
    return (
        f"--storage {store.root}: this node does not see the store, or sees another one at that "
        "path; use a folder that all nodes share, or s3://bucket/folder"
    )


def lacking(storage: str, identity: str, needs: list[Need], data_root: str) -> str:
    """What this node lacks for training; empty: nothing."""
    try:
        store = Store(storage)
        if blind := unseen(store, identity):
            return blind
        mark = f"nodes/{socket.gethostname()}-{os.getpid()}"
        store.files.write(mark, b"")
        store.files.delete(mark)
        from runners import data

        for name, options, own in needs:
            config = Config(backbone="", dataset=name, dataset_options=options)
            data.images(config, store.fetch_own(own), data_root, store.cache)
    except (SweepError, ValueError, OSError) as error:
        return " ".join(str(error).split())
    return ""
