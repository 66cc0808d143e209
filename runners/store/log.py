"""A trial's log.txt: the output of its worker, kept with the trial."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator

from runners.redaction import mask
from runners.store.bucket import Bucket
from runners.store.disk import Disk
from runners.store.place import Place

WRITE_EVERY_S = 10.0  # in a bucket, where the log is written as a whole


@contextlib.contextmanager
def trial_log(files: Place, key: str) -> Iterator[io.TextIOBase]:
    """The log, to append to; text that a full disk does not take is dropped."""
    log = TrialLog(files, key)
    try:
        yield log
    finally:
        log.publish()


class TrialLog(io.TextIOBase):
    """Text that is appended to a log at once; in a bucket every WRITE_EVERY_S."""

    def __init__(self, files: Place, key: str):
        self.files, self.key, self.written_at = files, key, 0.0
        self.before: bytes | None = None  # the text that earlier attempts left in a bucket
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text, length = mask(text), len(text)
        if isinstance(self.files, Disk):
            with contextlib.suppress(OSError):
                path = self.files.root / self.key
                path.parent.mkdir(parents=True, exist_ok=True)
                # a trial may print what the machine's own encoding lacks
                with open(path, "a", encoding="utf-8", errors="replace") as file:
                    file.write(text)
        else:
            self.text += text
            if time.monotonic() - self.written_at > WRITE_EVERY_S:
                self.publish()
        return length

    def publish(self) -> None:
        """Write what a bucket does not have yet."""
        if self.text and isinstance(self.files, Bucket):
            self.written_at = time.monotonic()
            with contextlib.suppress(OSError):
                # once, without patience: these lines may be about the bucket's outage
                if self.before is None:
                    found = self.files.cell(self.key).load()
                    self.before = found[0] if found else b""
                self.files.objects.put(self.key, self.before + self.text.encode(errors="replace"))
