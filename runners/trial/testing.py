"""A network looks at a split of the data set: its mean loss, and its likeliest classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from runners.data.dataset import Dataset, Split, bytes_in_order
from runners.data.image_files import Files
from runners.trial import precision


@torch.no_grad()
def look(
    model: Callable[[Any], Tensor],
    data: Dataset,
    split: Split | Files,
    name: str,
    device: torch.device,
    change: Callable[[Tensor], Any] | None = None,
) -> tuple[float, Tensor, Tensor]:
    """What a model in eval mode makes of a split of the data.

    Args:
        name: of the precision.
        change: from bytes (n, h, w, 3) to what the model takes; they are normalised where it is
            not given.

    Returns:
        (mean loss, likeliest classes (n, at most 5), true classes (n,)), on the CPU.
    """
    losses, guesses, truth = [], [], []
    for images, y in bytes_in_order(split):
        x = change(images) if change else data.normalise(images)
        with precision.autocast(name, device):
            logits = model(x)
        losses.append(F.cross_entropy(logits.float(), y, reduction="sum"))
        guesses.append(likeliest(logits))
        truth.append(y)
    loss = (torch.stack(losses).sum() / len(split)).item()
    return loss, torch.cat(guesses).cpu(), torch.cat(truth).cpu()


def likeliest(logits: Tensor) -> Tensor:
    """(n, classes) -> (n, at most 5): the likeliest classes, the likeliest first.

    In bf16 two logits are often equal: whoever asks again must break the tie in the same way.
    """
    return logits.topk(min(5, logits.shape[1]), 1).indices


def per_cent(hits: Tensor) -> float:
    """Of booleans (n,), the share that is true."""
    return 100 * hits.sum().item() / len(hits)
