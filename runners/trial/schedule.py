"""The learning rate at each step of a training.

`wsd` is warm-up, stable, decay (S. Hu et al., MiniCPM, 2024, arXiv:2404.06395). Its decay is
1 - sqrt, which did best among those that A. Hägele et al. compare (Scaling laws and
compute-optimal training beyond fixed training durations, NeurIPS 2024, arXiv:2405.18392).
"""

from __future__ import annotations

import math

from runners.plan import Config
from runners.plan.config import WSD


def rate(config: Config, step: float, steps: int) -> float:
    """The learning rate at a step of the training.

    Args:
        step: counted from 0; the middle of the first step is 0.5.
        steps: how many an epoch has.
    """
    if config.schedule == WSD:
        # by epochs, not by the part of the training: the stable part is the same, to the last bit,
        # however many epochs follow
        return wsd(config, step / steps)
    return learning_rate(config, step / (config.epochs * steps))


def wsd(config: Config, epoch: float) -> float:
    """The rate of `schedule: wsd`, `epoch` epochs after the start."""
    if epoch < config.warmup_epochs:
        return config.lr * epoch / config.warmup_epochs
    past = epoch - config.stable_epochs
    if past <= 0:
        return config.lr
    return config.lr * (1 - math.sqrt(past / (config.epochs - config.stable_epochs)))


def learning_rate(config: Config, progress: float) -> float:
    """The rate at `progress` (0..1) through the training, of the other schedules."""
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "step":
        return config.lr * 0.1 ** sum(progress >= m for m in config.milestones)
    return (
        config.lr * 0.5 * (1 + math.cos(math.pi * (progress - config.warmup) / (1 - config.warmup)))
    )
