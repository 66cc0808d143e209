"""Which trials belong to which sweep, as every start notes it for those who look later.

A trial's id says nothing of a sweep, and two sweeps may share a trial. A sweep's trials as it was
planned are in `plans/<label>-<digest>.json`; `trials/<id>/trial.json` names a trial that has begun.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace

from runners.plan import Sweep, Trial
from runners.store.place import Place


@dataclass(frozen=True)
class Named:
    """A trial as the sweep that began it calls it."""

    sweep: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.variant} seed{self.seed}"


class Plans:
    """The part of a store that knows which trials are whose."""

    files: Place

    def keep_plan(self, sweep: Sweep) -> None:
        """Note the trials of a sweep, under the name of its results."""
        ids = sorted({t.id for t in sweep.trials})
        content = json.dumps({"sweep": sweep.label, "trials": ids}).encode()
        digest = hashlib.sha256(content).hexdigest()[:8]
        name = re.sub(r"[^\w.+-]", "_", sweep.label)
        key = f"plans/{name}-{digest}.json"
        if ids and not self.files.exists(key):
            self.files.create(key, content)

    def plans(self) -> dict[str, set[str]]:
        """Sweep -> the ids of all trials that its starts have planned."""
        found: dict[str, set[str]] = {}
        for key in self.files.listing("plans"):
            # one that is damaged names nothing; its sweep's next start does not need it
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                plan = json.loads(self.files.read(key))
                found.setdefault(str(plan["sweep"]), set()).update(map(str, plan["trials"]))
        return found

    def as_planned(self, sweep: Sweep) -> Sweep:
        """The sweep with as many seeds of each variant as its starts have planned; they grow."""
        if sweep.growth is None:
            return sweep
        ids = self.plans().get(sweep.label, set())
        planned = Counter(t.variant for t in sweep.grown_to_all().trials if t.id in ids)
        first = sweep.growth.first
        return replace(sweep, grown={v: max(first, planned[v]) for v in sweep.variants})

    def forget_plans(self, label: str) -> None:
        """The sweep of this name has no trials any more."""
        for key in self.files.listing("plans"):
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                if json.loads(self.files.read(key))["sweep"] == label:
                    self.files.delete(key)

    def begin(self, trial: Trial) -> None:
        """Name a trial that is about to be trained."""
        key = f"trials/{trial.id}/trial.json"
        if not self.files.exists(key):
            named = Named(trial.sweep, trial.variant, trial.seed)
            self.files.create(key, json.dumps(asdict(named)).encode())

    def named(self, trial_id: str) -> Named | None:
        """As `begin` named the trial; None where it has not."""
        try:
            return named(self.files.read(f"trials/{trial_id}/trial.json"))
        except FileNotFoundError:
            return None


def named(content: bytes) -> Named | None:
    """What a trial.json says; None for one that is damaged."""
    try:
        return Named(**json.loads(content))
    except (ValueError, TypeError):
        return None
