"""A network looks at a split of the data set: its mean loss, and its likeliest classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from runners.data.dataset import Dataset, Split, in_order
from runners.data.image_files import Files
from runners.trial import precision


@torch.no_grad()
def look(
    model: Callable[[Tensor], Tensor],
    data: Dataset,
    split: Split | Files,
    name: str,
    device: torch.device,
) -> tuple[float, Tensor, Tensor]:
    """What a model in eval mode makes of a split of the data.

    Args:
        name: of the precision.

    Returns:
        (mean loss, likeliest classes (n, at most 5), true classes (n,)), on the CPU.
    """
    losses, guesses, truth = [], [], []
    for x, y in in_order(data, split):
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
