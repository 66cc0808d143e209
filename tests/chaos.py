"""Is anything ever lost? A sweep of 12 real trials, harmed again and again; the same command has to finish it as if nothing had been.

    make chaos                          200 injections, about an hour on two cores
    python -m tests.chaos 20 --seed 3   fewer, and other moments

Each round runs the sweep in a fresh folder and harms it at random moments until it is finished. Then it is held against an undisturbed
run: every trial once, one MLflow run per trial, FINISHED, with every epoch once, equal weights bit for bit, no temporary file.
"""

import argparse
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
PATIENCE_S = 400  # for one start of the command


class Round:
    """One sweep in a folder of its own, and the process that runs it."""

    def __init__(self, folder: Path):
        self.folder, self.store = folder, folder / "runs"
        folder.mkdir(parents=True)
        (folder / "chaos.yaml").write_text(SWEEP)
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        line = [sys.executable, "-m", "runners.sweep", "chaos.yaml"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        log = open(self.folder / "log.txt", "a")  # noqa: SIM115 - the child's
        self.process = subprocess.Popen(line, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds: float = PATIENCE_S) -> int:
        assert self.process
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"the command did not end within {seconds:.0f} s; see {self.folder}/log.txt") from None

    def send(self, number: int) -> None:
        assert self.process
        if self.running:
            os.kill(self.process.pid, number)

    def workers(self) -> list[int]:
        """The processes that train, of this round alone: they have its store's lock files open."""
        found = []
        for path in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if os.readlink(path).startswith(str(self.store / "trials")) and path.parts[2] != str(self.process and self.process.pid):
                    found.append(int(path.parts[2]))
            except OSError:
                continue
        return sorted(set(found))

    def checkpoints(self) -> list[Path]:
        return sorted(self.store.glob("trials/*/checkpoint.pt"))


def kill_driver(sweep: Round, dice: random.Random) -> bool:
    sweep.send(signal.SIGKILL)
    return True


def interrupt(sweep: Round, dice: random.Random) -> bool:
    sweep.send(signal.SIGINT)
    return True


def interrupt_twice(sweep: Round, dice: random.Random) -> bool:
    sweep.send(signal.SIGINT)
    time.sleep(dice.uniform(0, 2))
    sweep.send(signal.SIGINT)
    return True


def terminate(sweep: Round, dice: random.Random) -> bool:
    sweep.send(signal.SIGTERM)
    return True


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


def damage(sweep: Round, dice: random.Random, harm: Callable[[bytearray, random.Random], bytes]) -> bool:
    """Harm a checkpoint on disk: with the driver killed, and its workers gone, as after a power cut."""
    sweep.send(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while sweep.workers() and time.monotonic() < deadline:
        time.sleep(0.2)
    if not (paths := sweep.checkpoints()):
        return False
    path = dice.choice(paths)
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


KINDS: list[Callable[[Round, random.Random], bool]] = [
    *[kill_driver] * 6,
    *[kill_worker] * 4,
    interrupt,
    interrupt_twice,
    terminate,
    terminate,
    freeze_driver,
    truncate_checkpoint,
    flip_checkpoint,
    lock_database,
]


def outcome(sweep: Round) -> dict[str, tuple]:
    """trial -> (status, its weights' bytes by name, correctness per image)."""
    import torch

    from runners.plan import load
    from runners.store import Store

    store, found = Store(sweep.store), {}
    for trial in load(sweep.folder / "chaos.yaml").trials:
        record = store.record(trial.id)
        weights = torch.load(store.folder(trial.id) / "weights.pt", weights_only=True) if record and record.result else {}
        parts = tuple((name, value.numpy().tobytes()) for name, value in weights.items())
        found[trial.id] = (record.status if record else None, record.result.correct if record and record.result else None, parts)
    return found


def lost(sweep: Round, wanted: dict[str, tuple]) -> list[str]:
    """What is not as it would be without any harm; a line each."""
    problems = []
    for trial, found in outcome(sweep).items():
        if found != wanted[trial]:
            problems.append(f"trial {trial}: {found[0]}, not as undisturbed")
    if names := {p.name for p in (sweep.store / "trials").iterdir()} - set(wanted):
        problems.append(f"trials that nobody asked for: {names}")
    with sqlite3.connect(sweep.folder / "mlflow.db") as book:
        runs = book.execute(
            "select t.value, r.status, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'trial'"
            " where r.lifecycle_stage = 'active'"
        ).fetchall()
        times = Counter(trial for trial, _, _ in runs)
        problems += [f"trial {trial}: {times[trial]} MLflow runs" for trial in wanted if times[trial] != 1]
        for trial, status, run in runs:
            steps = [row[0] for row in book.execute("select step from metrics where run_uuid = ? and key = 'train/loss' order by step", (run,))]
            if status != "FINISHED" or steps != [1, 2, 3, 4, 5]:
                problems.append(f"trial {trial}: its MLflow run is {status} with epochs {steps}")
    litter = [str(p.relative_to(sweep.folder)) for p in sweep.folder.rglob("*") if p.name.endswith(".tmp") or ".new" in p.name]
    litter += [str(p.relative_to(sweep.folder)) for p in sweep.checkpoints()]
    return problems + ([f"left behind: {litter}"] if litter else [])


def main(argv: list[str] | None = None) -> int:
    """0: nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Harm a sweep, and see whether anything is lost.")
    parser.add_argument("injections", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=25, metavar="S", help="seconds from a start to the harm, at most")
    args = parser.parse_args(argv)
    dice = random.Random(args.seed)
    home = Path(tempfile.mkdtemp(prefix="chaos-"))
    undisturbed = Round(home / "undisturbed")
    undisturbed.start()
    assert undisturbed.wait() == 0, undisturbed.folder
    wanted = outcome(undisturbed)
    assert not (problems := lost(undisturbed, wanted)), problems
    injected: Counter[str] = Counter()
    broken, rounds = [], 0
    while injected.total() < args.injections:
        rounds += 1
        sweep = Round(home / f"round-{rounds}")
        here: list[str] = []
        sweep.start()
        while True:
            deadline = time.monotonic() + dice.uniform(0.5, args.longest)
            while sweep.running and time.monotonic() < deadline:
                time.sleep(0.05)
            if sweep.running and injected.total() < args.injections and len(here) < 12:
                kind = dice.choice(KINDS)
                if kind(sweep, dice):
                    injected[kind.__name__] += 1
                    here.append(kind.__name__)
                if kind not in (kill_worker, freeze_driver, lock_database):
                    sweep.wait(60)
                    sweep.start()
            elif (code := sweep.wait()) == 0:
                break
            else:
                sweep.start()  # what a person would do: the same command again
                here.append(f"(ended with {code})")
                if here[-3:] == [here[-1]] * 3:
                    break
        problems = lost(sweep, wanted)
        broken += [f"round {rounds} ({', '.join(here)}): {problem}" for problem in problems]
        print(f"round {rounds}: {len(here)} injections, {'; '.join(problems) or 'nothing lost'} ({injected.total()} in all)", flush=True)
        if not problems:
            shutil.rmtree(sweep.folder)
    print("\n| injected | times |\n|---|--:|")
    print("\n".join(f"| {kind.replace('_', ' ')} | {n} |" for kind, n in sorted(injected.items())))
    print(f"\n{injected.total()} injections into {rounds} sweeps of {len(wanted)} trials: {len(broken)} problems")
    print("\n".join(broken))
    if not broken:
        shutil.rmtree(home)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
