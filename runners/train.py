"""Train one trial of a sweep in this process: no Ray, no MLflow; for a debugger.

python -m runners.train sweeps/order.yaml --variant S+C --seed 0
"""

from __future__ import annotations

import argparse
import sys

import torch

from runners.command import settled
from runners.errors import SweepError, suggest
from runners.masking import mask
from runners.plan import Trial, load
from runners.store import Store
from runners.trial.network import measure
from runners.trial.run import pick_device, run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m runners.train", description="Train one trial of a sweep in this process."
    )
    parser.add_argument("sweep", help="the sweep file")
    parser.add_argument("--variant", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PLACE=VALUE",
        help="override, such as base.epochs=3",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="where the data set is, or is downloaded to (default: $DATA_ROOT, else ./data)",
    )
    parser.add_argument(
        "--storage",
        default="runs",
        metavar="DIR",
        help="where checkpoints and records are kept (default: ./runs)",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)"
    )
    parser.add_argument(
        "--threads", type=int, default=None, help="CPU threads (default: torch's own choice)"
    )
    args = parser.parse_args(argv)
    try:
        store = Store(args.storage)
        sweep = settled(load(args.sweep, args.set), store)
        if args.variant not in sweep.variants:
            raise SweepError(
                f"--variant: no variant is called {args.variant!r}{suggest(args.variant, sweep.variants)}"
            )
        trial = Trial(
            sweep.name,
            args.variant,
            sweep.variants[args.variant],
            args.seed,
            sweep.conv_paths.get(sweep.variants[args.variant].conv, ""),
        )
        if args.threads:
            torch.set_num_threads(args.threads)
        measure(trial.config, trial.conv_path)
        _check_device(pick_device(args.device))
        store.forget_failure(trial.id)  # whoever runs one trial by hand wants to see it fail
        for epoch in (e for epochs in run(trial, store, args.data, args.device) for e in epochs):
            val = f", validation {epoch.val_top1:.2f} %" if epoch.val_top1 is not None else ""
            print(
                f"epoch {epoch.epoch}/{trial.config.epochs}: loss {epoch.train_loss:.3f}{val} ({epoch.seconds:.1f} s)",
                flush=True,
            )
    except (SweepError, ValueError, OSError) as error:
        print(mask(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    record = store.record(trial.id)
    assert record
    print(
        f"{trial.name}: "
        + (
            f"test top-1 {record.result.test_top1:.2f} %"
            if record.result
            else f"{record.status}: {record.reason}"
        )
    )
    print(f"record: {store.address(trial.id, 'record.json')}")
    return 0 if record.result else 1


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {name}: {' '.join(str(error).split())[:120]}; use cpu, or cuda where there is a GPU"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
