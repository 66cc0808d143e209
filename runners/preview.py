"""What a sweep would do: its trials, its networks with their cost, its search; for `--plan`."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

from analysis import report
from runners.plan import Sweep, Trial, reference
from runners.search import searching as search
from runners.store import Record, State, Store
from runners.trial import conditions
from runners.trial.datasets import changed_since
from runners.trial.measured import Measured
from runners.trial.networks import known_cost, networks

CHECK_S = 30  # seconds that the networks of a search space are built for at most
HEADERS = [
    *("variant", "replaced", "params M", "MACs M", "train MiB"),
    *("paper FLOPs M (ours)", "(printed)"),
]


def preview(
    sweep: Sweep, store: Store, records: dict[str, Record], to_run: list[Trial], as_json: bool
) -> str:
    """The plan for a reader or, as JSON, for programs.

    Args:
        records: of the trials that have ended.
        to_run: the trials that would be trained, or evaluated.

    Raises:
        SweepError: a network cannot be built, or two variants are the same one.
    """
    measures = networks(sweep)
    variants = _variants(sweep, measures)
    evaluate = [t for t in to_run if (r := records.get(t.id)) and r.result]
    to_run = [t for t in to_run if t not in evaluate]
    if as_json:
        plan = _for_programs(sweep, store, records, to_run, variants)
        plan["evaluation"] = {
            "conditions": [c.name for c in conditions.check(sweep)],
            "to_evaluate": len(evaluate),
        }
        return json.dumps(plan, indent=1)
    lines = [sweep.question, "", _table(variants)]
    if sweep.search:
        lines += _search_plan(sweep, store)[1]
        if not sweep.settled:
            return "\n".join(lines)
    lines += _counts(sweep, store, records)
    notes = *sweep.notes, *changed_since(sweep, _finished(sweep, records))
    lines += [f"note: {note}" for note in notes]
    if sweep.evaluate:
        names = ", ".join(c.name for c in conditions.check(sweep))
        lines.append(f"conditions: {names}; compared by {sweep.measure}")
        lines.append(f"to evaluate without training: {len(evaluate)}")
        lines += conditions.never_trained(sweep)
    weights = sum(measures[t.variant].counts["params"] * 4 for t in to_run)
    lines.append(
        f"to run: {len(to_run)}; disk: {weights / 1e9:.2f} GB of weights, and up to six times "
        "its own for each running trial's checkpoints"
    )
    lines += _tight(sweep, measures)
    lines.append(f"time: {_estimate(measures, to_run, records)}")
    return "\n".join(lines)


def _variants(sweep: Sweep, measures: dict[str, Measured]) -> list[dict[str, Any]]:
    printed = reference.load(sweep).rows
    return [
        {
            "name": name,
            **found.counts,
            "swapped": found.swapped,
            "train_mib": found.train_mib,
            "reference": asdict(printed[name]) if name in printed else {},
        }
        for name, found in measures.items()
    ]


def _for_programs(
    sweep: Sweep,
    store: Store,
    records: dict[str, Record],
    to_run: list[Trial],
    variants: list[dict[str, Any]],
) -> dict[str, Any]:
    trials = [
        {"id": t.id, "variant": t.variant, "seed": t.seed, "status": _status(t, store, records)}
        for t in sweep.distinct
    ]
    return {
        "sweep": sweep.name,
        "trials": trials,
        "variants": variants,
        "done": len(trials) - len(to_run),
        "to_run": len(to_run),
        "notes": [*sweep.notes, *changed_since(sweep, _finished(sweep, records))],
        "earlier_versions": _earlier(sweep, store),
        "search": _search_plan(sweep, store)[0] if sweep.search else {},
    }


def _table(variants: list[dict[str, Any]]) -> str:
    lines = []
    for v in variants:
        printed = v["reference"]
        lines.append(
            [
                v["name"],
                str(v["swapped"]),
                f"{v['params'] / 1e6:.3f}",
                f"{v['macs'] / 1e6:.2f}",
                f"{v['train_mib']:.1f}",
                f"{v['paper_flops'] / 1e6:.2f}",
                f"{printed['flops_m']:g}" if printed and printed["flops_m"] else "-",
                f"{printed['top1']:.2f}" if printed else "-",
            ]
        )
    return report.markdown([*HEADERS, "paper top-1"], lines)


def _counts(sweep: Sweep, store: Store, records: dict[str, Record]) -> list[str]:
    by_status = Counter(_status(t, store, records) for t in sweep.distinct)
    counts = ", ".join(f"{n} {status}" for status, n in by_status.items())
    size = f"{len(sweep.variants)} variants x {len(sweep.seeds)} seeds"
    shared = len(sweep.trials) - len(sweep.distinct)
    size += ", those of one configuration trained once" if shared else ""
    lines = [f"{len(sweep.distinct)} trials ({size}): {counts}"]
    for conv, n in _earlier(sweep, store).items():
        noun, verb = ("trial", "is") if n == 1 else ("trials", "are")
        lines.append(
            f"{n} finished {noun} of an earlier version of {conv} {verb} in the store; "
            f"{'it is' if n == 1 else 'they are'} not mixed in"
        )
    return lines


def _earlier(sweep: Sweep, store: Store) -> Counter[str]:
    """conv (or "compile") -> how many of the trials were finished by an earlier version of it."""
    found: Counter[str] = Counter()
    for trial in sweep.distinct:
        for config in trial.config.earlier:
            record = store.record(replace(trial, config=config).id)
            if record and record.status == State.FINISHED:
                conv = config.conv_version < trial.config.conv_version
                found[trial.config.conv if conv else "compile"] += 1
                break
    return found


def _finished(sweep: Sweep, records: dict[str, Record]) -> list[tuple[str, Record]]:
    """(variant, record) of every finished trial."""
    return [(t.variant, r) for t in sweep.distinct if (r := records.get(t.id)) and r.result]


def _search_plan(sweep: Sweep, store: Store) -> tuple[dict[str, Any], list[str]]:
    """What the search has done, and how much of its space can be trained; for programs and
    readers.
    """
    assert sweep.search
    w, cells = sweep.search.written, sweep.search.cells
    studies = search.open_studies(sweep, store)
    ended = sum(p.trained and p.record is not None for study in studies for p in study.proposals)
    total = w.trials * len(studies)
    plan: dict[str, Any] = {
        "mode": w.mode,
        "trials": total,
        "ended": ended,
        "settled": sweep.settled,
    }
    each = f", {w.trials} of each variant" if studies[1:] else ""
    lines = [f"search ({w.mode}, {w.sampler}): {ended} of {total} trials ended{each}"]
    if cells is not None:
        found = search.survey(studies[0], cells, known_cost, CHECK_S)
        plan |= {
            "cells": found.cells,
            "checked": found.checked,
            "possible": len(found.possible),
            "refused": dict(found.refused),
        }
        lines += _space(found)
    if not sweep.settled:
        compared = (
            "each variant with what was found for it"
            if w.mode == "tune"
            else f"the variants above and {w.confirm} finds"
        )
        lines.append(f"then the comparison: {compared}, {len(sweep.seeds)} seeds each")
    return plan, lines


def _space(found: search.Survey) -> list[str]:
    span = ""
    if found.possible:
        low, high = min(found.possible), max(found.possible)
        span = f", {low:.4g} to {high:.4g} M multiply-adds"
    part = "them" if found.checked == found.cells else f"the first {found.checked}"
    possible = f"{len(found.possible)} can be trained{span}"
    refused = [f"  not trained: {n} {why}" for why, n in found.refused.most_common(3)]
    return [f"space: {found.cells} cells; of {part}, {possible}", *refused]


def _status(trial: Trial, store: Store, records: dict[str, Record]) -> str:
    if trial.id in records:
        return records[trial.id].status
    return State.RUNNING if store.started(trial.id) else State.NEW


def _tight(sweep: Sweep, measures: dict[str, Measured]) -> list[str]:
    """A line where the trials that share a GPU need more memory than it has."""
    share = 1.0 if sweep.resources.gpu is None else sweep.resources.gpu
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


def gpu_mib() -> float | None:
    """The memory of this machine's smallest GPU, in MiB; None without one."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        return min(float(line) for line in said.splitlines())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _estimate(
    measures: dict[str, Measured], to_run: list[Trial], records: dict[str, Record]
) -> str:
    """From this sweep's finished trials: minutes per epoch and multiply-add."""
    from runners.launch.console import duration

    rates = [
        r.result.minutes * 60 / (len(r.epochs) * r.result.macs)
        for r in records.values()
        if r.result
    ]
    if not rates:
        return "known once a trial of this sweep has finished (try --set base.epochs=1 --seeds 1)"
    work = sum(measures[t.variant].counts["macs"] * t.config.epochs for t in to_run)
    seconds = work * sum(rates) / len(rates)
    return f"{duration(seconds)} of one slot, to be divided by the trials that run at a time"
