"""Is anything ever lost? A sweep of 12 real trials is harmed at random moments, again and again.

    make chaos                          200 injections, about two hours on two cores
    python -m tests.chaos 20 --seed 3   fewer, and other moments

Each round runs a sweep in a fresh folder and harms it until it has finished. The rounds are, in
turn: a grid, a search, a grid on a Ray cluster of two nodes, a grid whose MLflow is a server, a
grid with a convolution of the user's own, a grid whose store is an S3 bucket, and two sweeps on one
store. After each harm the same command is started again. The result is compared with an undisturbed
run: every trial once, equal weights bit for bit, one MLflow run per trial, FINISHED, with every
epoch once and at the time that the record has; no saved epoch trained again (but for the last one
of a damaged checkpoint); the same proposals in Optuna's journal, none RUNNING; the exit status that
belongs to the signal; no temporary file; and the same command once more has nothing to do.

As root each round has a small disk of its own, so that it can be filled, and the sweep runs without
the right to write where permissions forbid it.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.nodes import Nodes
from tests.s3 import Moto, Proxy
from tests.servers import Dripping, Server

ROOT = Path(__file__).parents[1]
SWEEP = """
question: Is anything lost?
baseline: R20
base: {backbone: resnet20, dataset: synthetic, recipe: short, epochs: 5, batch_size: 32}
variants:
  R20: {conv: standard}
  S+C: {conv: scconv}
seeds: 6
limits: {stall_minutes: 1}
"""
# a convolution of the user's own, whose forward does not return while a file is there
SLEEPY = """
import os, time
from scconv.convs import like

def drop_in(conv):
    module = like(conv, conv.in_channels, conv.out_channels, bias=True)
    forward = module.forward
    def sleepy(x):
        while os.path.exists(os.environ["CHAOS_HANG"]):
            time.sleep(0.1)
        return forward(x)
    module.forward = sleepy
    return module
"""
OWN = SWEEP.replace("S+C: {conv: scconv}", "own: {conv: sleepy}")
PAIR = SWEEP.replace("seeds: 6", "seeds: 8")  # has all trials of SWEEP, and four of its own
SEARCH = (
    SWEEP.replace("seeds: 6", "seeds: 1")
    + """
search:
  mode: tune
  space: {lr: {low: 0.01, high: 0.2, log: true}}
  trials: 5
"""
)
MODES = ["grid", "search", "cluster", "server", "own", "bucket", "pair"]
TEXTS = {"search": SEARCH, "own": OWN}  # of a round's sweep; SWEEP for the others
DISK = "300m"
HANGS = 999
PATIENCE_S = 900  # for one start of the command; it retries an unreachable store for 300 s itself
UNPRIVILEGED = shutil.which("setpriv") if os.geteuid() == 0 else None


AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
SPARE_BYTES = 8 << 30  # that a sweep may take before Ray's memory monitor kills its workers


def memory_threshold() -> float:
    """The share of the machine's memory at which Ray kills a worker: what is taken now, and a
    little.
    """
    memory = psutil.virtual_memory()
    return min(0.95, 1 - (memory.available - SPARE_BYTES) / memory.total)


def _make_bucket(port: int) -> None:
    """A bucket in the S3 server; the address needs no signature there."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/chaos", method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


class Round:
    """One sweep in a folder of its own, and the process that runs it."""

    def __init__(self, folder: Path, text: str, mode: str = "grid"):
        self.folder, self.store, self.mode = folder, folder / "runs", mode
        self.log = folder.with_name(f"{folder.name}.txt")  # beside the disk that may be full
        folder.mkdir(parents=True)
        self.small = (
            os.geteuid() == 0
            and subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
            ).returncode
            == 0
        )
        (folder / "chaos.yaml").write_text(text)
        (folder / "sleepy.py").write_text(SLEEPY)
        self.hang = folder / "hang"
        self.moto = Moto() if mode == "bucket" else None
        self.proxy = Proxy(self.moto.port) if self.moto else None
        self.partner: Round | None = None
        if mode == "bucket":
            _make_bucket(self.moto.port)
        self.nodes = Nodes() if mode == "cluster" else None
        self.server = Server(folder) if mode == "server" else None
        self.arguments = [
            *(("--address", self.nodes.address) if self.nodes else ()),
            *(("--tracking-uri", self.server.uri) if self.server else ()),
            *(("--storage", self.storage) if mode == "bucket" else ()),
        ]
        self.undone: dict[str, set[int]] = {}  # trial -> epochs that were lost with a checkpoint
        self.process: subprocess.Popen | None = None
        self.saved: dict[
            str, dict[int, int]
        ] = {}  # trial -> epoch -> when it ended, as its checkpoint had it when the sweep was harmed

    def start(self) -> None:
        # root may write anywhere; without this right it is as every other user
        as_user = (
            (UNPRIVILEGED, "--bounding-set=-dac_override,-dac_read_search") if UNPRIVILEGED else ()
        )
        line = [
            *as_user,
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "runners.sweep",
            "chaos.yaml",
            *self.arguments,
        ]
        environment = os.environ | AWS | {"PYTHONPATH": str(ROOT), "CHAOS_HANG": str(self.hang)}
        environment["RAY_memory_usage_threshold"] = f"{memory_threshold():.3f}"
        log = open(self.log, "a")  # noqa: SIM115 - the child's
        self.begun = log.tell()
        self.process = subprocess.Popen(
            line,
            cwd=self.folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def storage(self) -> str:
        """Where the trials are: a folder, or a bucket behind the proxy."""
        if self.proxy:
            return f"s3://chaos/runs?endpoint_override={self.proxy.address}&scheme=http"
        return str(self.store)

    @property
    def said(self) -> str:
        """By the last start of the command."""
        return (self.log).read_bytes()[self.begun :].decode()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Its exit status; where it hangs, all its threads' places are written to the log."""
        assert self.process
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            return HANGS

    def send(self, number: int) -> bool:
        """False where there was nobody to send it to any more."""
        assert self.process
        if not self.running:
            return False
        os.kill(self.process.pid, number)
        return True

    def end(self, *, clean: bool) -> None:
        """Nothing of it is left, but its folder where there is something to look at."""
        for part in filter(None, (self.nodes, self.server, self.proxy, self.moto)):
            part.stop()
        if self.partner:
            self.partner.end(clean=clean)
        if not clean and self.small:  # what is on the small disk would go with it
            shutil.copytree(self.folder, self.folder.with_name(f"{self.folder.name}-kept"))
        if self.small:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
        if clean or self.small:
            shutil.rmtree(self.folder)

    def remember(self) -> None:
        """What is saved, once the workers of a driver that is gone are gone too."""
        from runners.store import Store

        deadline = time.monotonic() + 60
        while self.workers() and time.monotonic() < deadline:
            time.sleep(0.2)
        for path in self.checkpoints():  # none where the store is a bucket
            _, epochs = Store(self.store).checkpoint(path.parent.name) or ({}, [])
            self.saved.setdefault(path.parent.name, {}).update({e.epoch: e.ended for e in epochs})

    def workers(self) -> list[int]:
        """The processes that train, of this round alone: they have its store's lock files open."""
        found = []
        for process in (
            name
            for name in os.listdir("/proc")
            if name.isdigit() and name != str(self.process and self.process.pid)
        ):
            try:
                files = [
                    os.readlink(f"/proc/{process}/fd/{fd}")
                    for fd in os.listdir(f"/proc/{process}/fd")
                ]
            except OSError:  # it has just ended
                continue
            if any(file.startswith(str(self.store / "trials")) for file in files):
                found.append(int(process))
        return found

    def checkpoints(self) -> list[Path]:
        return sorted(self.store.glob("trials/*/checkpoint.pt"))


def kill_driver(sweep: Round, dice: random.Random) -> bool:
    return sweep.send(signal.SIGKILL)


def interrupt(sweep: Round, dice: random.Random) -> bool:
    return sweep.send(signal.SIGINT)


def interrupt_twice(sweep: Round, dice: random.Random) -> bool:
    sent = sweep.send(signal.SIGINT)
    time.sleep(dice.uniform(0, 2))
    sweep.send(signal.SIGINT)
    return sent


def terminate(sweep: Round, dice: random.Random) -> bool:
    return sweep.send(signal.SIGTERM)


def freeze_driver(sweep: Round, dice: random.Random) -> bool:
    sweep.send(signal.SIGSTOP)
    time.sleep(dice.uniform(5, 30))
    sweep.send(signal.SIGCONT)
    return True


def kill_worker(sweep: Round, dice: random.Random) -> bool:
    if not (workers := sweep.workers()):
        return False
    try:
        os.kill(dice.choice(workers), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def damage(
    sweep: Round, dice: random.Random, harm: Callable[[bytearray, random.Random], bytes]
) -> bool:
    """Harm a checkpoint on disk: with the driver killed, and its workers gone, as after a power
    cut.
    """
    sweep.send(signal.SIGKILL)
    sweep.remember()
    if not (paths := sweep.checkpoints()):
        return False
    path = dice.choice(paths)
    saved = sweep.saved[path.parent.name]
    if saved:  # the last one may be trained again; those of the checkpoint before may not
        sweep.undone.setdefault(path.parent.name, set()).add(max(saved))
        del saved[max(saved)]
    path.write_bytes(harm(bytearray(path.read_bytes()), dice))
    return True


def cut(content: bytearray, dice: random.Random) -> bytes:
    return bytes(content[: dice.randrange(len(content))])


def flip(content: bytearray, dice: random.Random) -> bytes:
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(content)


def truncate_checkpoint(sweep: Round, dice: random.Random) -> bool:
    return damage(sweep, dice, cut)


def flip_checkpoint(sweep: Round, dice: random.Random) -> bool:
    return damage(sweep, dice, flip)


def lock_database(sweep: Round, dice: random.Random) -> bool:
    """Another program holds MLflow's database for 20 s."""
    path = sweep.folder / "mlflow.db"
    if not path.exists():
        return False
    connection = sqlite3.connect(path, timeout=5)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(20)
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def lose_node(sweep: Round, dice: random.Random) -> bool:
    """Of two: with all that runs on it, or so that its worker trains on unseen. Another takes its
    place.
    """
    assert sweep.nodes
    sweep.nodes.lose(workers=dice.random() < 0.7)
    time.sleep(dice.uniform(0, 10))
    sweep.nodes.replace()
    return True


def restart_server(sweep: Round, dice: random.Random) -> bool:
    assert sweep.server
    sweep.server.stop()
    time.sleep(dice.uniform(1, 40))
    sweep.server.start()
    return True


def fill_disk(sweep: Round, dice: random.Random) -> bool:
    """Not one byte is free for a while."""
    balloon = sweep.folder / "balloon"
    with contextlib.suppress(OSError), open(balloon, "wb", buffering=0) as file:
        while file.write(bytes(1 << 20)):
            pass
    deadline = time.monotonic() + dice.uniform(5, 20)
    while time.monotonic() < deadline:  # what is freed meanwhile is taken as well
        time.sleep(0.1)
        with contextlib.suppress(OSError), open(balloon, "ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    balloon.unlink()
    return True


def kill_first_start(sweep: Round, dice: random.Random) -> bool:
    """The driver dies while MLflow makes its first database."""
    deadline = time.monotonic() + 60
    while (
        sweep.running
        and not list(sweep.folder.glob(".mlflow.db.*.new"))
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    time.sleep(dice.uniform(0, 2))
    inside = not (sweep.folder / "mlflow.db").exists()
    return sweep.send(signal.SIGKILL) and inside


def stop_worker(sweep: Round, dice: random.Random) -> bool:
    """A worker that hangs in the kernel: it is there, and does nothing."""
    if not (workers := sweep.workers()):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(workers), signal.SIGSTOP)
        return True
    return False


def hang_forward(sweep: Round, dice: random.Random) -> bool:
    """No forward of the user's convolution returns, for longer than `limits.stall_minutes`."""
    sweep.hang.touch()
    time.sleep(dice.uniform(5, 100))
    sweep.hang.unlink()
    return True


def drip(sweep: Round, dice: random.Random) -> bool:
    """In MLflow's place a server answers one byte every five seconds."""
    assert sweep.server
    sweep.server.stop()
    with Dripping(sweep.server.port):
        time.sleep(dice.uniform(10, 60))
    sweep.server.start()
    return True


def fill_memory(sweep: Round, dice: random.Random) -> bool:
    """Another program takes the machine's memory for a while."""
    code = f"import sys, time; taken = bytearray({SPARE_BYTES + (1 << 30)}); print(flush=True); time.sleep(60)"
    hog = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert hog.stdout
    hog.stdout.readline()
    time.sleep(dice.uniform(5, 25))
    hog.kill()
    hog.wait()
    return True


def lose_permission(sweep: Round, dice: random.Random) -> bool:
    """Nothing below the store's trials can be written for a while."""
    folders = [sweep.store / "trials", *sweep.store.glob("trials/*")]
    if not folders[0].exists():
        return False
    for folder in folders:
        folder.chmod(0o555)
    time.sleep(dice.uniform(5, 40))
    for folder in folders:
        folder.chmod(0o755)
    return True


def s3_outage(sweep: Round, dice: random.Random) -> bool:
    """S3 answers 503 for longer than a lock's lease."""
    assert sweep.proxy
    sweep.proxy.trouble = lambda method, path: 503
    time.sleep(35)
    sweep.proxy.trouble = lambda method, path: None
    return True


def long_s3_outage(sweep: Round, dice: random.Random) -> bool:
    """S3 answers 503 for longer than the sweep retries."""
    assert sweep.proxy
    sweep.proxy.trouble = lambda method, path: 503
    deadline = time.monotonic() + 420
    while sweep.running and time.monotonic() < deadline:
        time.sleep(1)
    sweep.proxy.trouble = lambda method, path: None
    return True


def rename_experiment(sweep: Round, dice: random.Random) -> bool:
    """In MLflow's UI, between two starts."""
    sweep.send(signal.SIGKILL)
    sweep.remember()
    path = sweep.folder / "mlflow.db"
    if not path.exists():
        return False
    with sqlite3.connect(path, timeout=30) as book:
        named = f"renamed {dice.randrange(10**9)}"
        rows = book.execute(
            "update experiments set name = ? where name = 'chaos'", (named,)
        ).rowcount
    return bool(rows)


def kill_partner(sweep: Round, dice: random.Random) -> bool:
    """The driver of the other sweep on the same store is killed, and started again."""
    assert sweep.partner
    killed = sweep.partner.send(signal.SIGKILL)
    time.sleep(dice.uniform(0, 3))
    sweep.partner.wait()
    sweep.partner.start()
    return killed


KINDS: list[Callable[[Round, random.Random], bool]] = [
    *[kill_driver] * 5,
    *[kill_worker] * 3,
    *[lose_node] * 6,
    *[restart_server] * 6,
    fill_disk,
    fill_disk,
    interrupt,
    interrupt_twice,
    terminate,
    terminate,
    freeze_driver,
    truncate_checkpoint,
    flip_checkpoint,
    lock_database,
    stop_worker,
    stop_worker,
    *[hang_forward] * 6,
    *[drip] * 4,
    fill_memory,
    lose_permission,
    *[s3_outage] * 4,
    long_s3_outage,
    rename_experiment,
    *[kill_partner] * 6,
]
# at most so often in one round: each costs minutes, or one of a trial's three attempts
MOST_OF = {hang_forward: 2, stop_worker: 2, long_s3_outage: 1, fill_memory: 1, drip: 3}
# what a round whose store is a bucket can suffer: the others look into the store's folder
OF_A_BUCKET = {kill_driver, interrupt, terminate, s3_outage, long_s3_outage}


# what the command may answer to a signal: 0 where it had just ended, -2 and -15 where it was
# still starting
ANSWERS = {
    kill_driver: (-9,),
    kill_first_start: (-9,),
    interrupt: (130, 0, -2),
    interrupt_twice: (130, 0, -2),
    terminate: (130, 0, -15),
    truncate_checkpoint: (-9,),
    flip_checkpoint: (-9,),
    rename_experiment: (-9,),
}


# what the command may say to a full disk, a server that is away and, after a damage, to kill -9;
# then its end is right, and the next start goes on
GIVEN_UP = [
    (75, "cannot be written"),
    (75, "cannot be read"),
    (75, "memory is full"),
    (1, "the report could not be written"),
    (2, "MLflow cannot open it"),
    (-9, ""),
]


def traces(sweep: Round, code: int) -> list[str]:
    """No user should see a traceback; but for Python's own, of a Ctrl-C while it still imports."""
    return (
        ["it printed a traceback"]
        if "Traceback (most recent call last)" in sweep.said and code != -2
        else []
    )


def trials(sweep: Round) -> list:
    """Every trial that the sweep should have by now: its search's, and its comparison's."""
    from runners.plan import load
    from runners.search import searching as search
    from runners.store import Store

    plan, store = load(sweep.folder / "chaos.yaml"), Store(sweep.storage)
    searched = (
        [
            p.trial
            for study in search.open_studies(plan, store)
            for p in study.proposals
            if p.trained
        ]
        if plan.search
        else []
    )
    return [*searched, *search.conclude(plan, store).trials]


def outcome(sweep: Round) -> dict[str, tuple]:
    """trial -> (status, correctness per image, losses of every epoch, its weights' bytes by
    name).
    """
    import torch

    from runners.store import Store

    store, found = Store(sweep.storage), {}
    for trial in trials(sweep):
        record = store.record(trial.id)
        weights = (
            torch.load(io.BytesIO(store.read(trial.id, "weights.pt")), weights_only=True)
            if record and record.result
            else {}
        )
        parts = tuple((name, value.numpy().tobytes()) for name, value in weights.items())
        losses = tuple((e.train_loss, e.val_score) for e in record.epochs) if record else ()
        found[trial.id] = (
            record.status if record else None,
            record.result.correct if record and record.result else None,
            losses,
            parts,
        )
    return found


def lost(sweep: Round, wanted: dict[str, tuple]) -> list[str]:
    """What is not as it would be without any harm; a line each."""
    from runners.store import Store

    problems, found = [], outcome(sweep)
    if [*found] != [*wanted]:
        problems.append(f"other trials: {len(found)}, not {len(wanted)}, or others proposed")
    problems += [
        f"trial {t}: {found[t][0]}, not as undisturbed"
        for t in found
        if t in wanted and found[t] != wanted[t]
    ]
    kept = [] if sweep.proxy else (sweep.store / "trials").iterdir()
    partner = {t.id for t in trials(sweep.partner)} if sweep.partner else set()
    if names := {p.name for p in kept} - set(found) - partner:
        problems.append(f"trials that nobody asked for: {names}")
    records = {t: Store(sweep.storage).record(t) for t in found}
    times = {
        t: {e.epoch: e.ended for e in record.epochs} for t, record in records.items() if record
    }
    for trial, saved in sweep.saved.items():
        if again := [e for e, ended in saved.items() if times.get(trial, {}).get(e) != ended]:
            problems.append(f"trial {trial}: epochs {again} had been saved, and were trained again")
    with sqlite3.connect(sweep.folder / "mlflow.db") as book:
        runs = book.execute(
            "select t.value, r.status, r.run_uuid from runs r join tags t on t.run_uuid = "
            "r.run_uuid and t.key = 'trial'"
            " where r.lifecycle_stage = 'active'"
        ).fetchall()
        count = Counter(trial for trial, _, _ in runs)
        problems += [
            f"trial {trial}: {count[trial]} MLflow runs" for trial in found if count[trial] != 1
        ]
        for trial, status, run in runs:
            points = book.execute(
                "select step, timestamp from metrics where run_uuid = ? and key = 'train/loss' "
                "order by step",
                (run,),
            ).fetchall()
            undone = sweep.undone.get(
                trial, set()
            )  # MLflow may have them from when they were first trained, and keeps that
            points, recorded = (
                [(e, None if e in undone else t) for e, t in rows]
                for rows in (points, sorted(times.get(trial, {}).items()))
            )
            if status != "FINISHED" or points != recorded:
                problems.append(
                    f"trial {trial}: its MLflow run is {status} with epochs "
                    f"{[step for step, _ in points]}, or at other times"
                )
    problems += _book(sweep)
    litter = [
        str(p.relative_to(sweep.folder))
        for p in sweep.folder.rglob("*")
        if p.name.endswith(".tmp") or ".new" in p.name
    ]
    litter += [
        str(p.relative_to(sweep.folder)) for p in sweep.store.glob("trials/*/checkpoint*.pt")
    ]
    return problems + ([f"left behind: {litter}"] if litter else [])


def _book(sweep: Round) -> list[str]:
    """What is wrong with Optuna's own book."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    wrong = []
    for path in sweep.store.glob("studies/*.journal"):
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        for summary in optuna.get_all_study_summaries(storage):
            states = Counter(
                t.state.name
                for t in optuna.load_study(study_name=summary.study_name, storage=storage).trials
            )
            if set(states) != {"COMPLETE"}:
                wrong.append(f"study {summary.study_name}: {dict(states)}")
    return wrong


def harm(
    sweep: Round, dice: random.Random, longest: float, most: int
) -> tuple[list[str], list[str]]:
    """Run a sweep to its end, harmed at most that often; (what was done to it, what was wrong on
    the way).
    """
    here: list[str] = []
    problems: list[str] = []
    as_user = UNPRIVILEGED or os.geteuid()
    possible = {
        lose_node: sweep.nodes,
        restart_server: sweep.server,
        drip: sweep.server,
        fill_disk: sweep.small,
        hang_forward: sweep.mode == "own",
        s3_outage: sweep.proxy,
        long_s3_outage: sweep.proxy,
        kill_partner: sweep.partner,
        lose_permission: as_user and not sweep.partner,
    }
    kinds = [kind for kind in KINDS if possible.get(kind, True)]
    if sweep.proxy:
        kinds = [kind for kind in kinds if kind in OF_A_BUCKET]
    sweep.start()
    if sweep.partner:
        sweep.partner.start()
    if not sweep.server and not sweep.proxy and dice.random() < 0.4:
        if kill_first_start(sweep, dice):
            here.append(kill_first_start.__name__)
        if (code := sweep.wait(180)) not in ANSWERS[kill_first_start]:
            problems.append(f"kill_first_start was answered with exit status {code}")
        sweep.start()
    while True:
        deadline = time.monotonic() + dice.uniform(0.5, longest)
        while sweep.running and time.monotonic() < deadline:
            time.sleep(0.05)
        if sweep.running and sum(not name.startswith("(") for name in here) < min(most, 12):
            kind = dice.choice(kinds)
            if here.count(kind.__name__) >= MOST_OF.get(kind, 12):
                continue
            if kind(sweep, dice):
                here.append(kind.__name__)
                if kind in ANSWERS:
                    code = sweep.wait(180)
                    if code not in ANSWERS[kind] and not (
                        code == -6 and "*** SIGTERM received" in sweep.said
                    ):  # Ray's own, while it starts
                        problems.append(f"{kind.__name__} was answered with exit status {code}")
                    problems += traces(sweep, code)
                    # the others have, before the harm; and the sweep itself is to find it
                    if kind not in (truncate_checkpoint, flip_checkpoint, rename_experiment):
                        sweep.remember()
            if kind in ANSWERS and not sweep.running:
                sweep.start()
        elif (code := sweep.wait()) == 0 and here[-1:] == ["(once more)"]:
            return here, problems + traces(sweep, code) + (
                ["the command once more had something to do"]
                if "trials to run" in sweep.said
                else []
            )
        elif code == HANGS:
            return here, [*problems, "it hangs; where is in its log"]
        elif code == 0:
            sweep.start()
            here.append("(once more)")
        else:
            here.append(f"(ended with {code})")
            if not any(code == status and words in sweep.said for status, words in GIVEN_UP):
                problems.append(f"it ended with {code}")
            problems += traces(sweep, code)
            if here[-3:] == [here[-1]] * 3:
                return here, [*problems, "it does not come to an end"]
            sweep.start()  # what a person would do: the same command again


def undisturbed(home: Path, text: str) -> dict[str, tuple]:
    """The outcome of a sweep that is not harmed."""
    sweep = Round(home / f"undisturbed-{len(list(home.iterdir()))}", text)
    sweep.start()
    assert sweep.wait() == 0, sweep.folder
    found = outcome(sweep)
    assert not (problems := lost(sweep, found)), problems
    sweep.end(clean=True)
    return found


def finished(partner: Round) -> list[str]:
    """Start the other sweep again until it has finished; what went wrong on the way."""
    for _ in range(3):
        if (code := partner.wait()) == 0:
            return []
        if code == HANGS:
            return ["partner: it hangs; where is in its log"]
        partner.start()
    return [f"partner: it ended with {code}"]


def main(argv: list[str] | None = None) -> int:
    """0: nothing was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Harm a sweep, and see whether anything is lost."
    )
    parser.add_argument("injections", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--longest",
        type=float,
        default=12,
        metavar="S",
        help="seconds from a start to the harm, at most",
    )
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=MODES, help="what the rounds are, in turn"
    )
    parser.add_argument(
        "--harms",
        nargs="+",
        choices=sorted({kind.__name__ for kind in KINDS}),
        help="these alone, so that a rare one is sure to come up",
    )
    args = parser.parse_args(argv)
    if args.harms:
        KINDS[:] = [kind for kind in KINDS if kind.__name__ in args.harms]
    # the results are looked at by this process, too
    os.environ.update(AWS)
    dice = random.Random(args.seed)
    home = Path(tempfile.mkdtemp(prefix="chaos-")).resolve()
    texts = [TEXTS.get(mode, SWEEP) for mode in args.modes]
    texts += [PAIR] if "pair" in args.modes else []
    wanted = {text: undisturbed(home, text) for text in dict.fromkeys(texts)}
    injected: Counter[str] = Counter()
    broken, rounds = [], 0
    while injected.total() < args.injections:
        mode = args.modes[rounds % len(args.modes)]
        text = TEXTS.get(mode, SWEEP)
        rounds += 1
        sweep = Round(home / f"round-{rounds}", text, mode)
        if mode == "pair":
            sweep.partner = Round(home / f"round-{rounds}-partner", PAIR)
            sweep.partner.store = sweep.store
            sweep.partner.arguments = ["--storage", str(sweep.store)]
        here, problems = harm(sweep, dice, args.longest, args.injections - injected.total())
        injected.update(name for name in here if not name.startswith("("))
        if sweep.partner:
            problems += finished(sweep.partner)
            problems += [f"partner: {p}" for p in lost(sweep.partner, wanted[PAIR])]
        problems += lost(sweep, wanted[text])
        broken += [f"round {rounds} ({mode}: {', '.join(here)}): {problem}" for problem in problems]
        said = "; ".join(problems) or "nothing lost"
        print(
            f"round {rounds} ({mode}): {', '.join(here) or 'none'}: {said} ({injected.total()} in "
            "all)",
            flush=True,
        )
        sweep.end(clean=not problems)
    print("\n| injected | times |\n|---|--:|")
    print("\n".join(f"| {kind.replace('_', ' ')} | {n} |" for kind, n in sorted(injected.items())))
    print(
        f"\n{injected.total()} injections into {rounds} sweeps of 12 trials: {len(broken)} problems"
    )
    if never := {kind.__name__ for kind in KINDS} - set(injected):
        print(f"never happened: {', '.join(sorted(never))}")
    print("\n".join(broken))
    if not broken:
        shutil.rmtree(home)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
