"""Is anything ever lost? A sweep of 12 real trials, harmed again and again; the same command has to finish it as if nothing had been.

    make chaos                          200 injections, about an hour on two cores
    python -m tests.chaos 20 --seed 3   fewer, and other moments

Each round runs a sweep (every third: a search) in a fresh folder and harms it at random moments until it is finished. Then it is held
against an undisturbed run: every trial once, equal weights bit for bit, one MLflow run per trial, FINISHED, with every epoch once and at
the time that the record has; every epoch that was saved when it was harmed is the one in the record, not trained anew (but for those that
a damaged checkpoint had); the same proposals in Optuna's book, none RUNNING; the exit status that belongs to the signal; no temporary file.
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
SEARCH = (
    SWEEP.replace("seeds: 6", "seeds: 1")
    + """
search:
  mode: tune
  space: {lr: {low: 0.01, high: 0.2, log: true}}
  trials: 5
"""
)
PATIENCE_S = 400  # for one start of the command


class Round:
    """One sweep in a folder of its own, and the process that runs it."""

    def __init__(self, folder: Path, text: str):
        self.folder, self.store = folder, folder / "runs"
        folder.mkdir(parents=True)
        (folder / "chaos.yaml").write_text(text)
        self.process: subprocess.Popen | None = None
        self.saved: dict[str, dict[int, int]] = {}  # trial -> epoch -> when it ended, as its checkpoint had it when the sweep was harmed

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

    def send(self, number: int) -> bool:
        """False where there was nobody to send it to any more."""
        assert self.process
        if not self.running:
            return False
        os.kill(self.process.pid, number)
        return True

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
        for process in (name for name in os.listdir("/proc") if name.isdigit() and name != str(self.process and self.process.pid)):
            try:
                files = [os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")]
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


def damage(sweep: Round, dice: random.Random, harm: Callable[[bytearray, random.Random], bytes]) -> bool:
    """Harm a checkpoint on disk: with the driver killed, and its workers gone, as after a power cut."""
    sweep.send(signal.SIGKILL)
    sweep.remember()
    if not (paths := sweep.checkpoints()):
        return False
    path = dice.choice(paths)
    saved = sweep.saved[path.parent.name]
    saved.pop(max(saved), None)  # that one may be trained again; those of the checkpoint before may not
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


# what the command may answer to a signal: 0 where it had just ended, -2 and -15 where it was still starting
ANSWERS = {
    kill_driver: (-9,),
    interrupt: (130, 0, -2),
    interrupt_twice: (130, 0, -2),
    terminate: (130, 0, -15),
    truncate_checkpoint: (-9,),
    flip_checkpoint: (-9,),
}


def trials(sweep: Round) -> list:
    """Every trial that the sweep should have by now: its search's, and its comparison's."""
    from runners import search
    from runners.plan import load
    from runners.store import Store

    plan, store = load(sweep.folder / "chaos.yaml"), Store(sweep.store)
    searched = [p.trial for study in search.open_studies(plan, store) for p in study.proposals if p.trained] if plan.search else []
    return [*searched, *search.conclude(plan, store).trials]


def outcome(sweep: Round) -> dict[str, tuple]:
    """trial -> (status, correctness per image, losses of every epoch, its weights' bytes by name)."""
    import torch

    from runners.store import Store

    store, found = Store(sweep.store), {}
    for trial in trials(sweep):
        record = store.record(trial.id)
        weights = torch.load(store.folder(trial.id) / "weights.pt", weights_only=True) if record and record.result else {}
        parts = tuple((name, value.numpy().tobytes()) for name, value in weights.items())
        losses = tuple((e.train_loss, e.val_top1) for e in record.epochs) if record else ()
        found[trial.id] = (record.status if record else None, record.result.correct if record and record.result else None, losses, parts)
    return found


def lost(sweep: Round, wanted: dict[str, tuple]) -> list[str]:
    """What is not as it would be without any harm; a line each."""
    from runners.store import Store

    problems, found = [], outcome(sweep)
    if [*found] != [*wanted]:
        problems.append(f"other trials: {len(found)}, not {len(wanted)}, or others proposed")
    problems += [f"trial {t}: {found[t][0]}, not as undisturbed" for t in found if t in wanted and found[t] != wanted[t]]
    if names := {p.name for p in (sweep.store / "trials").iterdir()} - set(found):
        problems.append(f"trials that nobody asked for: {names}")
    records = {t: Store(sweep.store).record(t) for t in found}
    times = {t: {e.epoch: e.ended for e in record.epochs} for t, record in records.items() if record}
    for trial, saved in sweep.saved.items():
        if again := [e for e, ended in saved.items() if times.get(trial, {}).get(e) != ended]:
            problems.append(f"trial {trial}: epochs {again} had been saved, and were trained again")
    with sqlite3.connect(sweep.folder / "mlflow.db") as book:
        runs = book.execute(
            "select t.value, r.status, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'trial'"
            " where r.lifecycle_stage = 'active'"
        ).fetchall()
        count = Counter(trial for trial, _, _ in runs)
        problems += [f"trial {trial}: {count[trial]} MLflow runs" for trial in found if count[trial] != 1]
        for trial, status, run in runs:
            points = book.execute("select step, timestamp from metrics where run_uuid = ? and key = 'train/loss' order by step", (run,)).fetchall()
            if status != "FINISHED" or points != sorted(times.get(trial, {}).items()):
                problems.append(f"trial {trial}: its MLflow run is {status} with epochs {[step for step, _ in points]}, or at other times")
    problems += _book(sweep)
    litter = [str(p.relative_to(sweep.folder)) for p in sweep.folder.rglob("*") if p.name.endswith(".tmp") or ".new" in p.name]
    litter += [str(p.relative_to(sweep.folder)) for p in sweep.store.glob("trials/*/checkpoint*.pt")]
    return problems + ([f"left behind: {litter}"] if litter else [])


def _book(sweep: Round) -> list[str]:
    """What is wrong with Optuna's own book."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    wrong = []
    for path in sweep.store.glob("studies/*.journal"):
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        for summary in optuna.get_all_study_summaries(storage):
            states = Counter(t.state.name for t in optuna.load_study(study_name=summary.study_name, storage=storage).trials)
            if set(states) != {"COMPLETE"}:
                wrong.append(f"study {summary.study_name}: {dict(states)}")
    return wrong


def main(argv: list[str] | None = None) -> int:
    """0: nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Harm a sweep, and see whether anything is lost.")
    parser.add_argument("injections", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=25, metavar="S", help="seconds from a start to the harm, at most")
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
    injected: Counter[str] = Counter()
    broken, rounds = [], 0
    while injected.total() < args.injections:
        rounds += 1
        text = SWEEP if rounds % 3 else SEARCH
        sweep = Round(home / f"round-{rounds}", text)
        here: list[str] = []
        problems: list[str] = []
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
                    code = sweep.wait(90)
                    if code not in ANSWERS[kind]:
                        problems.append(f"{kind.__name__} was answered with exit status {code}")
                    if kind not in (truncate_checkpoint, flip_checkpoint):  # they have, before the harm; and the sweep itself is to find it
                        sweep.remember()
                    sweep.start()
            elif (code := sweep.wait()) == 0:
                break
            else:
                here.append(f"(ended with {code})")
                if here[-3:] == [here[-1]] * 3:
                    break
                sweep.start()  # what a person would do: the same command again
        problems += lost(sweep, wanted[text])
        broken += [f"round {rounds} ({', '.join(here)}): {problem}" for problem in problems]
        print(f"round {rounds}: {', '.join(here) or 'none'}: {'; '.join(problems) or 'nothing lost'} ({injected.total()} in all)", flush=True)
        if not problems:
            shutil.rmtree(sweep.folder)
    print("\n| injected | times |\n|---|--:|")
    print("\n".join(f"| {kind.replace('_', ' ')} | {n} |" for kind, n in sorted(injected.items())))
    print(f"\n{injected.total()} injections into {rounds} sweeps of 12 trials: {len(broken)} problems")
    if never := {kind.__name__ for kind in KINDS} - set(injected):
        print(f"never happened: {', '.join(sorted(never))}")
    print("\n".join(broken))
    if not broken:
        shutil.rmtree(home)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
