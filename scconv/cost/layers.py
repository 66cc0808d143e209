"""How deep a network is: the layers with weights on its longest path, read from autograd's graph.

A report's own claim of depth counts what its author calls layers; this counts convolutions and
linear layers one after the other, those of an attention or a squeeze as well. A matrix product
counts where it is a linear layer; a convolution whose kernels are generated counts as one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

Depth = tuple[int, int]  # layers with weights, and those of them that are spatial convolutions


def depth(output: Tensor) -> Depth:
    """Of the path to this output with the most layers, and among such the most spatial ones."""
    found: dict[Any, Depth] = {}
    waiting = [output.grad_fn]
    # without recursion, since a network may be deeper than Python's stack
    while waiting:
        node = waiting[-1]
        before = [n for n, _ in node.next_functions if n is not None] if node is not None else []
        if missing := [n for n in before if n not in found]:
            waiting += missing
            continue
        layers, spatial = max((found[n] for n in before), default=(0, 0))
        mine = _layer(node)
        found[node] = layers + mine[0], spatial + mine[1]
        waiting.pop()
    return found[output.grad_fn]


def _layer(node: Any) -> Depth:
    """(1, 1) for a spatial convolution, (1, 0) for another layer with weights, else (0, 0)."""
    name = type(node).__name__
    if name.startswith("ConvolutionBackward"):
        return 1, int(max(node._saved_weight.shape[2:]) > 1)
    if name.startswith("AddmmBackward"):
        return 1, 0
    # a linear layer without a bias multiplies by its weights transposed; other products have none
    operands = [n for n, _ in getattr(node, "next_functions", ()) if n is not None]
    transposed = any(type(n).__name__.startswith("TBackward") for n in operands)
    return (int(name.startswith("MmBackward") and transposed), 0)
