"""How fast networks train on this machine, measured for seconds before anything is launched.

Each network trains on random images of its data's shape, in a process apart: the plan needs no
torch. Several processes measure at a time, as trials will run at a time on the machine or on one of
its GPUs: they take memory bandwidth and kernels' time from each other.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners import data
from runners.plan import NETWORK, Config, Own, Trial
from runners.store import cache
from runners.trial.abreast import Start
from runners.trial.measured import code
from runners.trial.provenance import processor

if TYPE_CHECKING:
    from runners.data.dataset import Dataset
    from runners.trial.training import Training

PROBE = 4  # images of a first batch, which says how many a measured one can have
STEP_S = 0.3  # larger batches are measured until a step takes so long
STEPS = 3  # in a measured epoch
BUDGET_S = 20.0  # of processor time for all networks of a plan; those beyond it are left out
TIMEOUT_S = 300.0
WINDOW_S = 1.5  # for which networks are measured beside each other
# besides the network, what decides how long a step takes
STEP = ("batch_size", "optimizer", "precision", "augment", "drop_channels")
GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Network:
    """What is measured: a config, the user's files that it needs, and the shape of its data."""

    config: Config
    own: Own
    classes: int
    image: tuple[int, int, int]

    @classmethod
    def of(cls, config: Config, own: Own) -> Network:
        return cls(config, own, *data.shape(config.dataset, own.data))

    @property
    def key(self) -> str:
        said = {name: getattr(self.config, name) for name in (*NETWORK, *STEP)}
        return json.dumps([said, self.classes, self.image], sort_keys=True)


def gpus() -> list[str]:
    """The models of the NVIDIA GPUs that this process may use, as their driver names them."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for place in sorted(GPUS.glob("*/information")):
            found += [line for line in place.read_text().splitlines() if line.startswith("Model")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    # by their numbers, or by names that the driver's files do not have; another word ends the list
    names = visible.split(",")
    by_number = itertools.takewhile(lambda n: n.isdecimal() and int(n) < len(found), names)
    if numbers := dict.fromkeys(by_number):
        return [found[int(number)] for number in numbers]
    return found[: len([*itertools.takewhile(lambda n: n.startswith(("GPU-", "MIG-")), names)])]


def paces(
    networks: Sequence[Network], abreast: int, threads: int, gpu: bool, *, together: bool = False
) -> dict[str, float]:
    """Images a second in training by each network's key, as remembered or measured now.

    A network that cannot be trained here, or not in the time that a plan may take, is left out.

    Args:
        abreast: how many trials run at a time, on the machine or on one GPU.
        threads: of each on a CPU.
        together: they wait for each other, and are measured for longer.
    """
    where = [gpus() if gpu else processor(), abreast, threads, *(["together"] * together)]
    place = json.dumps(where)
    memory, known, new = cache.Memory("paces", code()), {}, {}
    for network in networks:
        found = memory.get(f"{place} {network.key}")
        # a user's file may import what has changed
        if found and not (network.own.conv or network.own.backbone or network.own.stem):
            known[network.key] = found
        # what compiling takes is not a step's
        elif not network.config.compile:
            new[network.key] = network
    for key, pace in _measured([*new.values()], abreast, threads, gpu, together).items():
        known[key] = pace
        memory.put(f"{place} {key}", pace)
    return known


def _measured(
    networks: list[Network], abreast: int, threads: int, gpu: bool, together: bool = False
) -> dict[str, float]:
    """In processes apart, all at a time; the median of what they found."""
    if not networks:
        return {}
    line = [sys.executable, "-m", "runners.trial.pace"]
    # the package may be a folder on the path of this process alone
    paths = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
    quiet: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    quiet |= {"stderr": subprocess.DEVNULL, "env": environment, "text": True}
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="sweeps-pace-"))
        waiting = abreast if together else 1
        asked = [threads, gpu, place, waiting, [asdict(network) for network in networks]]
        processes = []
        for _ in range(abreast):
            process = stack.enter_context(subprocess.Popen(line, **quiet))
            stack.callback(process.kill)
            assert process.stdin
            process.stdin.write(json.dumps(asked))
            process.stdin.close()
            process.stdin = None
            processes.append(process)
        answers: list[dict[str, float]] = []
        for process in processes:
            try:
                answers.append(json.loads(process.communicate(timeout=TIMEOUT_S)[0]))
            except (ValueError, subprocess.TimeoutExpired):
                return {}  # beside fewer than were asked for
    common = set.intersection(*map(set, answers))
    return {key: statistics.median(answer[key] for answer in answers) for key in common}


def main() -> None:
    """Measure the networks that standard input names; print the pace of each by its key."""
    import torch

    answer = os.dup(1)
    # a user's file may print what it likes
    os.dup2(2, 1)
    threads, gpu, place, waiting, asked = json.load(sys.stdin)
    torch.set_num_threads(threads)
    found: dict[str, float] = {}
    for n, network in enumerate(_networks(asked)):
        start = Start(Path(place) / str(n), waiting)
        # what fails here fails in the check of the networks too, which says why
        with contextlib.suppress(Exception):
            if time.process_time() / threads > BUDGET_S:
                raise TimeoutError
            found[network.key] = measure(network, "cuda" if gpu else "cpu", start)
        start.leave()
    with open(answer, "w", encoding="utf-8") as out:
        json.dump(found, out)


def _networks(asked: list[dict[str, Any]]) -> Iterator[Network]:
    for said in asked:
        own = said["own"]
        measures = own["data"] and data.Data(**own["data"] | {"image": tuple(said["image"])})
        config = Config(**said["config"] | {"milestones": tuple(said["config"]["milestones"])})
        yield Network(
            config, Own(**own | {"data": measures}), said["classes"], tuple(said["image"])
        )


def measure(network: Network, device: str, start: Start | None = None) -> float:
    """Images a second in training.

    Measured in batches that grow until a step of the next would take more than STEP_S; from there
    along the line through the last two, since a step's cost has a part of its own, whatever the
    batch: the optimizer's. Several processes then train the last batch together for a while, and
    the pace is less by as much as that took longer.

    Raises:
        TimeoutError: another of these processes cannot measure the network.
    """
    whole = network.config.batch_size
    batches = [min(PROBE, whole)]
    seconds = [_step(network, batches[0], device)]
    while batches[-1] < whole and seconds[-1] < STEP_S:
        larger = min(4 * batches[-1], whole)
        if len(batches) > 1 and _at(larger, batches, seconds) > STEP_S:
            break
        batches.append(larger)
        seconds.append(_step(network, larger, device))
    slower = 1.0
    if start and start.processes > 1:
        training = _training(network, batches[-1], device)
        start.wait()
        beside, until = [], time.perf_counter() + WINDOW_S
        while not beside or time.perf_counter() < until:
            beside.append(_timed(training))
        slower = statistics.median(beside) / seconds[-1]
    return whole / (_at(whole, batches, seconds) * slower)


def _at(batch: int, batches: list[int], seconds: list[float]) -> float:
    """A step's seconds at that batch, on the line through the last two of the measured ones."""
    if len(batches) == 1:
        return seconds[0] * batch / batches[0]
    rise = max((seconds[-1] - seconds[-2]) / (batches[-1] - batches[-2]), 0.0)
    return seconds[-1] + rise * (batch - batches[-1])


def _training(network: Network, batch: int, device: str) -> Training:
    """Of batches of this size, an epoch of them trained to warm up."""
    from runners.trial.training import Training

    config = replace(network.config, batch_size=batch, val_fraction=0.0, epochs=2)
    trial = Trial("", "", config, 0, network.own)
    training = Training(trial, _random(network, batch * STEPS), device)
    training.epoch(0)
    return training


def _step(network: Network, batch: int, device: str) -> float:
    """Seconds of a training step, over an epoch after one that warms up."""
    return _timed(_training(network, batch, device))


def _timed(training: Training) -> float:
    """Seconds of a training step, over an epoch.

    On a CPU of processor time, a share of it for each thread: another program may use the machine
    now, and not when the sweep runs.
    """
    import torch

    before = time.process_time()
    epoch = training.epoch(1)
    processor = (time.process_time() - before) / torch.get_num_threads()
    return (epoch.seconds if training.device.type == "cuda" else processor) / STEPS


def _random(network: Network, n: int) -> Dataset:
    """n random images to train on, in the shape of the network's data and augmented like it."""
    import torch

    from runners.data.dataset import Dataset, Split
    from runners.data.source import find

    config, (channels, height, width) = network.config, network.image
    source = find(config.dataset, network.own.dataset, config.dataset_options)
    generator = torch.Generator().manual_seed(0)
    size = n, height, width, channels
    images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, network.classes, (n,), generator=generator)
    split = Split(images, labels)
    return Dataset(
        name=config.dataset,
        classes=network.classes,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        pad=source.setting("PAD"),
        flip=source.setting("FLIP"),
        train=split,
        val=split.subset(torch.arange(0)),
        test=split.subset(torch.arange(0)),
        digest="",
        train_digest="",
    )


if __name__ == "__main__":
    main()
