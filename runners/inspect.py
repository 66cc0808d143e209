"""Look into finished trials from their saved weights: which classes a variant mistakes, and how
redundant its first feature maps are.

    python -m runners.inspect sweeps/quickstart.yaml --variant S --against R20

Nothing is trained, and nothing should be chosen by what is seen here: it is the test set that every
finished trial was already read on.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from analysis.inspect import Side, constant, redundancy, seen, write_classes, write_features
from runners import command, output
from runners.errors import SweepError, suggest
from runners.plan import Sweep, Trial, load
from runners.store import State, Store, results, shown
from runners.trial.datasets import identified
from runners.trial.trained import NoFirstStage, feature_maps, predictions

IMAGES = 100  # the first ones of the test set, over which redundancy is averaged


@command.exits
def main(argv: list[str] | None = None) -> int:
    """0: written; 2: bad input, one line says why."""
    args = _arguments(argv)
    store = Store(args.storage)
    sweep = identified(load(args.sweep, args.set, args.seeds), store, args.data)
    sweep = command.settled(sweep, store)
    names = {"--variant": args.variant} | ({"--against": args.against} if args.against else {})
    finished = {name: _finished(sweep, store, option, name) for option, name in names.items()}
    seed = _seed_to_draw(sweep, finished, args.seed)
    # weights that cannot be used are found before anything is written
    looks = {}
    for name, trials in finished.items():
        try:
            looks[name] = _look(trials, seed, store, args.data)
        except NoFirstStage as error:
            if args.against:
                raise
            # the classes can be looked at without feature maps
            print(error, file=sys.stderr)
    folder = Path(args.out or "")
    if not args.out:
        folder, _ = results.claim(Path("results"), sweep.label, sweep.path, store)
    paths = _classes(finished[args.variant], store, args.data, folder)
    if args.against:
        (side, image), (against, _) = looks[args.variant], looks[args.against]
        caption = _caption([trials[seed] for trials in finished.values()])
        line, drawn = write_features(image, against, side, caption, folder)
        print(line)
        paths += drawn
    print("written:", ", ".join(map(str, paths)))
    return command.DONE


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=output.called("runners.inspect"),
        description="Per-class scores and first-stage feature maps of finished trials.",
    )
    command.share(parser, "sweep")
    parser.add_argument(
        "--variant", required=True, help="the variant to look into, over all its finished seeds"
    )
    parser.add_argument(
        "--against", metavar="VARIANT", help="draw this one's feature maps beside the variant's"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="whose feature maps are drawn (default: the first that has finished in both)",
    )
    command.share(parser, "--set", "--seeds", "--data", "--storage", "--out")
    args = parser.parse_args(argv)
    if args.seed is not None and not args.against:
        parser.error("--seed goes with --against: it says whose feature maps are drawn")
    if args.against == args.variant:
        parser.error(
            f"--against must be another variant than --variant, got {args.against!r} for both"
        )
    return args


def _finished(sweep: Sweep, store: Store, option: str, variant: str) -> dict[int, Trial]:
    """seed -> trial, of the variant's finished ones.

    Raises:
        SweepError: no such variant, or none of its trials has finished.
    """
    if variant not in sweep.variants:
        raise SweepError(
            f"{sweep.path}: {option}: no variant is called "
            f"{variant!r}{suggest(variant, sweep.variants)}"
        )
    trials = [t for t in sweep.trials if t.variant == variant]
    status = {
        t.seed: record.status if (record := store.record(t.id)) else "not finished" for t in trials
    }
    if State.FINISHED not in status.values():
        seen = ", ".join(f"{n} {s}" for s, n in Counter(status.values()).items())
        raise SweepError(
            f"{sweep.path}: {option} {variant}: no trial of it has finished in {store.root} "
            f"({seen}); "
            "run the sweep first, or give the --set and --storage of its run"
        )
    return {t.seed: t for t in trials if status[t.seed] == State.FINISHED}


def _seed_to_draw(sweep: Sweep, finished: dict[str, dict[int, Trial]], wanted: int | None) -> int:
    """The seed whose feature maps are drawn: one that every variant has finished.

    Raises:
        SweepError: there is none, or it is not the one that is wanted, or the variants have not one
            data set.
    """
    if len({trial.config.dataset for trials in finished.values() for trial in trials.values()}) > 1:
        raise SweepError(
            f"{sweep.path}: --against: {' and '.join(finished)} must have one data set, so that "
            "both see the same images; name another"
        )
    common = [seed for seed in sweep.seeds if all(seed in trials for trials in finished.values())]
    if not common:
        raise SweepError(
            f"{sweep.path}: --against: {' and '.join(finished)} must have finished a seed in "
            "common, and have none; run the sweep further"
        )
    if wanted not in (None, *common):
        raise SweepError(
            f"{sweep.path}: --seed: must be one that {' and '.join(finished)} have finished "
            f"({', '.join(map(str, common))}), got {wanted}"
        )
    return common[0] if wanted is None else wanted


def _classes(
    trials: dict[int, Trial], store: Store, data_root: str | None, folder: Path
) -> list[Path]:
    """Write per-class scores and the confusion matrix of one variant; print its macro F1."""
    pairs = {}
    for seed, trial in trials.items():
        pairs[seed] = predictions(trial, store, data_root)
        _compare(trial, store, *pairs[seed])
    trial = next(iter(trials.values()))
    config = trial.config
    line, paths = write_classes(trial.variant, pairs, config.dataset, config.epochs, folder)
    print(line)
    return paths


def _compare(trial: Trial, store: Store, truth: np.ndarray, predicted: np.ndarray) -> None:
    """Say so where these predictions are not those of the record: on another device a close call
    may turn.
    """
    record = store.record(trial.id)
    assert record and record.result
    recorded = np.unpackbits(
        np.frombuffer(bytes.fromhex(record.result.correct), np.uint8), count=len(truth)
    ).astype(bool)
    if other := int((recorded != (truth == predicted)).sum()):
        here, there = 100 * (truth == predicted).mean(), record.result.scores["top1"]
        print(
            f"{trial.name}: {other} of {len(truth)} test images come out otherwise than in its"
            f" record ({shown('top1', here)}, there {there:.2f} %)"
        )


def _look(
    trials: dict[int, Trial], seed: int, store: Store, data_root: str | None
) -> tuple[Side, np.ndarray]:
    """One variant's redundancy, printed; its maps of the first test image by `seed`, and the image.

    The image is bytes (h, w, 3).
    """
    values, flat, drawn, images = {}, [], np.empty(0), np.empty(0)
    for s, trial in trials.items():
        maps, images = feature_maps(trial, store, data_root, IMAGES)
        values[s] = redundancy(maps)
        flat.append(constant(maps))
        if s == seed:
            drawn = maps[0].copy()  # a copy, so that the other images' maps can go
    side = Side(trials[seed].variant, drawn, values, len(images))
    print(seen(side, flat))
    return side, images[0]


def _caption(drawn: list[Trial]) -> str:
    """What is on the picture of these trials, which have one seed and one data set."""
    epochs = " / ".join(dict.fromkeys(str(t.config.epochs) for t in drawn))
    where = f"the test set of {drawn[0].config.dataset} (not picked)"
    return (
        f"The first image of {where}, and what each network's first stage makes of it after "
        f"{epochs} epochs; seed {drawn[0].seed}."
    )


if __name__ == "__main__":
    output.leave(main())
