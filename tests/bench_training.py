"""How fast a training is: our loop against its bare step, and against a usual script's loop.

    python -m tests.bench_training --out results/bench

All three train the same network on the same random images of 32x32, one torch thread, in turns.
The bare step has its batches ready: what it takes is what network and optimizer take. Ours draws,
shifts, mirrors and normalises them in memory, counts and checks the loss. A usual script opens each
image with PIL, transforms it in two worker processes of a DataLoader, and reads loss and hits back
at every step; it runs in a process of its own, with the memory's usual settings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Pictures
from torchvision import transforms

from runners import system
from runners.data.dataset import Dataset, Split
from runners.plan import Config, Trial
from runners.trial.training import Training
from scconv import backbones, replace_convs
from tests.bench_convolutions import (
    ROOT,
    Clocks,
    channels_last,
    in_turns,
    machine,
    ratios,
    save,
    taken,
)

MEAN, STD = (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)
BATCH, STEPS, WORKERS = 128, 10, 2
RECIPE = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}


class _Images(Pictures):
    """The images as a usual script has them: opened and transformed one by one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def network(name: str, conv: str) -> nn.Module:
    torch.manual_seed(0)
    model = backbones.build(name, 100)
    if conv != "standard":
        replace_convs(model, conv)
    return model.train()


def bare(name: str, conv: str) -> Callable[[], None]:
    """An epoch of steps whose batches are ready."""
    model = network(name, conv).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # as a trial's on a CPU
    optimizer = torch.optim.SGD(model.parameters(), **RECIPE, foreach=True)
    x, y = channels_last(torch.randn(BATCH, 3, 32, 32)), torch.randint(100, (BATCH,))

    def epoch() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    return epoch


def ours(name: str, conv: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """An epoch of a trial's training."""
    split = Split(torch.from_numpy(images), torch.from_numpy(labels))
    none = split.subset(torch.arange(0))
    data = Dataset(
        *("random", 100, MEAN, STD, 4, True, split, none, none), digest="", train_digest=""
    )
    config = Config(name, "random", conv, batch_size=BATCH, val_fraction=0.0, **RECIPE)
    training = Training(Trial("bench", name, config, 0), data)
    return lambda: (training.epoch(0), None)[1]


def usual(name: str, conv: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """An epoch of a usual script."""
    model = network(name, conv)
    optimizer = torch.optim.SGD(model.parameters(), **RECIPE)
    loader = DataLoader(
        *(_Images(images, labels), BATCH),
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )

    def epoch() -> None:
        loss_sum, hits = 0.0, 0
        for x, y in loader:
            optimizer.zero_grad()
            output = model(x)
            loss = F.cross_entropy(output, y)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(y)
            hits += int((output.argmax(1) == y).sum().item())

    return epoch


class Apart:
    """A loop in a process of its own, whose epochs it times itself."""

    loop: ClassVar[Callable[[], None]]

    def __init__(self, pool: ProcessPoolExecutor, *arguments):
        self.pool = pool
        pool.submit(Apart._begin, *arguments).result()

    @staticmethod
    def _begin(*arguments) -> None:
        torch.set_num_threads(1)
        Apart.loop = usual(*arguments)

    @staticmethod
    def _epoch() -> Clocks:
        return taken(Apart.loop)

    def epoch(self) -> Clocks:
        return self.pool.submit(Apart._epoch).result()


def measure(name: str, conv: str, rounds: int) -> list[dict]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return _measure(name, conv, rounds, pool)


def _measure(name: str, conv: str, rounds: int, pool: ProcessPoolExecutor) -> list[dict]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH * STEPS, 32, 32, 3), dtype=np.uint8)
    labels = random.integers(0, 100, BATCH * STEPS)
    apart = Apart(pool, name, conv, images, labels)
    epochs = {
        "bare step": bare(name, conv),
        "ours": ours(name, conv, images, labels),
        "usual script": apart.epoch,
    }

    def clock(epoch: Callable[[], object]) -> Clocks:
        return apart.epoch() if epoch == apart.epoch else taken(epoch)

    seconds = in_turns(epochs, rounds, clock)
    lines = []
    for loop, clocks in seconds.items():
        line = {"network": name, "conv": conv, "loop": loop, **ratios(clocks, seconds["bare step"])}
        line["images_per_s"] = round(1e3 * BATCH * STEPS / line["wall_ms"], 1)
        lines.append(line)
        print(f"{name}, {conv}: {loop} {line['wall']:.2f} of the bare step's wall", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="*", default=["resnet20", "resnet56"])
    parser.add_argument("--convs", nargs="*", default=["standard", "scconv"])
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench")
    args = parser.parse_args()
    torch.set_num_threads(1)
    system.keep_memory()
    started, where, lines = time.strftime("%Y-%m-%d"), machine(), []
    for name in args.networks:
        for conv in args.convs:
            lines += measure(name, conv, args.rounds)
    save(args.out, "training", lines, where | {"date": started})


if __name__ == "__main__":
    main()
