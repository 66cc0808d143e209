"""Is the sampler worth it? TPE against random search on a space small enough that every cell was
trained.

    python -m runners.sweep sweeps/pareto-small.yaml --set search.sampler=grid --set
    search.trials=84 --set search.seed=1000 --set ...
    python -m tests.samplers results/pareto-small-grid/seed*.csv

Each CSV is the `search.csv` of one whole grid, of one seed. Against it the real search is run with
each sampler and many seeds of the sampler; its trials end at once, with the outcome that the grid
has for their cell. Hypervolumes are shares of the whole grid's.
"""

import csv
import json
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRIALS, SEEDS = 24, 20


def grid(path: Path) -> dict[str, tuple[float, float]]:
    """cell -> (macs in millions, validation top-1) of every cell that can be trained."""
    with open(path, newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["val_top1"]]
    return {
        _key({k: v for k, v in line.items() if k.startswith("options.")}): (
            float(line["macs_m"]),
            float(line["val_top1"]),
        )
        for line in lines
    }


def _key(cell: dict) -> str:
    return json.dumps({k: str(v) for k, v in cell.items()}, sort_keys=True)


def shares(found: dict[str, tuple[float, float]], sampler: str, seed: int) -> list[float]:
    """The search's share of the grid's hypervolume after 1, 2, ... trained cells."""
    from runners.plan import load
    from runners.search.searching import Searching, hypervolume
    from runners.store import Store
    from tests.records import epoch, record

    def cost(config, path: str) -> dict[str, float]:
        known = prices.get(json.dumps(asdict(config), sort_keys=True))
        if known is None:
            raise ValueError("impossible, or out of bounds")
        return {"macs_m": known[0], "params_m": 1.0}

    sets = [
        f"search.sampler={sampler}",
        f"search.seed={seed}",
        f"search.trials={TRIALS}",
        "search.constraints={}",
    ]
    sweep = load(ROOT / "sweeps" / "pareto-small.yaml", sets)
    cells = sweep.search.cells or [] if sweep.search else []
    prices = {
        json.dumps(asdict(sweep.candidate(cell)), sort_keys=True): found[_key(cell)]
        for cell in cells
        if _key(cell) in found
    }
    with tempfile.TemporaryDirectory() as folder:
        store, points = Store(folder), []
        work = Searching(sweep, store, cost)
        work.begin(Counter())
        while trial := work.next():
            points.append(prices[json.dumps(asdict(trial.config), sort_keys=True)])
            epochs = [epoch(1, val=points[-1][1])]
            work.learn(trial, store.commit(record(trial, epochs=epochs)))
    everything = [*found.values()]
    whole = hypervolume(everything, everything)
    return [100 * hypervolume(points[: n + 1], everything) / whole for n in range(len(points))]


def main(paths: list[str]) -> None:
    import matplotlib.pyplot as plt

    from analysis.figures import STYLE, save

    grids = [grid(Path(path)) for path in paths]
    print(
        f"{len(grids)} grids of {', '.join(str(len(g)) for g in grids)} cells; {SEEDS} seeds of "
        "each sampler on each\n"
    )
    print("| trained | tpe, median (quartiles) | random, median (quartiles) |\n|--:|--:|--:|")
    runs = {
        sampler: [shares(g, sampler, 2000 + seed) for g in grids for seed in range(SEEDS)]
        for sampler in ("tpe", "random")
    }
    quartiles = {
        s: [
            statistics.quantiles([run[n] for run in rows if n < len(run)], n=4)
            for n in range(TRIALS)
        ]
        for s, rows in runs.items()
    }
    for n in (4, 8, 12, 16, 20, 24):
        texts = [
            f"{q[1]:.1f} ({q[0]:.1f} to {q[2]:.1f})" for q in (quartiles[s][n - 1] for s in runs)
        ]
        print(f"| {n} | {texts[0]} | {texts[1]} |")
    with plt.style.context(STYLE):
        figure, axes = plt.subplots()
        for (sampler, qs), colour in zip(quartiles.items(), ("#0072B2", "#D55E00"), strict=True):
            axes.plot(
                range(1, TRIALS + 1),
                [q[1] for q in qs],
                color=colour,
                label=f"{sampler}: median and quartiles",
            )
            axes.fill_between(
                range(1, TRIALS + 1),
                [q[0] for q in qs],
                [q[2] for q in qs],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
        axes.axhline(100, color="0.5", linestyle="--", linewidth=1, label="the whole grid")
        axes.set(xlabel="trained cells", ylabel="hypervolume (% of the whole grid's)")
        axes.legend()
        save(figure, Path(paths[0]).parent / "samplers")


if __name__ == "__main__":
    main(sys.argv[1:])
