"""A lock where the system has none: an owner's entry that its owner renews, and that else expires.

The entry is replaced by compare-and-swap: of two that see it free, or see it expired, one wins. It
has expired if it was not renewed for LEASE_S in which it could be read: the time between two looks
counts for at most a quarter of that. So an outage, in which nobody can renew anything and nobody
can look, costs no owner its lock. An owner that cannot write has lost the
lock only if another's entry is there when it can.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from runners.errors import Held
from runners.store.retry import Patience

LEASE_S = 20.0  # without a renewal, and another process may take the lock
RENEWALS = 5  # in that time


class Cell(Protocol):
    """A small value that is replaced by compare-and-swap; `name` is its address, for people."""

    name: str

    def load(self) -> tuple[bytes, str] | None:
        """The value and its version; None where there is none."""
        ...

    def swap(self, version: str | None, value: bytes) -> str | None:
        """Replace the value of this version (None: make the first one); its new version.

        None where another process was first.
        """
        ...


@dataclass(frozen=True)
class Entry:
    """What one look at a lock showed; `alive`: it is owned, and has not expired.

    `renewed`: it has changed since an earlier look.
    """

    version: str | None = None
    owner: str = ""
    token: str = ""
    alive: bool = False
    renewed: bool = False


class Watch:
    """Looks at locks again and again, to know an owner that renews from one that has died."""

    def __init__(self) -> None:
        # version, seconds for which it was seen unchanged, last look
        self._seen: dict[str, tuple[str, float, float]] = {}

    def look(self, cell: Cell) -> Entry:
        """The lock as it is now."""
        found, now = cell.load(), time.monotonic()
        if found is None:
            self._seen.pop(cell.name, None)
            return Entry()
        content, version = found
        before, unchanged, last = self._seen.get(cell.name, (None, 0.0, now))
        # between two looks far apart an outage may have kept its owner from renewing it
        unchanged = unchanged + min(now - last, LEASE_S / 4) if version == before else 0.0
        self._seen[cell.name] = version, unchanged, now
        entry = _parsed(content)
        owned = entry is None or bool(entry.get("token"))
        return Entry(
            version,
            (entry or {}).get("holder", ""),
            (entry or {}).get("token", ""),
            alive=owned and unchanged <= LEASE_S,
            renewed=before is not None and version != before,
        )


def living(look: Callable[[str], Entry], keys: Iterable[str]) -> dict[str, str]:
    """Key -> owner, of the locks that were seen to be renewed within half a lease."""
    found: dict[str, str] = {}
    waiting = [key for key in keys if look(key).alive]
    deadline = time.monotonic() + LEASE_S / 2
    while waiting and time.monotonic() < deadline:
        time.sleep(min(0.5, LEASE_S / 20))
        entries = {key: look(key) for key in waiting}
        found |= {
            k: e.owner or "another process" for k, e in entries.items() if e.alive and e.renewed
        }
        waiting = [key for key, entry in entries.items() if entry.alive and not entry.renewed]
    return found


class Lease:
    """One process's hold of a lock. `me` is what others are shown."""

    def __init__(self, cell: Cell, me: str, patience: Patience):
        self.cell, self.me, self.patience = cell, me, patience
        self.token = uuid.uuid4().hex
        self.version: str | None = None
        self.renewals = 0
        self.released = threading.Event()

    @contextlib.contextmanager
    def held(
        self, wait_s: float, lost: Callable[[str], None] = lambda owner: None
    ) -> Iterator[None]:
        """Own the lock; `lost` is called, in a thread of its own, with the name of who took it.

        Raises:
            Held: another process still owns it after `wait_s` seconds; says which.
        """
        self._take(wait_s)
        heart = threading.Thread(target=self._renew_until_released, args=(lost,), daemon=True)
        heart.start()
        try:
            yield
        finally:
            self.released.set()
            heart.join(LEASE_S / 4)
            self._release()

    def _take(self, wait_s: float) -> None:
        watch, begun, renewed = Watch(), time.monotonic(), False
        what = f"{self.cell.name} cannot be locked"
        while True:
            entry = self.patience.retry(lambda: watch.look(self.cell), what)
            # an answer that was lost on its way: the write itself had arrived
            if entry.token == self.token:
                self.version = entry.version
                return
            if not entry.alive:
                swap = functools.partial(self._swap, entry.version)
                self.version = self.patience.retry(swap, what)
                if self.version:
                    return
            renewed = renewed or entry.renewed
            waited = time.monotonic() - begun
            # an owner that was not seen to renew yet may be dead
            if waited > wait_s and (renewed or waited > 1.5 * LEASE_S):
                raise Held(entry.owner)
            time.sleep(min(0.5, LEASE_S / 20))

    def _swap(self, version: str | None) -> str | None:
        self.renewals += 1
        entry = {"holder": self.me, "token": self.token, "beat": self.renewals}
        return self.cell.swap(version, json.dumps(entry).encode())

    def _renew_until_released(self, lost: Callable[[str], None]) -> None:
        while not self.released.wait(LEASE_S / RENEWALS):
            # an outage is no loss: the next renewal tries again
            with contextlib.suppress(OSError):
                if (other := self._renew()) is not None:
                    lost(other)
                    return

    def _renew(self) -> str | None:
        """None where the lock is still this process's; else the name of who took it."""
        if version := self._swap(self.version):
            self.version = version
            return None
        entry = Watch().look(self.cell)
        if entry.version is None:
            # its entry was deleted by hand
            self.version = self._swap(None)
            return None
        if entry.token != self.token:
            return entry.owner or "another process, which has ended since"
        self.version = entry.version
        return None

    def _release(self) -> None:
        """Leave an entry without an owner; where that fails, it expires."""
        with contextlib.suppress(OSError):
            if self.cell.swap(self.version, b"{}") is None:
                entry = Watch().look(self.cell)
                if entry.token == self.token:
                    self.cell.swap(entry.version, b"{}")


def _parsed(content: bytes) -> dict[str, Any] | None:
    """An entry; None where it is not one, or only half of one."""
    try:
        entry = json.loads(content)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
