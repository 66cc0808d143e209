"""What a trial leaves behind: a checkpoint after every epoch, then its record. The truth of the project.

One folder per trial id: `checkpoint.pt` (and the one before it) while it trains; `weights.pt` and, last, `record.json` when it has ended; `log.txt`.
Every file is written aside and moved into place, so a kill at any moment leaves the one before. Importing this needs no torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import pickle
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from runners.strict import SweepError


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; top-1 in per cent, `seconds` with validation, `images_per_s` of training alone, `ended` in ms since 1970.

    Without a validation split `val_loss` and `val_top1` are None.
    """

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_loss: float | None
    val_top1: float | None
    seconds: float
    images_per_s: float
    ended: int
    sys: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A finished trial's figures; the test set was read once, after the last epoch. `correct` packs one bit per test image, in hex."""

    test_top1: float
    test_top5: float
    correct: str
    params: int
    paper_params: int
    macs: int
    paper_flops: int
    images_per_s: float
    peak_memory_gb: float
    swapped: int
    minutes: float


@dataclass(frozen=True)
class Record:
    """How a trial ended. `provenance`: commit, device, versions, data digest, ...

    `result` is what the test set says: None for a trial that was "stopped" by its search, or was not to read the test set at all.
    """

    id: str
    sweep: str
    variant: str
    seed: int
    config: dict[str, Any]
    status: Literal["finished", "diverged", "failed", "stopped"]
    reason: str
    epochs: list[Epoch]
    result: Result | None
    provenance: dict[str, Any]

    @property
    def val_top1(self) -> float | None:
        """Of the last epoch, in per cent."""
        return self.epochs[-1].val_top1 if self.epochs else None

    @property
    def minutes(self) -> float:
        """Of training and validation."""
        return sum(e.seconds for e in self.epochs) / 60


# what a finished trial's provenance says at least: a number needs it beside it
EVIDENCE = ("commit", "dirty", "device", "precision", "torch", "data", "train_images", "val_images", "test_images")


class Held(TimeoutError):
    """Another process is training the trial."""


class Store:
    """The folder of all trials; many processes may read it and, each its own trial, write it."""

    def __init__(self, root: str | Path = "runs"):
        self.root = Path(root).resolve()
        self.cache = self.root / "data"

    @property
    def identity(self) -> str:
        """A name for this store that stays, whatever path or host it is reached by."""
        path = self.root / "identity"
        if not path.exists():
            _replace(path, lambda file: file.write(uuid.uuid4().hex.encode()))
        return path.read_text()

    def folder(self, trial_id: str) -> Path:
        return self.root / "trials" / trial_id

    def record(self, trial_id: str) -> Record | None:
        """How the trial ended, or None while it has not."""
        path = self.folder(trial_id) / "record.json"
        try:
            raw = json.loads(path.read_text())
            raw["epochs"] = [Epoch(**row) for row in raw["epochs"]]
            raw["result"] = Result(**raw["result"]) if raw["result"] else None
            if raw["result"] and (lacking := [key for key in EVIDENCE if key not in raw["provenance"]]):
                raise KeyError(f"its provenance lacks {', '.join(lacking)}")
            return Record(**raw)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise SweepError(f"{path}: not a record of this version ({type(error).__name__}: {error}); remove it to train the trial again") from None

    def started(self, trial_id: str) -> bool:
        return any(path.exists() for path in self._checkpoints(trial_id))

    def _checkpoints(self, trial_id: str) -> tuple[Path, Path]:
        """The last one, and the one before it."""
        return self.folder(trial_id) / "checkpoint.pt", self.folder(trial_id) / "checkpoint.before.pt"

    def save(self, trial_id: str, state: dict[str, Any], epochs: list[Epoch]) -> None:
        """Replace the checkpoint: weights, optimizer and every epoch so far, behind their SHA-256. The one before it is kept."""
        import torch

        content = io.BytesIO()
        torch.save(state | {"epochs": [asdict(e) for e in epochs]}, content)
        last, before = self._checkpoints(trial_id)
        if last.exists():
            spare = before.with_name(f"{before.name}.{os.getpid()}.tmp")
            spare.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a disk without hard links keeps one
                os.link(last, spare)  # so that at every moment there is a last one
                os.replace(spare, before)
            spare.unlink(missing_ok=True)  # replacing a link by another of the same file does nothing
        data = content.getbuffer()
        _replace(last, lambda file: (file.write(hashlib.sha256(data).digest()), file.write(data)))

    def checkpoint(self, trial_id: str) -> tuple[dict[str, Any], list[Epoch]] | None:
        """What `save` wrote last; the one before where that is damaged (and then set aside); None where neither can be read."""
        last, before = self._checkpoints(trial_id)
        for path in (p for p in (last, before) if p.exists()):
            try:
                return _unpack(path.read_bytes())
            except (ValueError, TypeError, KeyError, pickle.UnpicklingError) as error:  # anything else is the machine's trouble, not the file's
                os.replace(path, path.with_suffix(".damaged"))
                instead = "goes on from the one before" if path == last and before.exists() else "starts over"
                print(f"{path}: damaged ({type(error).__name__}: {error}), set aside; the trial {instead}", flush=True)
        return None

    def commit(self, record: Record, weights: dict[str, Any] | None = None) -> None:
        """The trial has ended: keep its weights, then its record (the commit point), and drop the checkpoint of one that will not go on."""
        folder = self.folder(record.id)
        if weights is not None:
            import torch

            _replace(folder / "weights.pt", lambda file: torch.save(weights, file))
        text = json.dumps(asdict(record), indent=1)
        _replace(folder / "record.json", lambda file: file.write(text.encode()))
        if record.status in ("finished", "stopped"):
            for path in self._checkpoints(record.id):
                path.unlink(missing_ok=True)

    def forget_failure(self, trial_id: str) -> None:
        """Let a trial that did not finish run again, from its last checkpoint."""
        record = self.record(trial_id)
        if record and record.status != "finished":
            (self.folder(trial_id) / "failures.json").unlink(missing_ok=True)
            (self.folder(trial_id) / "record.json").unlink()

    def note_failure(self, trial_id: str, kind: str) -> int:
        """Keep in mind that the trial failed; returns how often it has, in this way."""
        kinds = [*self.failures(trial_id), kind]
        _replace(self.folder(trial_id) / "failures.json", lambda file: file.write(json.dumps(kinds).encode()))
        return kinds.count(kind)

    def failures(self, trial_id: str) -> list[str]:
        """In which ways the trial has failed, in their order."""
        path = self.folder(trial_id) / "failures.json"
        return json.loads(path.read_text()) if path.exists() else []

    @property
    def gigabytes(self) -> float:
        """What it takes on disk."""
        sizes = (path.lstat().st_size for path in self.root.rglob("*") if path.is_file())
        with contextlib.suppress(FileNotFoundError):  # a file that is just being moved into place
            return sum(sizes) / 1e9
        return 0.0

    def keep_conv(self, path: str, digest: str) -> str:
        """A copy of a user's convolution under its digest, so that an edit while the sweep runs does not change its later trials."""
        source = Path(path).read_bytes()
        if hashlib.sha256(source).hexdigest()[:16] != digest:
            raise SweepError(f"{path}: was edited after the sweep was planned; start the sweep again")
        copy = self.root / "convs" / f"{Path(path).stem}-{digest}.py"
        if not copy.exists():
            _replace(copy, lambda file: file.write(source))
        return str(copy)

    @contextlib.contextmanager
    def hold(self, trial_id: str, wait_s: float = 60) -> Iterator[None]:
        """Keep other processes off this trial. A killed driver's workers train on for seconds: its successor waits for them here.

        Raises:
            Held: another process still holds it.
        """
        self.folder(trial_id).mkdir(parents=True, exist_ok=True)
        with open(self.folder(trial_id) / "lock", "w") as file:
            deadline = time.monotonic() + wait_s
            while not _lock(file):
                if time.monotonic() > deadline:
                    raise Held(f"another process has been training trial {trial_id} for more than {wait_s:.0f} s; stop it")
                time.sleep(0.2)
            for litter in self.folder(trial_id).glob("*.tmp"):  # of a process that was killed while it wrote
                litter.unlink(missing_ok=True)
            yield

    @contextlib.contextmanager
    def drive(self) -> Iterator[None]:
        """Be the one driver of this store.

        Raises:
            SweepError: another process is; says which.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / "driver.lock", "a+") as file:
            if not _lock(file):
                file.seek(0)
                raise SweepError(f"{self.root} is in use by {file.read().strip() or 'another sweep'}; wait for it, stop it, or use another --storage")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
            yield


def _lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # freed by the system when the process ends, however it ends
        return True
    except BlockingIOError:
        return False


def _unpack(content: bytes) -> tuple[dict[str, Any], list[Epoch]]:
    """A checkpoint's state and epochs. Nothing is unpickled but tensors and plain values, and nothing that its checksum does not cover."""
    import torch

    digest, data = content[:32], content[32:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("its checksum is wrong")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state, [Epoch(**row) for row in state.pop("epochs")]


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that at every moment either the old or the new content is there, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
