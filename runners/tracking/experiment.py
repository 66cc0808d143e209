"""The experiment of a sweep's phase: found by its own tags, made where there is none.

A name is not enough: people rename experiments in the UI, and may have one of that name that has
nothing to do with the sweep. The tag `sweep` names the sweep, `phase` its part, and `store.<id>`
each store whose runs are in it, with the sweep file. Two stores share an experiment; two sweep
files of one name and one store do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from runners.store.origin import Origin
from runners.tracking import database
from runners.tracking.phase import Phase

NAMES = 50  # tried at most for a new experiment


def find_or_create(client: Any, uri: str, phase: Phase, origin: Origin) -> Experiment:
    """The experiment of a phase, restored if it was deleted in the UI."""
    for attempt in range(NAMES):
        if found := _find(client, phase, origin):
            return _claimed(client, found, origin)
        name = _name(phase.name, origin, attempt)
        tags = {
            "mlflow.note.content": phase.note,
            "mlflow.experimentKind": "custom_model_development",
            "sweep": phase.tag,
            "phase": phase.kind,
            f"store.{origin.store}": origin.file,
        }
        try:
            place = database.artifacts(uri, name)
            return client.get_experiment(client.create_experiment(name, place, tags))
        except MlflowException as error:
            # another's has the name; or another process has just made this one
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise MlflowException(f"{NAMES} experiments are called {phase.name}; rename some")


def _name(name: str, origin: Origin, attempt: int) -> str:
    if attempt == 0:
        return name
    folder = Path(origin.file).parent.name or "2"
    return f"{name} ({folder}{f' {attempt}' if attempt > 1 else ''})"


def _find(client: Any, phase: Phase, origin: Origin) -> Experiment | None:
    """The one that this store's runs are in; else one of this sweep's name that others made."""
    found = {e.experiment_id: e for e in _candidates(client, phase)}
    # one that was deleted is restored only where there is no other
    candidates = sorted(found.values(), key=lambda e: (e.lifecycle_stage == "deleted", e.name))
    mark = f"store.{origin.store}"
    for found in candidates:
        if mark in found.tags and origin.is_mine(origin.store, found.tags[mark]):
            return found
    unmarked = [e for e in candidates if mark not in e.tags]
    for found in unmarked:
        if found.name == phase.name:
            return found
    # one of before these tags, renamed
    for found in unmarked:
        query = f"tags.store = '{origin.store}'"
        if "phase" not in found.tags and client.search_runs([found.experiment_id], query):
            return found
    return None


def _candidates(client: Any, phase: Phase) -> Iterator[Experiment]:
    """Those that a sweep of this name made for this phase, whatever they are called now."""
    token = None
    while True:
        page = client.search_experiments(
            ViewType.ALL, filter_string=f"tags.sweep = '{phase.tag}'", page_token=token
        )
        for found in page:
            kind = found.tags.get("phase")
            # before there was this tag, a summary had its sweep's: the name tells it
            # from a comparison
            if kind == phase.kind or (kind is None and not found.name.endswith("/summary")):
                yield found
        token = page.token
        if not token:
            break
    found = client.get_experiment_by_name(phase.name)
    if found and "phase" not in found.tags and found.tags.get("sweep") == phase.old_tag:
        yield found


def _claimed(client: Any, found: Experiment, origin: Origin) -> Experiment:
    """Mark it as this store's, too."""
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    file = found.tags.get(f"store.{origin.store}")
    if file is None or (file != origin.file and not origin.exists(file)):
        client.set_experiment_tag(found.experiment_id, f"store.{origin.store}", origin.file)
    return found


def search_runs(client: Any, experiment: str) -> Iterator[Run]:
    """All runs of an experiment that are not deleted."""
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
