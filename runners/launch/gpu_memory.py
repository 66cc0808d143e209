"""A GPU's memory that is full: seen by a trial's error, and answered by fewer trials on it.

| a trial finds it full | what follows |
|---|---|
| beside other trials | all go on with twice the share of a GPU each, half as many at a time |
| alone on the GPU | the trial has failed: it needs more than there is |
"""

from __future__ import annotations

import re
from dataclasses import replace

from runners.plan import Resources

# what CUDA itself says; torch's allocator raises an error of its own
CUDA = r"CUDA error: out of memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"


def is_full(error: Exception, gpu: float) -> bool:
    """Whether a trial with this share of a GPU failed because the memory is full."""
    by_torch = type(error).__name__ == "OutOfMemoryError"
    return by_torch or bool(gpu and re.search(CUDA, str(error)))


def fewer(resources: Resources) -> Resources:
    """Half as many trials on a GPU."""
    gpu = resources.share or 0.0
    return replace(resources, gpu=max(gpu, min(1.0, 2 * gpu)))
