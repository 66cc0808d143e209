"""A question becomes trials: read, checked, named, identified. Needs no torch."""

from runners.plan.config import NETWORK, PACKAGE, RECIPES, Config, Data, EarlyStop, Own, Trial
from runners.plan.evaluating import Evaluate
from runners.plan.loading import load
from runners.plan.sweep import Limits, Resources, Sweep

__all__ = [
    "NETWORK",
    "PACKAGE",
    "RECIPES",
    "Config",
    "Data",
    "EarlyStop",
    "Evaluate",
    "Limits",
    "Own",
    "Resources",
    "Sweep",
    "Trial",
    "load",
]
