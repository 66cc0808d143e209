"""How long the commands take, here and in an older checkout of the repository, in turns.

    python -m tests.bench_commands --before ../an-older-checkout --out results/bench

Every command is a whole process, in a folder of its own for each checkout, with a cache of its own.
Both read the same made-up store of finished trials, which the older code writes. Where a cache is
named as empty it is removed before each run.
"""

from __future__ import annotations

import argparse
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

EPOCHS = 50
# writes a finished store of `many.yaml` in the current folder; runs with the older checkout's code
STORE = """
import os, random, sys
from dataclasses import replace
from runners.plan import load
from runners.store import Store
from tests.records import EVIDENCE, epoch, record, result

os.fsync = lambda *_: None
dice, store = random.Random(0), Store("runs")
history = [epoch(n, ended=1_700_000_000_000 + n) for n in range(1, int(sys.argv[1]) + 1)]
evidence = EVIDENCE | {"test_images": 10_000}
for trial in load("many.yaml").trials:
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
        environment = os.environ | {"PYTHONPATH": str(self.root), "XDG_CACHE_HOME": str(cache)}
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *line],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return time.perf_counter() - start


def commands(trials: int) -> list[Command]:
    sweep, quick = ["-m", "runners.sweep"], "sweeps/quickstart.yaml"
    return [
        Command("run --help", [*sweep, "--help"], 7),
        Command("order.yaml --plan, empty cache", [*sweep, "sweeps/order.yaml", "--plan"], 5, True),
        Command("order.yaml --plan", [*sweep, "sweeps/order.yaml", "--plan"], 7),
        Command("second start of the finished quickstart", [*sweep, quick], 7),
        Command(f"--plan of {trials:,} finished trials", [*sweep, "many.yaml", "--plan"], 3),
        Command(f"report on {trials:,} trials", ["-m", "analysis.report", "many.yaml"], 3),
    ]


def prepare(before: Checkout, after: Checkout, trials: int) -> None:
    """A finished quickstart of each checkout, and the same made-up trials in both stores."""
    for checkout in (before, after):
        checkout.run(["-m", "runners.sweep", "sweeps/quickstart.yaml"])
        (checkout.folder / "many.yaml").write_text(many(trials))
    before.run(["-c", STORE, str(EPOCHS)])
    for source in (before.folder / "runs/trials").iterdir():
        shutil.copytree(source, after.folder / "runs/trials" / source.name, dirs_exist_ok=True)


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
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench")
    args = parser.parse_args()
    where, lines = machine(), []
    for name, root in (("before", args.before), ("after", ROOT)):
        line = ["git", "-C", str(root), "rev-parse", "HEAD"]
        where[name] = subprocess.check_output(line, text=True).strip()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        both = {
            "before": Checkout(args.before, Path(folder) / "before"),
            "after": Checkout(ROOT, Path(folder) / "after"),
        }
        prepare(both["before"], both["after"], args.trials)
        for command in commands(args.trials):
            lines.append(measure(command, both))
            print(json.dumps(lines[-1]), flush=True)
    save(args.out, "commands", lines, where)


if __name__ == "__main__":
    main()
