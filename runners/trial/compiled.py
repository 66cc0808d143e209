"""torch.compile for one trial, independent of what its process has compiled before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from scconv.channels import Present

BACKEND = "inductor"


class Compiled:
    """A network's forward as torch.compile makes it, for batches of one size.

    Dynamo keeps at most 8 graphs of one `forward` in a process and runs the next network
    uncompiled, without an error. So its state is cleared for every trial. A trial has one graph:
    the last batch of an epoch, where it is smaller, runs uncompiled. To compile that shape too
    would cost a second compilation for one batch per epoch.

    Args:
        batch: images in a batch that is compiled for.
    """

    def __init__(self, model: nn.Module, batch: int):
        torch.compiler.reset()
        counters.clear()
        self.model, self.batch = model, batch
        self.forward = torch.compile(model, backend=BACKEND, dynamic=False)
        self.ran = False
        self.before = ""  # the outcome of the epochs that another process ran

    def __call__(self, x: Tensor | Present) -> Tensor:
        if len(x) != self.batch:
            return self.model(x)
        self.ran = True
        return self.forward(x)

    @property
    def outcome(self) -> str:
        """Whether all epochs so far were compiled: "yes", "in parts: ..." or "no: ..."."""
        if self.before not in ("", "yes"):
            return self.before
        if not self.ran:
            return self.before or "unknown"
        graphs = counters["stats"]["unique_graphs"]
        breaks = counters["graph_break"]
        if not graphs:
            return "no: torch ran it uncompiled, and its warning is in the trial's log"
        if breaks:
            reason = " ".join(next(iter(breaks)).split())[:200]
            return f"in parts: {graphs} graphs, uncompiled between them ({reason})"
        return "yes"
