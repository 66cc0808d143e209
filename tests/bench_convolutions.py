"""What convolutions cost in time: each against nn.Conv2d 3x3 of its shape, forward and backward, and
networks with SCConv against those without, a whole training step.

    make bench

One thread, channels_last. The designs take turns within each round, so that a shared machine slows
all of them alike; the figures are ratios of medians over the rounds, with the quartiles of the
rounds' own ratios. Two clocks: the wall's, and the thread's processor time, which other processes
disturb less. Writes results/bench/.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners import system
from scconv import SCConv, backbones, cost, kernels, replace_convs
from scconv.convs import find
from tests.popular import popular

ROOT = Path(__file__).parents[1]
SHAPES = ((64, 32), (128, 16), (256, 8), (512, 4))  # channels, side
BLOCKS = (3, 4, 6, 3)  # of ResNet-50, at these shapes
RIVALS = ("ghost", "slim", "sp", "tied", "group", "depthwise")
NETWORKS = ("resnet50", "resnet20", "resnet56")
Clocks = tuple[float, float]


class Layers(nn.Module):
    """SCConv run layer by layer, without the kernels."""

    def __init__(self, channels: int):
        super().__init__()
        self.module = SCConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        with kernels.plain():
            return self.module(x)


def designs(channels: int) -> dict[str, nn.Module]:
    """What can stand in the place of a 3x3 of this many channels."""
    made: dict[str, nn.Module] = {
        "conv": nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        "popular": popular(channels),
        "S+C by layers": Layers(channels),
    }
    orders = {"S": ["sru"], "C": ["cru"], "S+C": ["sru", "cru"], "C+S": ["cru", "sru"]}
    made |= {name: SCConv(channels, channels, order=order) for name, order in orders.items()}
    for name in RIVALS:
        made[name] = find(name).drop_in(nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
    return made


def taken(step: Callable[[], object]) -> Clocks:
    wall, processor = time.perf_counter(), time.thread_time()
    step()
    return time.perf_counter() - wall, time.thread_time() - processor


def in_turns(
    steps: dict[str, Callable[[], object]],
    rounds: int,
    taken: Callable[[Callable[[], object]], Clocks] = taken,
) -> dict[str, list[Clocks]]:
    """Seconds of each step in each round; the first two rounds warm up and are left out."""
    found: dict[str, list[Clocks]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            found[name].append(taken(step))
    return {name: seconds[2:] for name, seconds in found.items()}


def both_ways(module: nn.Module, x: Tensor, g: Tensor) -> Callable[[], None]:
    def step() -> None:
        x.grad = None
        module.zero_grad(set_to_none=True)
        module(x).backward(g)

    return step


def kept(module: nn.Module, x: Tensor) -> float:
    """Bytes that are kept for the backward, beside the input and the weights, in inputs."""
    known = {x.data_ptr(), *(p.data_ptr() for p in module.parameters())}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in known:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = module(x)
    del out
    return sum(sizes.values()) / (x.numel() * x.element_size())


def convolutions(batch: int, rounds: int) -> list[dict]:
    """One line a shape and design, and one a design for ResNet-50's mix of the shapes."""
    lines, total = [], {}
    for (channels, side), blocks in zip(SHAPES, BLOCKS, strict=True):
        torch.manual_seed(0)
        modules = designs(channels)
        x = channels_last(torch.randn(batch, channels, side, side)).requires_grad_()
        g = channels_last(torch.randn(batch, channels, side, side))
        for module in modules.values():
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps = {name: both_ways(m, x, g) for name, m in modules.items() if m(x).shape == g.shape}
        seconds = in_turns(steps, rounds)
        whole = cost(modules["conv"], (channels, side, side)).macs
        for name in steps:
            line = {"table": "convolution", "batch": batch, "shape": f"{channels}x{side}x{side}"}
            line |= {"design": name, **ratios(seconds[name], seconds["conv"])}
            line["kept_in_inputs"] = round(kept(modules[name], x), 2)
            line["macs"] = round(cost(modules[name], (channels, side, side)).macs / whole, 3)
            lines.append(line)
            print_line(line)
            for kind in (0, 1):
                key = (name, kind)
                total[key] = total.get(key, 0) + blocks * median(seconds[name], kind)
    for name in dict.fromkeys(name for name, _ in total):
        line = {"table": "convolution", "batch": batch, "shape": "ResNet-50's mix", "design": name}
        line["wall"] = round(total[name, 0] / total["conv", 0], 3)
        line["processor"] = round(total[name, 1] / total["conv", 1], 3)
        lines.append(line)
        print_line(line)
    return lines


def networks(name: str, batch: int, rounds: int) -> list[dict]:
    """A training step with SCConv against one without: forward, loss, backward, SGD."""
    steps, counts = {}, {}
    for design in ("standard", "by layers", "scconv"):
        torch.manual_seed(0)
        model = backbones.build(name, 100)
        if design != "standard":
            replace_convs(model, "scconv")
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps[design] = training_step(model, batch, layers=design == "by layers")
        counts[design] = cost(model).macs
    seconds = in_turns(steps, rounds)
    lines = []
    for design in steps:
        line = {"table": "training step", "batch": batch, "shape": name, "design": design}
        line |= ratios(seconds[design], seconds["standard"])
        line["macs"] = round(counts[design] / counts["standard"], 3)
        lines.append(line)
        print_line(line)
    return lines


def training_step(model: nn.Module, batch: int, *, layers: bool) -> Callable[[], None]:
    optimizer = torch.optim.SGD(
        model.parameters(),
        *(0.05, 0.9),
        weight_decay=5e-4,
        nesterov=True,
        foreach=True,  # as a trial's on a CPU
    )
    x, y = channels_last(torch.randn(batch, 3, 32, 32)), torch.randint(100, (batch,))

    def step() -> None:
        if layers:
            with kernels.plain():
                loss = F.cross_entropy(model(x), y)
        else:
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last)


def median(seconds: list[Clocks], kind: int) -> float:
    return statistics.median(pair[kind] for pair in seconds)


def ratios(seconds: list[Clocks], baseline: list[Clocks]) -> dict:
    found: dict[str, float] = {}
    for kind, clock in enumerate(("wall", "processor")):
        pairs = zip(seconds, baseline, strict=True)
        quartiles = statistics.quantiles(a[kind] / b[kind] for a, b in pairs)
        found[clock] = round(median(seconds, kind) / median(baseline, kind), 3)
        found[f"{clock}_quarter"], found[f"{clock}_three_quarters"] = (
            round(quartiles[0], 3),
            round(quartiles[2], 3),
        )
        found[f"{clock}_ms"] = round(1e3 * median(seconds, kind), 2)
    return found


def print_line(line: dict) -> None:
    wall, processor = line["wall"], line["processor"]
    place = f"{line['table']}, batch {line['batch']}, {line['shape']}"
    print(
        f"{place}: {line['design']} {wall:.2f} of the wall, {processor:.2f} of the processor",
        flush=True,
    )


def machine() -> dict:
    """Where it was measured. No names of machines or folders."""
    models = (
        [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        if Path("/proc/cpuinfo").is_file()
        else []
    )
    return {
        "cpu": models[0] if models else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def save(out: Path, name: str, lines: list[dict], where: dict) -> None:
    """Write the lines as NAME.csv, and beside them where they were measured."""
    where = where | {"load_at_end": round(os.getloadavg()[0], 1)}
    out.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for line in lines for key in line))
    with (out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    (out / f"{name}.json").write_text(json.dumps(where, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=ROOT / "results/bench")
    args = parser.parse_args()
    torch.set_num_threads(1)
    system.keep_memory()  # as in a trial's training
    where, lines = machine(), []
    for batch in args.batches:
        lines += convolutions(batch, args.rounds)
    for name in args.networks:
        lines += networks(name, 32, args.rounds)
    save(args.out, "convolutions", lines, where)


if __name__ == "__main__":
    main()
