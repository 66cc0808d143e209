"""How many trials train at a time, found by measuring: `resources: {gpu: auto}`.

On a GPU 1, 2, 4 or 8 trials share it, as far as their memory fits. Without one the machine's cores
are split among trials of 1, 2, 4, ... threads. The networks train for seconds in each packing, as
many processes at a time as there will be (runners/trial/pace.py). What was chosen is remembered on
this machine: on a CPU the number of threads decides the order of sums, and a trial that is gone on
with should have the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runners import estimate
from runners.errors import SweepError
from runners.plan import Config, Sweep
from runners.store import cache
from runners.system import cores
from runners.trial import pace
from runners.trial.measured import Measured, code
from runners.trial.provenance import processor

ON_A_GPU = (1, 2, 4, 8)
PROCESS_MIB = 600  # of a GPU, for CUDA's context and its libraries' workspaces in a process
NETWORKS = 3  # that are measured: the cheapest, the dearest and one between
MOST = 32  # trials at a time that are tried: each takes a process while it is measured
UNKNOWN = (
    "packing: nothing could be measured (`compile: true` is not); one trial on each GPU, or on "
    "each core where there is none"
)
GAIN = 1.05  # a packing of more trials must be so much faster than one of fewer


@dataclass(frozen=True)
class Packing:
    """`trials` at a time, on each GPU or on the machine, with so many threads each."""

    trials: int
    threads: int

    @property
    def said(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        if self.trials == 1:
            return f"1 trial at a time, of {threads}"
        return f"{self.trials} trials at a time, of {threads} each"


def resolved(sweep: Sweep, measures: dict[str, Measured], *, here: bool) -> tuple[Sweep, str]:
    """The sweep with numbers in place of `gpu: auto`, and what they rest on; "" where it had some.

    Args:
        measures: of every variant's network.
        here: this machine trains the trials.

    Raises:
        SweepError: a cluster trains them, whose machines this one cannot measure.
    """
    if sweep.resources.gpu != "auto":
        return sweep, ""
    if not here:
        raise SweepError(
            f"{sweep.path}: resources.gpu: auto measures this machine, and --address names a "
            "cluster; use a number, such as --set resources.gpu=0.5"
        )
    gpus, written = pace.gpus(), sweep.resources.cpu
    if not gpus and written != 1:
        numbers = replace(sweep.resources, gpu=0.0)
        return replace(sweep, resources=numbers), f"packing: by resources.cpu: {written:g}"
    memory, key = cache.Memory("packings", code()), _key(sweep, measures, gpus)
    if not (known := memory.get(key)):
        if not (known := _measured(sweep, measures, len(gpus))):
            return replace(sweep, resources=replace(sweep.resources, gpu=None)), UNKNOWN
        memory.put(key, known)
    trials, threads, said = known
    share = 1 / trials if gpus else 0.0
    numbers = replace(sweep.resources, gpu=share, cpu=written if gpus else threads)
    return replace(sweep, resources=numbers), said


def _key(sweep: Sweep, measures: dict[str, Measured], gpus: list[str]) -> str:
    """Of what is remembered: the same for one sweep, however many seeds and variants are asked for,
    so long as its dearest network is the same.
    """
    dearest = _ranked(sweep, measures)[-1:]
    networks = [pace.Network.of(sweep.variants[v], sweep.own(sweep.variants[v])) for v in dearest]
    key = [network.key for network in networks]
    return json.dumps([gpus or processor(), cores(), sweep.resources.cpu, sweep.name, key])


def _measured(
    sweep: Sweep, measures: dict[str, Measured], gpus: int
) -> tuple[int, int, str] | None:
    """The packing that ends the sweep first: its trials, their threads, and a line about it; None
    where nothing could be measured.
    """
    chosen = _chosen(sweep, measures)
    if not chosen:
        return None
    networks = {v: pace.Network.of(sweep.variants[v], sweep.own(sweep.variants[v])) for v in chosen}
    found: dict[Packing, dict[str, float]] = {}
    for packing in candidates(sweep, measures, gpus):
        asked = [*networks.values()], packing.trials, packing.threads, gpus > 0
        paces = pace.paces(*asked, together=True)
        # a network that does not fit beside others could not be measured
        if all(network.key in paces for network in networks.values()):
            found[packing] = {v: paces[network.key] for v, network in networks.items()}
    best, least = None, 0.0
    for packing, paces in sorted(found.items(), key=lambda item: item[0].trials):
        seconds = _seconds(sweep, measures, paces, packing.trials * max(1, gpus))
        if best is None or seconds * GAIN < least:
            best, least = packing, seconds
    if best is None:
        return None
    rates = {packing: _together(paces, packing.trials) for packing, paces in found.items()}
    others = [f"{p.said}: {rate:,.0f}" for p, rate in rates.items() if p != best]
    where = " on each GPU" if gpus else ""
    line = f"packing: {best.said}{where}: {rates[best]:,.0f} images/s in all, as measured here"
    return best.trials, best.threads, line + (f" ({'; '.join(others)})" if others else "")


def candidates(sweep: Sweep, measures: dict[str, Measured], gpus: int) -> list[Packing]:
    """What is possible on this machine and not more than the trials need, the fewest first."""
    usable, cpu, threads = cores(), sweep.resources.cpu, sweep.resources.threads
    if gpus:
        there = estimate.gpu_mib() or float("inf")
        each = max(found.train_mib for found in measures.values()) + PROCESS_MIB
        found = [Packing(n, threads) for n in ON_A_GPU if n * each <= there]
        found = [packing for packing in found if packing.trials * gpus * cpu <= usable]
    else:
        split = {usable, *(2**i for i in range(usable.bit_length()))}
        found = [Packing(usable // each, each) for each in sorted(split, reverse=True)]
    # eight at a time are all of six trials, and sixteen would be no more
    most = MOST if sweep.search else min(MOST, (2 * len(sweep.distinct) - 1) // max(1, gpus))
    return [packing for packing in found if packing.trials <= most] or [Packing(1, threads)]


def _chosen(sweep: Sweep, measures: dict[str, Measured]) -> list[str]:
    """The variants whose networks are measured."""
    ranked = _ranked(sweep, measures)
    if len(ranked) <= NETWORKS:
        return ranked
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]]


def _ranked(sweep: Sweep, measures: dict[str, Measured]) -> list[str]:
    """The variants by their multiply-adds, but for those whose pace cannot be measured."""
    possible = [v for v in measures if not sweep.variants[v].compile]
    return sorted(possible, key=lambda v: measures[v].counts["macs"])


def _seconds(
    sweep: Sweep, measures: dict[str, Measured], paces: dict[str, float], at_a_time: int
) -> float:
    """Of the sweep's trials for one image an epoch, relative to those of other packings."""

    def of(variant: str, config: Config) -> float:
        macs = measures[variant].counts["macs"]
        near = min(paces, key=lambda v: abs(measures[v].counts["macs"] - macs))
        return config.epochs * macs / measures[near].counts["macs"] / paces[near]

    trials: Sequence[float] = [of(t.variant, t.config) for t in sweep.distinct]
    if sweep.search:  # its trials are not known yet, and there are many
        trials = [of(v, c) for v, c in sweep.variants.items()] * sweep.search.written.trials
    return estimate.Estimate(at_a_time, [*trials]).end(len(trials)) - estimate.START_S


def _together(paces: dict[str, float], trials: int) -> float:
    """Images a second of all trials at a time, each network given the same number of images."""
    return trials * len(paces) / sum(1 / pace for pace in paces.values())
