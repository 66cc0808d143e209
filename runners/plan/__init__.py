"""A question becomes trials: read, checked, named, identified. Needs no torch."""

from runners.plan.sweep import RECIPES, Config, Limits, Resources, Sweep, Trial, load

__all__ = ["RECIPES", "Config", "Limits", "Resources", "Sweep", "Trial", "load"]
