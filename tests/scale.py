"""Does a sweep of many trials slow down? A thousand near-empty ones by the command and, beside it,
by bare Ray Tune.

    python -m tests.scale 1000 --out results/scale

A trial is one epoch of ResNet-20 on 288 made-up images. Bare Tune trains the same trials in the
same number of reused workers and keeps nothing but what they report: no checkpoints, no records, no
MLflow. Written: when each trial had ended, and the driver's memory then.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
SWEEP = """
question: Does it slow down?
baseline: R20
base: {{backbone: resnet20, dataset: synthetic, recipe: short, epochs: 1, batch_size: 32}}
variants:
  R20: {{conv: standard}}
  depthwise: {{conv: depthwise}}
seeds: {seeds}
"""
Curve = list[
    tuple[float, int, float]
]  # seconds since the start, trials that have ended, the driver's memory in MB


def _train(config: dict) -> None:
    """What Tune's workers do without us."""
    import torch

    from runners import data
    from runners.launch.cluster import tune
    from runners.trial.training import train

    torch.set_num_threads(1)
    *_, result = train(config["trial"], data.load("synthetic"))
    tune.report({"top1": result.score})


def bare(sweep_file: Path, count: Path) -> None:
    """The sweep's trials by Ray Tune alone; says in a file how many have ended."""
    from runners.launch.cluster import ray, tune
    from runners.plan import load

    class Count(tune.Callback):
        ended = 0

        def on_trial_complete(self, *_, **__) -> None:
            self.ended += 1
            count.write_text(str(self.ended))

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as scratch:
        run = tune.RunConfig(storage_path=scratch, verbose=0, callbacks=[Count()])
        config = tune.TuneConfig(reuse_actors=True)
        space = {"trial": tune.grid_search(load(sweep_file).trials)}
        tune.Tuner(
            tune.with_resources(_train, {"cpu": 1}),
            param_space=space,
            tune_config=config,
            run_config=run,
        ).fit()


def watch(line: list[str], folder: Path, ended) -> Curve:
    """Run a command to its end; what it took."""
    start, curve = time.perf_counter(), []
    process = psutil.Popen(
        line, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        try:
            point = (
                round(time.perf_counter() - start, 2),
                ended(),
                round(process.memory_info().rss / 1e6, 1),
            )
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            break
        if not curve or point[1] != curve[-1][1] or point[0] - curve[-1][0] > 5:
            curve.append(point)
        time.sleep(0.5)
    if code := process.wait():
        raise SystemExit(f"{' '.join(line)} ended with {code}")
    return curve


def measure(trials: int) -> dict[str, Curve]:
    """Both, one after the other, on this machine."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "scale.yaml").write_text(SWEEP.format(seeds=trials // 2))
        count = folder / "count"
        count.write_text("0")
        bare_line = [
            sys.executable,
            "-m",
            "tests.scale",
            "--bare",
            str(folder / "scale.yaml"),
            str(count),
        ]
        found["bare Ray Tune"] = watch(bare_line, folder, lambda: int(count.read_text() or 0))
        store = folder / "runs" / "trials"
        line = [sys.executable, "-m", "runners.sweep", "scale.yaml"]
        found["the command"] = watch(
            line, folder, lambda: sum(1 for _ in store.glob("*/record.json"))
        )
    return found


def pace(curve: Curve, first: int, last: int) -> float:
    """Seconds per trial between two numbers of ended trials."""
    begin, end = (next(seconds for seconds, ended, _ in curve if ended >= n) for n in (first, last))
    return (end - begin) / (last - first)


def summary(curve: Curve, trials: int) -> dict[str, float]:
    fifth = trials // 5
    memory = {ended: mb for _, ended, mb in curve}
    return {
        "seconds": curve[-1][0],
        "first fifth, s per trial": round(pace(curve, 1, fifth), 3),
        "last fifth, s per trial": round(pace(curve, trials - fifth, trials), 3),
        "driver MB after a fifth": next(mb for ended, mb in memory.items() if ended >= fifth),
        "driver MB at the end": max(mb for ended, mb in memory.items() if ended >= trials),
    }


def draw(found: dict[str, Curve], trials: int, path: Path) -> None:
    import matplotlib.pyplot as plt

    plt.style.use(ROOT / "analysis" / "figures" / "style.mplstyle")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    step = max(1, trials // 20)
    for name, curve in found.items():
        ends = range(step, trials + 1, step)
        left.plot([*ends], [pace(curve, end - step, end) for end in ends], label=name)
        right.plot([ended for _, ended, _ in curve], [mb for *_, mb in curve], label=name)
    left.set(xlabel="trials ended", ylabel="seconds per trial", ylim=(0, None))
    right.set(xlabel="trials ended", ylabel="driver's memory, MB", ylim=(0, None))
    left.legend()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        return bare(Path(sys.argv[2]), Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", nargs="?", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "scale")
    args = parser.parse_args()
    args.trials = max(20, args.trials // 2 * 2)
    found = measure(args.trials)
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "scale.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["by", "seconds", "ended", "driver_mb"])
        rows.writerows([name, *point] for name, curve in found.items() for point in curve)
    draw(found, args.trials, args.out / "scale.png")
    print(
        json.dumps({name: summary(curve, args.trials) for name, curve in found.items()}, indent=1)
    )


if __name__ == "__main__":
    main()
