"""A Ray cluster of two nodes on this machine, one of which can be lost."""

import contextlib
import os
import signal
import socket

import psutil

import runners.launch.cluster  # noqa: F401 - before Ray is imported


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nodes:
    """A head and, until it is lost, a second node, with one CPU each.

    They have this process's token, unless they are to run in another `mode`.
    """

    def __init__(self, second: bool = True, mode: str = "token"):
        from ray._raylet import Config
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "dashboard_port": free_port()}
        # Ray's processes read the environment when they start, this one did long ago
        own, os.environ["RAY_AUTH_MODE"] = os.environ["RAY_AUTH_MODE"], mode
        Config.initialize("")
        try:
            self.cluster = Cluster(initialize_head=True, head_node_args=head)
        finally:
            os.environ["RAY_AUTH_MODE"] = own
            Config.initialize("")
        self.address = self.cluster.address
        self.node = self.cluster.add_node(num_cpus=1) if second else None

    @property
    def alive(self) -> int:
        return len(self.cluster.global_state._live_node_ids())

    def lose(self, *, workers: bool = True) -> None:
        """The second node's plug is pulled; without `workers` its raylet alone dies, and what it
        had started trains on.
        """
        assert self.node
        raylet = psutil.Process(next(p.process.pid for p in self.node.all_processes["raylet"]))
        for process in [raylet, *(raylet.children(recursive=True) if workers else ())]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.cluster.worker_nodes.discard(self.node)
        self.node = None

    def replace(self) -> None:
        if self.node is None:
            self.node = self.cluster.add_node(num_cpus=1)

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self.cluster.shutdown()
