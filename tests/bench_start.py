"""How long from a start until two trials of one epoch have ended: by the command, and by a bare
script of Ray Tune.

    python -m tests.bench_start --out results/bench

Both train ResNet-20 on the digits, plain and with SCConv, each in a new folder, in turns. The
script trains by the package's `train()`, and checks and keeps nothing. The first round is not
measured: it fills the caches of both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench_convolutions import ROOT, machine, save

SWEEP = """
question: How soon does it train?
baseline: R20
base: {backbone: resnet20, dataset: digits, recipe: short, epochs: 1, batch_size: 64}
variants:
  R20: {conv: standard}
  S+C: {conv: scconv}
seeds: 1
"""
FIGURES = {"seconds": statistics.median, "least": min, "most": max}
# tells when each trial had ended, in seconds since 1970
BARE = """
import sys, time

import ray
from ray import tune

def trainable(config):
    import torch

    from runners import data
    from runners.plan import load
    from runners.trial.training import train

    torch.set_num_threads(1)
    trial = load(config["sweep"]).trials[config["number"]]
    *_, result = train(trial, data.load(trial.config.dataset))
    tune.report({"ended": time.time(), "top1": result.score})

ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
space = {"sweep": sys.argv[1], "number": tune.grid_search([0, 1])}
run = tune.RunConfig(verbose=0, storage_path=sys.argv[2])
for result in tune.Tuner(trainable, param_space=space, run_config=run).fit():
    print(result.metrics["ended"])
"""


def bare(folder: Path) -> tuple[list[float], float]:
    """Seconds until each trial had ended, and the whole."""
    (folder / "bare.py").write_text(BARE)
    line = ["bare.py", str(folder / "start.yaml"), str(folder / "tune")]
    start, whole, said = _run(line, folder)
    return [float(line) - start for line in said.splitlines() if line[:1].isdigit()], whole


def command(folder: Path) -> tuple[list[float], float]:
    """The same of the command."""
    start, whole, _ = _run(["-m", "runners.sweep", "start.yaml"], folder)
    # a record is the last that a trial writes
    ends = [path.stat().st_mtime - start for path in folder.glob("runs/trials/*/record.json")]
    return ends, whole


def _run(line: list[str], folder: Path) -> tuple[float, float, str]:
    """When it was started, how long it took, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AIR_NEW_OUTPUT": "0"}
    start = time.time()
    ended = subprocess.run(
        [sys.executable, *line],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return start, time.time() - start, ended.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench")
    args = parser.parse_args()
    where, took = machine(), {bare: [], command: []}
    for n in range(args.rounds + 1):
        for run, found in took.items():
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "start.yaml").write_text(SWEEP)
                ends, whole = run(Path(folder))
            assert len(ends) == 2, ends
            if n:
                found.append((min(ends), max(ends), whole))
                print(run.__name__, *(f"{s:.2f}" for s in found[-1]), flush=True)
    lines = [
        {"start": run.__name__, "until": until}
        | {name: round(of([r[i] for r in found]), 2) for name, of in FIGURES.items()}
        for run, found in took.items()
        for i, until in enumerate(("first trial ended", "both had", "the end"))
    ]
    save(args.out, "start", lines, where)


if __name__ == "__main__":
    main()
