"""A question becomes trials: read, checked, named, identified. Needs no torch."""

from runners.plan.config import RECIPES, Config, Trial
from runners.plan.sweep import Limits, Resources, Sweep, load

__all__ = ["RECIPES", "Config", "Limits", "Resources", "Sweep", "Trial", "load"]
