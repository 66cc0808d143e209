"""What a sweep would do: its trials, its networks with their cost, its search; for `--plan`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

from analysis import report
from runners import estimate, power
from runners.estimate import Estimate
from runners.plan import Config, Sweep, Trial, reference
from runners.planned import Plan, PlannedEvaluation, PlannedTrial, PlannedVariant
from runners.search import searching as search
from runners.store import Record, State, Store
from runners.trial.datasets import changed_since
from runners.trial.measured import Measured
from runners.trial.networks import known_cost, networks

COUNTS = ("params", "paper_params", "macs", "paper_flops")  # that a plan shows
CHECK_S = 30  # seconds that the networks of a search space are built for at most
HEADERS = [
    *("variant", "replaced", "params M", "MACs M", "train MiB"),
    *("paper FLOPs M (ours)", "(printed)"),
]


def preview(
    sweep: Sweep,
    store: Store,
    records: dict[str, Record],
    to_run: list[Trial],
    *,
    as_json: bool,
    root: str,
    here: bool,
) -> str:
    """The plan for a reader or, as JSON, for programs.

    Args:
        records: of the trials that have ended.
        to_run: the trials that would be trained, or evaluated.
        root: the folder of the data sets.
        here: this machine will train them, so that its pace says how long they take.

    Raises:
        SweepError: a network cannot be built, or two variants are the same one.
    """
    measures = networks(sweep)
    variants = _variants(sweep, measures)
    evaluate = [t for t in to_run if (r := records.get(t.id)) and r.result]
    to_run = [t for t in to_run if t not in evaluate]
    time = estimate.estimate(sweep, store, root, measures, to_run, records, measure=here)
    if as_json:
        plan = _for_programs(sweep, store, records, to_run, variants)
        names = _conditions(sweep) if sweep.evaluate else []
        plan = replace(
            plan,
            time={**asdict(time), "seconds": time.seconds} if time else {},
            evaluation=PlannedEvaluation(names, len(evaluate)),
            resources={"gpu": sweep.resources.share, "cpu": sweep.resources.cpu},
            warnings=_warnings(sweep, measures, to_run),
        )
        return json.dumps(asdict(plan), indent=1)
    lines = [sweep.question, "", _table(variants)]
    if sweep.search:
        lines += _search_plan(sweep, store)[1]
        if not sweep.settled:
            return "\n".join(lines)
    lines += _counts(sweep, store, records)
    notes = *sweep.notes, *changed_since(sweep, _finished(sweep, records))
    lines += [f"note: {note}" for note in notes]
    if sweep.evaluate:
        lines += _evaluation(sweep, len(evaluate))
    lines += _to_run(sweep, measures, to_run, time)
    lines += power.sentence(sweep, records, time)
    return "\n".join(lines)


def _conditions(sweep: Sweep) -> list[str]:
    """The names of what its trained networks are evaluated under."""
    from runners.trial import conditions  # and torch with it

    return [condition.name for condition in conditions.check(sweep)]


def _evaluation(sweep: Sweep, left: int) -> list[str]:
    """What its networks are evaluated under, of which `left` trials lack some, and in what a
    condition rests on weights that no training reaches.
    """
    from runners.trial import conditions

    return [
        f"conditions: {', '.join(_conditions(sweep))}; compared by {sweep.measure}",
        f"to evaluate without training: {left}",
        *conditions.never_trained(sweep),
    ]


def _to_run(
    sweep: Sweep, measures: dict[str, Measured], trials: list[Trial], time: Estimate | None
) -> list[str]:
    weights = sum(measures[t.variant].counts["params"] * 4 for t in trials)
    stable = sum(
        # weights, and what the optimizer keeps of each
        measures[t.variant].counts["params"] * (8 if t.config.optimizer == "sgd" else 12)
        for t in trials
        if t.keep_stable and t.config.stable_epochs
    )
    parts = f" and {stable / 1e9:.2f} GB of stable parts" if stable else ""
    line = (
        f"to run: {len(trials)}; disk: {weights / 1e9:.2f} GB of weights{parts}, and up to six "
        "times its own for each running trial's checkpoints"
    )
    return [
        line,
        *_warnings(sweep, measures, trials),
        *(estimate.lines(time, sweep.limits.hours) if trials else ()),
    ]


def _warnings(sweep: Sweep, measures: dict[str, Measured], trials: list[Trial]) -> list[str]:
    decoding = estimate.decoding(sweep) if trials else []
    return [*estimate.memory(sweep, measures), *decoding]


def _variants(sweep: Sweep, measures: dict[str, Measured]) -> list[dict[str, Any]]:
    printed = reference.load(sweep).rows
    return [
        {
            "name": name,
            **{key: found.counts[key] for key in COUNTS},
            "counts": found.counts,
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
) -> Plan:
    trials = [
        PlannedTrial(t.id, t.variant, t.seed, str(_status(t, store, records)))
        for t in sweep.distinct
    ]
    return Plan(
        sweep=sweep.name,
        trials=trials,
        variants=[PlannedVariant(**v) for v in variants],
        done=len(trials) - len(to_run),
        to_run=len(to_run),
        notes=[*sweep.notes, *changed_since(sweep, _finished(sweep, records))],
        earlier_versions=dict(_earlier(sweep, store, records)),
        search=_search_plan(sweep, store)[0] if sweep.search else {},
    )


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
    most = f"{len(sweep.seeds)} seed" + "s" * (len(sweep.seeds) != 1)
    if sweep.growth:
        looks = ", ".join(map(str, sweep.growth.looks))
        most = f"{sweep.growth.first} to {sweep.growth.most} seeds, judged at {looks}"
    size = f"{len(sweep.variants)} variants x {most}"
    shared = len(sweep.trials) - len(sweep.distinct)
    size += ", those of one configuration trained once" if shared else ""
    lines = [f"{len(sweep.distinct)} trials ({size}): {counts}"]
    for conv, n in _earlier(sweep, store, records).items():
        noun, verb = ("trial", "is") if n == 1 else ("trials", "are")
        lines.append(
            f"{n} finished {noun} of an earlier version of {conv} {verb} in the store; "
            f"{'it is' if n == 1 else 'they are'} not mixed in"
        )
    return lines


def _earlier(sweep: Sweep, store: Store, records: dict[str, Record]) -> Counter[str]:
    """conv, stem, backbone or "compile" -> how many of the trials that have not ended were finished
    by an earlier version of it.
    """
    found: Counter[str] = Counter()
    for trial in sweep.distinct:
        for config in trial.config.earlier if trial.id not in records else ():
            # to see that there is none is quicker than to try to read it
            older = trial.id_of(config)
            record = store.record(older) if store.ended(older) else None
            if record and record.status == State.FINISHED:
                found[_of_earlier(config, trial.config)] += 1
                break
    return found


def _of_earlier(config: Config, now: Config) -> str:
    """The first thing of which a config has an earlier version."""
    if config.conv_version < now.conv_version:
        return now.conv
    if config.stem_version < now.stem_version:
        return now.stem
    return now.backbone if config.backbone_version < now.backbone_version else "compile"


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
