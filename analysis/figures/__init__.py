"""Figures of a sweep, each as SVG and PNG; alone in importing matplotlib."""

from analysis.figures.channels import channels
from analysis.figures.confusion import figure as class_matrix
from analysis.figures.curves import curves
from analysis.figures.differences import conditions, effects, pairs
from analysis.figures.drawing import STYLE, plt, save, saved, style
from analysis.figures.forest import forest, kept
from analysis.figures.search import front, history
from analysis.figures.tradeoff import AXES, costs_differ, pareto, tradeoff

__all__ = [
    "AXES",
    "STYLE",
    "channels",
    "class_matrix",
    "conditions",
    "costs_differ",
    "curves",
    "effects",
    "forest",
    "front",
    "history",
    "kept",
    "pairs",
    "pareto",
    "plt",
    "save",
    "saved",
    "style",
    "tradeoff",
]
