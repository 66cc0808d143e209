"""What the tests of the kernels share."""

import pytest
import torch

from scconv.kernels import compiled


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    monkeypatch.setattr(compiled, "ENOUGH", 1)
    yield request.param
    torch.set_num_threads(before)
