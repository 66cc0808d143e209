"""How long the trials of a plan will take, and from what that is known."""

from __future__ import annotations

import math
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from runners import data, system
from runners.launch.console import duration
from runners.plan import Config, Sweep, Trial
from runners.search.queue import longest_first
from runners.store import Record, Store
from runners.trial.measured import Measured
from runners.trial.pace import Network, gpus, paces

# of Ray, of the first workers and of the report; seen on two cores
START_S = 20.0
# an image costs a third as much in evaluation as in training: forward alone
EVALUATED = 1 / 3
ABREAST = 8  # processes that measure a pace at a time, at most
DECODERS = 8  # processes that decode images for one GPU; with fewer it waits
SLOWER = 1.1  # from here on, more time than the baseline's with fewer multiply-adds is said


@dataclass(frozen=True)
class Estimate:
    """Seconds of one start of the command, of which `at_a_time` trials run side by side.

    `trials` has each trial's seconds in the order in which they start, and `whole` what they would
    be without the epochs that the store has already. `measured`, `recorded` and
    `guessed` are the variants whose pace is known from a measurement, from finished trials, and
    from other variants' multiply-adds.
    """

    at_a_time: int
    trials: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    relative: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.end(len(self.trials))

    def end(self, n: int) -> float:
        """When the first n trials have ended: each starts on the slot that is free first."""
        slots = [START_S] * self.at_a_time
        for seconds in self.trials[:n]:
            first = slots.index(min(slots))
            slots[first] += seconds
        return max(slots)

    def within(self, seconds: float) -> int:
        """How many trials end in that time."""
        return sum(self.end(n) <= seconds for n in range(1, len(self.trials) + 1))


def slots(sweep: Sweep) -> tuple[int, bool]:
    """How many trials run at a time on this machine, and whether on its GPUs; 0: none can."""
    found, wanted = len(gpus()), sweep.resources
    share = wanted.share if wanted.share is not None else float(found > 0)
    cores = max(1, int(system.cores() // wanted.cpu))
    if not share:
        return cores, False
    return min(cores, int(found / share)), True


def estimate(
    sweep: Sweep,
    store: Store,
    root: str,
    measures: dict[str, Measured],
    to_run: Sequence[Trial],
    records: dict[str, Record],
    *,
    measure: bool,
) -> Estimate | None:
    """The time of the trials to run; None where their data is not there or nothing can be measured.

    Args:
        root: the folder of the data sets.
        measure: networks without a finished trial on this machine, for some seconds each.
    """
    if not to_run:
        return None
    at_a_time, gpu = slots(sweep)
    per_epoch = _recorded(records, sweep)
    recorded = [*per_epoch]
    wanted = {t.variant: t.config for t in to_run if t.variant not in per_epoch}
    if measure and at_a_time:
        networks = {v: Network.of(c, sweep.own(c)) for v, c in wanted.items()}
        try:
            per_epoch |= _measured(sweep, store, root, networks, at_a_time, gpu)
        except ValueError:
            return None
    if not per_epoch:
        return None
    measured = [v for v in wanted if v in per_epoch]
    guessed = [v for v in wanted if v not in per_epoch]
    by_macs = statistics.median(s / measures[v].counts["macs"] for v, s in per_epoch.items())
    per_epoch |= {v: by_macs * measures[v].counts["macs"] for v in guessed}
    to_run = longest_first(to_run, lambda t: per_epoch[t.variant] * t.config.epochs)
    return Estimate(
        max(1, at_a_time),
        [per_epoch[t.variant] * (t.config.epochs - _behind(t, store)) for t in to_run],
        [per_epoch[t.variant] * t.config.epochs for t in to_run],
        measured,
        [v for v in recorded if any(t.variant == v for t in to_run)],
        guessed,
        _relative(sweep, measures, {v: per_epoch[v] for v in (*recorded, *measured)}),
    )


def _behind(trial: Trial, store: Store) -> int:
    """How many of the trial's epochs the store has, in a checkpoint or a stable part to share."""
    if at := store.progress(trial.id):
        return at.epoch
    return store.stable_epochs(trial)


def _measured(
    sweep: Sweep,
    store: Store,
    root: str,
    networks: dict[str, Network],
    at_a_time: int,
    gpu: bool,
) -> dict[str, float]:
    """variant -> seconds of an epoch, of those networks that could be measured.

    Raises:
        ValueError: the data is not there.
    """
    images = {}
    for variant, network in networks.items():
        images[variant] = data.images(network.config, network.own, root, store.cache)[0]
    threads = sweep.resources.threads
    abreast = min(ABREAST, math.ceil(at_a_time / len(gpus())) if gpu else at_a_time)
    known = paces([*networks.values()], abreast, threads, gpu) if networks else {}
    return {
        variant: _epoch(network.config, images[variant]) / known[network.key]
        for variant, network in networks.items()
        if network.key in known
    }


def _epoch(config: Config, n: int) -> float:
    """Images of an epoch, those of the validation counted by what they cost."""
    held_out = round(config.val_fraction * n)
    return n - held_out + held_out * EVALUATED


def _recorded(records: dict[str, Record], sweep: Sweep) -> dict[str, float]:
    """variant -> seconds of an epoch, the median over its finished trials."""
    found: dict[str, list[float]] = {}
    for trial in sweep.trials:
        record = records.get(trial.id)
        if record and record.result:
            found.setdefault(trial.variant, []).extend(e.seconds for e in record.epochs)
    return {variant: statistics.median(seconds) for variant, seconds in found.items()}


def _relative(
    sweep: Sweep, measures: dict[str, Measured], per_epoch: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """variant -> (its time, its multiply-adds), as parts of the baseline's, where more time goes
    with fewer multiply-adds.
    """
    found = {}
    base, counts = per_epoch.get(sweep.baseline), measures[sweep.baseline].counts
    for variant, seconds in per_epoch.items():
        if not base or sweep.variants[variant].dataset != sweep.variants[sweep.baseline].dataset:
            continue
        time, macs = seconds / base, measures[variant].counts["macs"] / counts["macs"]
        if time > SLOWER and macs < 1:
            found[variant] = time, macs
    return found


def lines(found: Estimate | None, hours: float | None) -> list[str]:
    """The estimate for a person."""
    if found is None:
        return ["time: known where the data and the GPUs are that it asks for"]
    said = f"time: about {duration(found.seconds)}, {found.at_a_time} trials at a time"
    sources = []
    if found.recorded:
        sources.append("from finished trials of " + ", ".join(found.recorded))
    if found.measured:
        sources.append("measured on this machine: " + ", ".join(found.measured))
    if found.guessed:
        sources.append("by multiply-adds: " + ", ".join(found.guessed))
    text = [f"{said} ({'; '.join(sources)})" if sources else said]
    if hours and found.seconds > hours * 3600:
        n = found.within(hours * 3600)
        text.append(
            f"limits.hours: {hours:g} ends this start after about {n} of {len(found.trials)} "
            "trials; the same command continues"
        )
    for variant, (time, macs) in found.relative.items():
        text.append(
            f"note: {variant} has {macs:.2f} of the baseline's multiply-adds and takes {time:.2f} "
            "of its time here: narrow layers cost more than their count says"
        )
    return text


def memory(sweep: Sweep, measures: dict[str, Measured]) -> list[str]:
    """A line where the trials that share a GPU need more memory than it has."""
    share = 1.0 if sweep.resources.share is None else sweep.resources.share
    there = gpu_mib() if share else None
    if there is None:
        return []
    together = max(1, int(1 / share))
    variant = max(measures, key=lambda name: measures[name].train_mib)
    needed = together * measures[variant].train_mib
    if needed <= there:
        return []
    trials = f"{together} trials" if together > 1 else "a trial"
    return [
        f"memory: {trials} of {variant} on a GPU need {needed:,.0f} MiB in 32 bits for a step, and "
        f"it has {there:,.0f}; use a larger resources.gpu, or a smaller batch_size"
    ]


def decoding(sweep: Sweep) -> list[str]:
    """A line where so few processes decode images for a GPU that it would wait for them."""
    share = sweep.resources.share if sweep.resources.share is not None else float(bool(gpus()))
    data = [sweep.own(config).data for config in sweep.variants.values()]
    # of arrays, which are in memory, both are the same
    read = any(found and found.contents not in ("", found.digest) for found in data)
    processes = sweep.resources.threads
    if not (share and read) or processes / share >= DECODERS:
        return []
    said = "1 process decodes" if processes == 1 else f"{processes} processes decode"
    return [
        f"decoding: {said} the images of each trial while it trains, a few hundred a second each, "
        "and a GPU would wait for them; raise resources.cpu to "
        f"{math.ceil(DECODERS * share)} where there are so many cores"
    ]


def gpu_mib() -> float | None:
    """The memory of this machine's smallest GPU, in MiB; None without one."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        return min(float(line) for line in said.splitlines())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
