"""The part of a store that reads how trials ended: one record, or thousands."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Iterable, Iterator

from runners.errors import SweepError
from runners.plan import Trial
from runners.store import cache, record_file
from runners.store.place import Place
from runners.store.record import Record

MANY = 1000  # records that are read at a time, from which on checks and garbage collection are felt
CODE = ("runners/plan", "runners/store")  # what a record is checked by


class Records:
    """How trials ended."""

    files: Place

    def record(self, trial_id: str) -> Record | None:
        """How the trial ended, or None while it has not.

        Raises:
            SweepError: the record is damaged, another trial's, or of a later version.
            StoreError: it cannot be read.
        """
        try:
            content = self.files.read(_key(trial_id))
        except FileNotFoundError:
            return None
        return record_file.load(content, trial_id, self.files.address(_key(trial_id)))

    def records(self, trials: Iterable[Trial]) -> dict[str, Record]:
        """trial id -> how it ended, of those trials that have; read once, to be handed down.

        Raises:
            SweepError: as `record`; the other records that cannot be used are counted.
            StoreError: one cannot be read.
        """
        found, refused = {}, []
        keys = {_key(trial.id): trial.id for trial in trials}
        many = len(keys) > MANY
        # which contents have been read before as which trial's record, and found in order
        known = self.memory("records") if many else None
        new: dict[str, bool] = {}
        with _uncollected() if many else contextlib.nullcontext():
            for key, content in self.files.several([*keys]):
                trial_id = keys[key]
                mark = f"{trial_id} {hashlib.sha256(content).hexdigest()}" if known else ""
                checked = bool(known and known.get(mark))
                try:
                    found[trial_id] = record_file.load(
                        content, trial_id, self.files.address(key), checked=checked
                    )
                except SweepError as error:
                    refused.append(str(error))
                    continue
                if not checked:
                    new[mark] = True
        if known:
            known.put_all(new)
        if refused:
            others = len(refused) - 1
            more = f" ({others} more record{'s' * (others > 1)} like this)" if others else ""
            raise SweepError(refused[0] + more)
        return found

    def memory(self, name: str) -> cache.Memory:
        """Of this store, on this machine: what reading its records has shown."""
        place = hashlib.sha256(self.files.address("").encode()).hexdigest()[:16]
        return cache.Memory(f"{name}-{place}", cache.code(*CODE))

    def ended(self, trial_id: str) -> bool:
        """Whether there is a record; without reading it."""
        return self.files.exists(_key(trial_id))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, and from then on with it less often: ten thousand records are
    millions of objects, none of them garbage, and it would go through all of them again and again.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        often, *others = gc.get_threshold()
        if often:  # 0: never
            gc.set_threshold(max(often, 100 * MANY), *others)
        if collects:
            gc.enable()


def _key(trial_id: str) -> str:
    return f"trials/{trial_id}/record.json"
