"""The Triton programs run on a CUDA GPU where there is one, else on the CPU by Triton's interpreter,
which has to be asked for before Triton is imported: tests/scconv/kernels/test_on_gpu.py does.
"""

import os

import pytest
import torch

from scconv import kernels
from scconv.kernels import conditions

NATIVE = torch.cuda.is_available()
if not NATIVE and os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def device(monkeypatch):
    """The one that the programs take maps on."""
    if NATIVE:
        torch.backends.cudnn.allow_tf32 = False
        return torch.device("cuda", 0)
    monkeypatch.setattr(conditions, "GPU", "cpu")
    monkeypatch.setattr(conditions, "_known", {torch.device("cpu"): True})
    monkeypatch.setattr(kernels, "possible", lambda x: False)
    return torch.device("cpu")
