"""Train one trial of a sweep in this process: no Ray, no MLflow; for a debugger.

python -m runners.train sweeps/order.yaml --variant S+C --seed 0
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace

import torch

from runners import command, output
from runners.errors import SweepError, suggest
from runners.output import watched
from runners.plan import Sweep, Trial, load
from runners.store import Record, State, Store, advance, shown
from runners.store.evaluation import UNFILLED
from runners.trial import conditions, datasets, pace
from runners.trial.evaluate import evaluate
from runners.trial.network import measure
from runners.trial.run import pick_device, run


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: finished; 1: it failed or diverged; 2: bad input, one line says why; 130: interrupted."""
    args = _arguments(argv)
    store = Store(args.storage)
    sweep = datasets.identified(load(args.sweep, args.set), store, args.data)
    sweep = command.settled(sweep, store)
    if not args.again:
        return _train(sweep, store, args)
    with tempfile.TemporaryDirectory(prefix="sweeps-again-") as scratch:
        print(f"again, in a store of its own that goes with this command: {scratch}")
        return _train(sweep, Store(scratch), args)


def _train(sweep: Sweep, store: Store, args: argparse.Namespace) -> int:
    trial = _trial(sweep, args.variant, args.seed)
    # what is found is the number of threads alone: on a GPU, and where it is written, it stands
    threads = args.threads or sweep.resources.cpu != 1 or pace.gpus()
    if sweep.resources.gpu == "auto" and not threads:
        from runners import packing
        from runners.trial.networks import networks

        sweep, _ = packing.resolved(sweep, networks(sweep), here=True)
    # more threads add in another order, and the figures would not be the sweep's
    torch.set_num_threads(args.threads or sweep.resources.threads)
    with watched(f"building variants.{args.variant}"):
        measure(trial.config, trial.own)
        conditions.check(sweep)
    _check_device(pick_device(args.device))
    if (record := store.record(trial.id)) and record.status == State.FINISHED:
        print(
            f"{trial.name} has finished in {store.root}, {_outcome(record)}; --again trains it anew"
        )
    # as the command that trains all of them does, but for this variant's data alone
    alone = replace(sweep, variants={args.variant: trial.config})
    for note in sweep.notes:
        print(f"note: {note}", file=sys.stderr)
    datasets.check(alone, store, args.data)

    # a person who runs one trial by hand wants to see it fail
    store.forget_failure(trial.id)
    store.keep_sweep(sweep)
    store.begin(trial)
    datasets.remember(alone, store)
    for epochs in run(trial, store, args.data, args.device):
        for epoch in epochs:
            print(advance(epoch, trial.config.epochs))
    record = store.record(trial.id)
    assert record
    print(f"{trial.name}: {_outcome(record)}")
    if made := evaluate(trial, store, args.data, args.device):
        for name, scores in made.of(trial.evaluate, *trial.fills).items():
            filled = f", {scores.fill} fill" if scores.fill != UNFILLED else ""
            print(f"{name}{filled}: top-1 {scores.top1:.2f} %")
    print(f"record: {store.address(trial.id, 'record.json')}")
    return command.DONE if record.result else command.SOME_FAILED


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=output.called("runners.train"),
        description="Train one trial of a sweep in this process.",
    )
    command.share(parser, "sweep")
    parser.add_argument("--variant", required=True)
    parser.add_argument("--seed", type=int, default=0)
    command.share(parser, "--set", "--data", "--storage")
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="train it from the beginning, finished or not, and keep nothing; for a debugger",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="CPU threads (default: the sweep's resources.cpu, for the sweep's own figures)",
    )
    return parser.parse_args(argv)


def _trial(sweep: Sweep, variant: str, seed: int) -> Trial:
    if variant not in sweep.variants:
        raise SweepError(
            f"--variant: no variant is called {variant!r}{suggest(variant, sweep.variants)}"
        )
    return sweep.trial(variant, sweep.variants[variant], seed)


def _outcome(record: Record) -> str:
    if record.result:
        return f"test {shown(record.primary, record.result.score)}"
    return f"{record.status}: {record.reason}"


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {name}: {' '.join(str(error).split())[:120]}; "
            "use cpu, or cuda where there is a GPU"
        ) from None


if __name__ == "__main__":
    output.leave(main())
