"""Is anything ever lost? A sweep of 12 real trials, harmed again and again; the same command has to finish it as if nothing had been.

    make chaos                          200 injections, about an hour on two cores
    python -m tests.chaos 20 --seed 3   fewer, and other moments

Each round runs a sweep in a fresh folder and harms it at random moments until it is finished: in turn a grid, a search, a grid on a
cluster of two nodes, and a grid whose MLflow is a server. Then it is held against an undisturbed run: every trial once, equal weights bit
for bit, one MLflow run per trial, FINISHED, with every epoch once and at the time that the record has; every epoch that was saved when it
was harmed is the one in the record, not trained anew (but for those that a damaged checkpoint had); the same proposals in Optuna's book,
none RUNNING; the exit status that belongs to the signal; no temporary file; and the same command once more has nothing to do.

As root each round has a small disk of its own, so that it can be filled.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.nodes import Nodes
from tests.servers import Server

ROOT = Path(__file__).parents[1]
SWEEP = """
question: Is anything lost?
baseline: R20
base: {backbone: resnet20, dataset: synthetic, recipe: short, epochs: 5, batch_size: 32}
variants:
  R20: {conv: standard}
  S+C: {conv: scconv}
seeds: 6
"""
SEARCH = (
    SWEEP.replace("seeds: 6", "seeds: 1")
    + """
search:
  mode: tune
  space: {lr: {low: 0.01, high: 0.2, log: true}}
  trials: 5
"""
)
MODES = ["grid", "search", "cluster", "server"]
DISK = "300m"
HANGS = 999
PATIENCE_S = 400  # for one start of the command


class Round:
    """One sweep in a folder of its own, and the process that runs it."""

    def __init__(self, folder: Path, text: str, mode: str = "grid"):
        self.folder, self.store = folder, folder / "runs"
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
        self.nodes = Nodes() if mode == "cluster" else None
        self.server = Server(folder) if mode == "server" else None
        self.arguments = [
            *(("--address", self.nodes.address) if self.nodes else ()),
            *(("--tracking-uri", self.server.uri) if self.server else ()),
        ]
        self.undone: dict[str, set[int]] = {}  # trial -> epochs that were lost with a checkpoint
        self.process: subprocess.Popen | None = None
        self.saved: dict[
            str, dict[int, int]
        ] = {}  # trial -> epoch -> when it ended, as its checkpoint had it when the sweep was harmed

    def start(self) -> None:
        line = [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "runners.sweep",
            "chaos.yaml",
            *self.arguments,
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
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
        for part in filter(None, (self.nodes, self.server)):
            part.stop()
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
        for path in self.checkpoints():
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
    """Harm a checkpoint on disk: with the driver killed, and its workers gone, as after a power cut."""
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
    """Of two: with all that runs on it, or so that its worker trains on unseen. Another takes its place."""
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
]


# what the command may answer to a signal: 0 where it had just ended, -2 and -15 where it was still starting
ANSWERS = {
    kill_driver: (-9,),
    kill_first_start: (-9,),
    interrupt: (130, 0, -2),
    interrupt_twice: (130, 0, -2),
    terminate: (130, 0, -15),
    truncate_checkpoint: (-9,),
    flip_checkpoint: (-9,),
}


# what the command may say to a full disk, a server that is away and, after a damage, to kill -9; then its end is right, and the next start goes on
GIVEN_UP = [
    (75, "cannot be written"),
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

    plan, store = load(sweep.folder / "chaos.yaml"), Store(sweep.store)
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
    """trial -> (status, correctness per image, losses of every epoch, its weights' bytes by name)."""
    import torch

    from runners.store import Store

    store, found = Store(sweep.store), {}
    for trial in trials(sweep):
        record = store.record(trial.id)
        weights = (
            torch.load(store.folder(trial.id) / "weights.pt", weights_only=True)
            if record and record.result
            else {}
        )
        parts = tuple((name, value.numpy().tobytes()) for name, value in weights.items())
        losses = tuple((e.train_loss, e.val_top1) for e in record.epochs) if record else ()
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
    if names := {p.name for p in (sweep.store / "trials").iterdir()} - set(found):
        problems.append(f"trials that nobody asked for: {names}")
    records = {t: Store(sweep.store).record(t) for t in found}
    times = {
        t: {e.epoch: e.ended for e in record.epochs} for t, record in records.items() if record
    }
    for trial, saved in sweep.saved.items():
        if again := [e for e, ended in saved.items() if times.get(trial, {}).get(e) != ended]:
            problems.append(f"trial {trial}: epochs {again} had been saved, and were trained again")
    with sqlite3.connect(sweep.folder / "mlflow.db") as book:
        runs = book.execute(
            "select t.value, r.status, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'trial'"
            " where r.lifecycle_stage = 'active'"
        ).fetchall()
        count = Counter(trial for trial, _, _ in runs)
        problems += [
            f"trial {trial}: {count[trial]} MLflow runs" for trial in found if count[trial] != 1
        ]
        for trial, status, run in runs:
            points = book.execute(
                "select step, timestamp from metrics where run_uuid = ? and key = 'train/loss' order by step",
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
                    f"trial {trial}: its MLflow run is {status} with epochs {[step for step, _ in points]}, or at other times"
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
    """Run a sweep to its end, harmed at most that often; (what was done to it, what was wrong on the way)."""
    here: list[str] = []
    problems: list[str] = []
    possible = {lose_node: sweep.nodes, restart_server: sweep.server, fill_disk: sweep.small}
    kinds = [kind for kind in KINDS if possible.get(kind, True)]
    sweep.start()
    if not sweep.server and dice.random() < 0.4:
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
            if kind(sweep, dice):
                here.append(kind.__name__)
                if kind in ANSWERS:
                    code = sweep.wait(180)
                    if code not in ANSWERS[kind] and not (
                        code == -6 and "*** SIGTERM received" in sweep.said
                    ):  # Ray's own, while it starts
                        problems.append(f"{kind.__name__} was answered with exit status {code}")
                    problems += traces(sweep, code)
                    if kind not in (
                        truncate_checkpoint,
                        flip_checkpoint,
                    ):  # they have, before the harm; and the sweep itself is to find it
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
    args = parser.parse_args(argv)
    dice = random.Random(args.seed)
    home = Path(tempfile.mkdtemp(prefix="chaos-")).resolve()
    wanted = {}
    for text in (SWEEP, SEARCH):
        undisturbed = Round(home / f"undisturbed-{len(wanted)}", text)
        undisturbed.start()
        assert undisturbed.wait() == 0, undisturbed.folder
        wanted[text] = outcome(undisturbed)
        assert not (problems := lost(undisturbed, wanted[text])), problems
        undisturbed.end(clean=True)
    injected: Counter[str] = Counter()
    broken, rounds = [], 0
    while injected.total() < args.injections:
        mode = args.modes[rounds % len(args.modes)]
        text = SEARCH if mode == "search" else SWEEP
        rounds += 1
        sweep = Round(home / f"round-{rounds}", text, mode)
        here, problems = harm(sweep, dice, args.longest, args.injections - injected.total())
        injected.update(name for name in here if not name.startswith("("))
        problems += lost(sweep, wanted[text])
        broken += [f"round {rounds} ({mode}: {', '.join(here)}): {problem}" for problem in problems]
        said = "; ".join(problems) or "nothing lost"
        print(
            f"round {rounds} ({mode}): {', '.join(here) or 'none'}: {said} ({injected.total()} in all)",
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
