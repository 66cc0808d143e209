"""A sweep's data sets: measured for its trials' identity, checked before a start, remembered after.

The digest of data of one's own is part of a trial's identity, so that an edited data set, or
another folder, makes other trials. The store remembers what each data set was when it was last
trained on: a report can then be made where the data is not, and says what has changed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from runners import data
from runners.data.source import root_of
from runners.errors import SweepError
from runners.plan import Config, Data, Own, Sweep
from runners.plan.catalogue import data_key
from runners.store import Record, Store

MEMORY = (
    "datasets.json"  # in the store: data_key -> what it was at each change, the last at the end
)
Need = tuple[str, dict[str, Any], Own]  # a data set, its options, its user's file and measures


def identified(sweep: Sweep, store: Store, root: str | None) -> Sweep:
    """The sweep with what was measured of its data; the first step after it is read.

    Where the data is not at `root`, it is taken for what it was when it was last trained on.

    Raises:
        SweepError: data of one's own is not there, and was never trained on.
    """
    found: dict[str, Data] = {}
    notes: list[str] = []
    memory = _memory(store)
    for key, config in _by_data(sweep.variants.values()).items():
        own = sweep.own(config)
        try:
            now = data.measured(
                config.dataset,
                root,
                store.cache,
                own.dataset,
                config.dataset_options,
                check=False,
            )
        except ValueError as error:
            if not memory.get(key):
                if own.dataset or data.by_lists(config, own):
                    raise SweepError(f"{sweep.path}: {error}") from None
                continue  # the package's own says its shape without its files
            now = memory[key][-1]
            notes.append(
                f"The data of '{config.dataset}' is not in {root_of(root)}; it is taken for what "
                f"it was when it was last trained on (digest {now.digest})."
            )
        # a folder of one's own was named for what is looked for elsewhere now
        if now is None and memory.get(key) and memory[key][-1].identity:
            now = memory[key][-1]
            notes.append(
                f"'{config.dataset}' is not in {root_of(root)}; it is taken for what it was when "
                f"it was last trained on (digest {now.digest}); name its folder by --data."
            )
        if now is not None:
            found[key] = _adopted(sweep, store, key, now)
            notes += _earlier(sweep, store, key, now, memory.get(key, []))
    return replace(sweep.with_data(found), notes=tuple(notes))


def check(sweep: Sweep, store: Store, root: str | None) -> None:
    """Read all that the trials need, before anything is launched; decoded pixels are then cached.

    Raises:
        SweepError: too little is left to train on.
        ValueError: data is missing or cannot be read; names the files.
    """
    configs = sweep.variants.values()
    for key, config in _by_data(configs).items():
        own = sweep.own(config)
        data.measured(config.dataset, root, store.cache, own.dataset, config.dataset_options)
        n = data.images(config, own, root, store.cache)[0]
        if data.held(config, own, root) and (place := _written(sweep, "val_fraction")):
            raise SweepError(
                f"{place}.val_fraction: '{config.dataset}' has a list of its own for validation; "
                "remove val_fraction"
            )
        for fraction in {c.val_fraction for c in configs if _key(c) == key}:
            if n - round(fraction * n) < 2:
                raise SweepError(
                    f"val_fraction: {fraction:g} leaves no training images of {n}; use less"
                )


def refuse_damaged(sweep: Sweep, store: Store, root: str | None) -> None:
    """Open every image file of the data sets that are there.

    Raises:
        ValueError: some cannot be read; names them.
    """
    for config in _by_data(sweep.variants.values()).values():
        own = sweep.own(config)
        where = config.dataset, root, store.cache, own.dataset, config.dataset_options
        try:
            data.measured(*where, check=False)
        except ValueError:
            continue  # not there: a plan can be made without
        data.measured(*where)


def remember(sweep: Sweep, store: Store) -> None:
    """Write down what the data sets of its variants are, which will now be trained on."""
    memory, changed = _memory(store), False
    for key in _by_data(sweep.variants.values()):
        now = sweep.lookup.data.get(key)
        if now is None:
            continue
        before = memory.setdefault(key, [])
        if before[-1:] != [now]:
            memory[key] = [*(x for x in before if x != now), now]
            changed = True
    if changed:
        raw = {key: [asdict(x) for x in values] for key, values in memory.items()}
        store.files.write(MEMORY, json.dumps(raw, indent=1).encode())


def needs(sweep: Sweep, store: Store) -> list[Need]:
    """What every node has to have; of users' files the copies in the store."""
    found: list[Need] = []
    for config in _by_data(sweep.variants.values()).values():
        own = replace(sweep.own(config), conv="", backbone="", stem="")
        kept = store.keep_file(own.dataset, config.dataset_digest)
        found.append((config.dataset, config.dataset_options, replace(own, dataset=kept)))
    return found


def changed_since(sweep: Sweep, finished: Iterable[tuple[str, Record]]) -> list[str]:
    """A line for each data set that is not what finished trials were trained and tested on.

    Args:
        finished: (variant, record) of each.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    for variant, record in finished:
        config = sweep.variants[variant]
        now = sweep.own(config).data
        if now is None:
            continue
        contents = record.provenance.get("contents")
        was = str(contents or record.provenance["data"])
        present = now.contents if contents else now.digest
        if present and was != present:
            seen[config.dataset, was, present] += 1
    return [
        f"{_trials(n)} saw other data of '{dataset}' than is there now (digest {was}, now "
        f"{present}): the numbers are of the data that the trials saw."
        for (dataset, was, present), n in seen.items()
    ]


def _written(sweep: Sweep, key: str) -> str:
    """The first place of the sweep file that sets a key; empty where none does."""
    if key in sweep.base:
        return "base"
    return next((place for place, arm in sweep.arms.values() if key in arm), "")


def _trials(n: int) -> str:
    return f"{n} finished trial" + ("" if n == 1 else "s")


def _key(config: Config) -> str:
    return data_key(config.dataset, config.dataset_digest, config.dataset_options)


def _by_data(configs: Iterable[Config]) -> dict[str, Config]:
    """A config of each data set that occurs."""
    found: dict[str, Config] = {}
    for config in configs:
        found.setdefault(_key(config), config)
    return found


def _memory(store: Store) -> dict[str, list[Data]]:
    try:
        raw = json.loads(store.files.read(MEMORY))
        return {
            key: [Data(**x | {"image": tuple(x["image"])}) for x in values]
            for key, values in raw.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}  # damaged: it only helps where the data is not


def _adopted(sweep: Sweep, store: Store, key: str, now: Data) -> Data:
    """Without an identity, where trials of this data were finished before data had one.

    The package's own data sets were not always identified; their trials keep their ids.
    """
    if not now.identity or json.loads(key)[1]:
        return now
    for trial in sweep.trials:
        record = store.record(trial.id) if _key(trial.config) == key else None
        if record and record.provenance.get("data") == now.digest:
            return replace(now, identity="")
    return now


def _earlier(sweep: Sweep, store: Store, key: str, now: Data, before: list[Data]) -> list[str]:
    """A line for the trials of this sweep that were made of the data as it was before."""
    lines = []
    for old in before:
        if old.identity == now.identity:
            continue
        trials = sweep.with_data({key: old}).trials
        ended = sum(store.ended(t.id) for t in trials if _key(t.config) == key)
        if ended:
            lines.append(
                f"The data of '{json.loads(key)[0]}' has changed: the store has {ended} trials of "
                f"it as it was (digest {old.digest}), which are not among these (digest "
                f"{now.digest})."
            )
    return lines
