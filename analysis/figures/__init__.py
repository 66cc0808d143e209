"""Figures of a sweep, each as SVG and PNG; alone in importing matplotlib."""

from analysis.figures.drawing import (
    AXES,
    STYLE,
    curves,
    front,
    history,
    pareto,
    plt,
    save,
    tradeoff,
)

__all__ = [
    "AXES",
    "STYLE",
    "curves",
    "front",
    "history",
    "pareto",
    "plt",
    "save",
    "tradeoff",
]
