"""What orchestration costs: the same trials by a bare loop over `train()` and by the command, on as
many processes; and how long a report takes.

    make bench

Both train every trial of one sweep from nothing, two at a time with one thread each. The loop keeps
nothing: no checkpoints, no
records, no MLflow, no report. The runs alternate, and the ratio is taken pair by pair, because the
speed of a shared machine drifts.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parents[1]
SWEEP = """
question: What does orchestration cost?
baseline: R20
base: {{backbone: resnet20, dataset: digits, recipe: short, epochs: {epochs}, batch_size: 64}}
variants:
  R20: {{conv: standard}}
  S+C: {{conv: scconv}}
seeds: {seeds}
"""


def _train(trial) -> float:
    import torch

    from runners import data
    from runners.trial.training import train

    torch.set_num_threads(1)
    *_, result = train(trial, data.load(trial.config.dataset))
    return result.score


def loop(sweep_file: Path, processes: int) -> float:
    from runners.plan import load

    trials = load(sweep_file).trials
    start = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        top1 = list(pool.map(_train, trials))
    assert min(top1) > 20, top1
    return time.perf_counter() - start


def command(sweep_file: Path) -> float:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "runners.sweep", str(sweep_file)],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds


def report(trials: int, epochs: int = 50) -> float:
    """Seconds from `trials` generated records, five seeds a variant, to a written report, as a
    whole process.
    """

    from runners.plan import load
    from runners.store import Store
    from tests.records import EVIDENCE, epoch, record, result

    dice = random.Random(0)
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    rates = [round(0.001 * i, 4) for i in range(1, trials // 5 + 1)]
    base = "{backbone: resnet20, dataset: cifar10, recipe: short}"
    (folder / "many.yaml").write_text(
        f"question: Which rate?\nbaseline: lr=0.001\nbase: {base}\nfactors: "
        f"{{lr: {rates}}}\nseeds: 5\n"
    )
    store = Store(folder / "runs")
    evidence = EVIDENCE | {"test_images": 10_000}
    history = [epoch(n, ended=1_700_000_000_000 + n) for n in range(1, epochs + 1)]
    for trial in load(folder / "many.yaml").trials:
        right = dice.randrange(6_000, 8_000)
        ended = record(trial, epochs=history, provenance=evidence)
        store.commit(replace(ended, result=result(right, 10_000)))
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "analysis.report", "many.yaml"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument(
        "--reports",
        type=int,
        nargs="+",
        default=[1_000, 10_000],
        help="finished trials to report on; 0 for none",
    )
    args = parser.parse_args()
    for trials in filter(None, args.reports):
        print(f"report on {trials} finished trials: {report(trials):.1f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sweep_file = Path(folder) / "bench.yaml"
        sweep_file.write_text(SWEEP.format(epochs=args.epochs, seeds=args.seeds))
        pairs = []
        for _ in range(args.pairs):
            pairs.append((loop(sweep_file, os.cpu_count() or 1), command(sweep_file)))
            bare, whole = pairs[-1]
            print(
                f"{2 * args.seeds} trials: bare loop {bare:.1f} s, command {whole:.1f} s, ratio "
                f"{whole / bare:.3f}",
                flush=True,
            )
    if not pairs:
        return
    ratios = [whole / bare for bare, whole in pairs]
    minutes = statistics.fmean(b for b, _ in pairs) * (os.cpu_count() or 1) / (2 * args.seeds) / 60
    summary = {
        "trials": 2 * args.seeds,
        "minutes_per_trial": round(minutes, 2),
        "ratios": [round(r, 3) for r in ratios],
    }
    print(json.dumps(summary | {"median_ratio": round(statistics.median(ratios), 3)}))


if __name__ == "__main__":
    main()
