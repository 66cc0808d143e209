"""How long the commands take, here and in an older checkout of the repository, in turns.

    python -m tests.bench_commands --before ../an-older-checkout --out results/bench

Every command is a whole process, in a folder of its own for each checkout, with a cache of its own.
Each reads made-up stores of finished trials, on disk and in a bucket of a server on this machine.
Each writes its own, since a trial's id follows from versions; the trials and their epochs are the
same. The large one is listed alone, and is one store for both. Where a cache is named as empty it
is removed before each run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench_convolutions import ROOT, machine, save
from tests.s3 import Moto, make_bucket

EPOCHS = 50
OWN = "{own}"  # in a command line: the name of the checkout
BUCKET = "s3://lab/{own}?endpoint_override=127.0.0.1:{port}&scheme=http"
AWS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
# writes a finished store of a sweep file, with so many epochs
STORE = """
import os, random, sys
from dataclasses import replace
from runners.plan import load
from runners.store import Store
from tests.records import EVIDENCE, epoch, record, result

os.fsync = lambda *_: None
path, place, epochs = sys.argv[1:]
dice, store = random.Random(0), Store(place)
history = [epoch(n, ended=1_700_000_000_000 + n) for n in range(1, int(epochs) + 1)]
evidence = EVIDENCE | {"test_images": 10_000}
for trial in load(path).trials:
    ended = record(trial, epochs=history, provenance=evidence)
    store.commit(replace(ended, result=result(dice.randrange(6_000, 8_000), 10_000)))
"""


@dataclass(frozen=True)
class Command:
    """A command line as Python takes it, and whether the cache of networks is removed before."""

    name: str
    line: list[str]
    rounds: int
    empty: bool = False


def many(trials: int) -> str:
    """A sweep file of so many trials, five seeds of each variant."""
    rates = [round(0.001 * i, 4) for i in range(1, trials // 5 + 1)]
    base = "{backbone: resnet20, dataset: cifar10, recipe: short}"
    return (
        f"question: Which rate?\nbaseline: lr=0.001\nbase: {base}\nfactors: {{lr: {rates}}}\n"
        "seeds: 5\n"
    )


class Checkout:
    """The commands of one checkout, in a folder of its own."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root.resolve(), folder
        folder.mkdir()
        shutil.copytree(self.root / "sweeps", folder / "sweeps")

    def run(self, line: list[str], *, empty: bool = False) -> float:
        """Seconds of a command.

        Raises:
            subprocess.CalledProcessError: it ended with another status than 0.
        """
        cache = self.folder / "cache"
        if empty:
            shutil.rmtree(cache, ignore_errors=True)
        own = {"PYTHONPATH": str(self.root), "XDG_CACHE_HOME": str(cache)}
        environment = os.environ | AWS | own
        # as users have it: Python compiles a file once
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *(part.replace(OWN, self.folder.name) for part in line)],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return time.perf_counter() - start


def of_trials(trials: int) -> list[Command]:
    """What everybody runs, and a store of so many trials."""
    sweep, quick = ["-m", "runners.sweep"], "sweeps/quickstart.yaml"
    return [
        Command("run --help", [*sweep, "--help"], 7),
        Command("order.yaml --plan, empty cache", [*sweep, "sweeps/order.yaml", "--plan"], 5, True),
        Command("order.yaml --plan", [*sweep, "sweeps/order.yaml", "--plan"], 7),
        Command("second start of the finished quickstart", [*sweep, quick], 7),
        Command(f"--plan of {trials:,} finished trials", [*sweep, "many.yaml", "--plan"], 3),
        Command(f"report on {trials:,} trials", ["-m", "analysis.report", "many.yaml"], 3),
    ]


def of_large(trials: int) -> list[Command]:
    line = ["-m", "runners.shell.ls", "--storage", "../large-runs"]
    return [
        Command(f"ls of {trials:,} trials", line, 3),
        Command("the same, empty cache", line, 1, True),
    ]


def of_far(trials: int, bucket: str) -> list[Command]:
    line = ["-m", "runners.sweep", "far.yaml", "--plan", "--storage", bucket]
    return [
        Command(f"--plan of {trials:,} finished trials in a bucket", line, 3),
        Command("the same, empty cache", line, 1, True),
    ]


def prepare(
    before: Checkout, after: Checkout, sizes: argparse.Namespace, bucket: str
) -> list[Command]:
    """Make the stores that are asked for; what is to be measured on them."""
    found = []
    for checkout in (before, after):
        for name, trials in (("many", sizes.trials), ("large", sizes.large), ("far", sizes.far)):
            (checkout.folder / f"{name}.yaml").write_text(many(max(5, trials)))
    if sizes.trials:
        for checkout in (before, after):
            checkout.run(["-m", "runners.sweep", "sweeps/quickstart.yaml"])
            checkout.run(["-c", STORE, "many.yaml", "runs", str(EPOCHS)])
        found += of_trials(sizes.trials)
    if sizes.large:
        before.run(["-c", STORE, "large.yaml", "../large-runs", "2"])
        found += of_large(sizes.large)
    if sizes.far:
        for checkout in (before, after):
            checkout.run(["-c", STORE, "far.yaml", bucket, str(EPOCHS)])
        found += of_far(sizes.far, bucket)
    return found


def measure(command: Command, both: dict[str, Checkout]) -> dict:
    """The median of both checkouts' seconds, in turns; the first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for turn in range(command.rounds + 1):
        for name, checkout in both.items():
            taken = checkout.run(command.line, empty=command.empty)
            if turn:
                seconds[name].append(taken)
    line: dict[str, str | float] = {"command": command.name}
    for name, found in seconds.items():
        line[f"{name}_s"] = round(statistics.median(found), 2)
        line[f"{name}_least_s"], line[f"{name}_most_s"] = round(min(found), 2), round(max(found), 2)
    line["ratio"] = round(float(line["after_s"]) / float(line["before_s"]), 3)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="an older checkout")
    parser.add_argument("--trials", type=int, default=10_000, help="of a store on disk; 0: none")
    parser.add_argument("--large", type=int, default=100_000, help="of one to list; 0: none")
    parser.add_argument("--far", type=int, default=1_000, help="of one in a bucket; 0: none")
    parser.add_argument("--name", default="commands", help="of the files that are written")
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench")
    args = parser.parse_args()
    where, lines = machine(), []
    for name, root in (("before", args.before), ("after", ROOT)):
        line = ["git", "-C", str(root), "rev-parse", "HEAD"]
        where[name] = subprocess.check_output(line, text=True).strip()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        server = Moto()
        stack.callback(server.stop)
        make_bucket(server.port)
        bucket = BUCKET.replace("{port}", str(server.port))
        both = {
            "before": Checkout(args.before, Path(folder) / "before"),
            "after": Checkout(ROOT, Path(folder) / "after"),
        }
        for command in prepare(both["before"], both["after"], args, bucket):
            lines.append(measure(command, both))
            print(json.dumps(lines[-1]), flush=True)
    save(args.out, args.name, lines, where)


if __name__ == "__main__":
    main()
