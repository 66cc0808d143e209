"""The part of a GPU's peak that a training comes to; no GPU is needed to count it."""

import pytest
import torch

from runners.trial import utilisation
from runners.trial.utilisation import peak

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "half", "full"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4, 494.7),
        ("NVIDIA H200", 989.4, 494.7),
        ("NVIDIA H100 PCIe", 756, 378),
        ("NVIDIA A100-SXM4-80GB", 312, 156),
        ("NVIDIA A10", 125, 62.5),
        ("NVIDIA L40S", 362, 183),
        ("NVIDIA L4", 121, 60),
        ("Tesla T4", 65, 8.1),
        ("Tesla V100-SXM2-32GB", 125, 15.7),
        ("NVIDIA GeForce RTX 3090", 71, 35.6),
    ],
)
def test_a_gpu_is_known_by_the_name_that_torch_gives_it(name, half, full):
    assert peak(name, "bf16") == peak(name, "fp16") == pytest.approx(half * 1e12)
    assert peak(name, "fp32") == pytest.approx(full * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        *("NVIDIA A10G", "NVIDIA A1000", "NVIDIA B300", "AMD Instinct", "NVIDIA H200 NVL"),
        *("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA A40-48Q", "GRID A100-10C"),
        *("NVIDIA GeForce RTX 3090 Ti", "NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 D"),
    ],
)
def test_no_figure_is_made_up_for_another_gpu(name):
    assert peak(name, "bf16") is None


def test_it_counts_a_forward_and_two_backward_passes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    # ResNet-50 on ImageNet, 4.09 billion multiply-adds, at 2,500 images a second
    found = utilisation.utilisation(4_090_000_000, 2500.0, GPU, "bf16")
    assert found == {"mfu": pytest.approx(2500 * 3 * 8.18e9 / 989.4e12)}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Unheard of")
    assert utilisation.utilisation(1, 1.0, GPU, "bf16") == {}
    assert utilisation.utilisation(1, 1.0, torch.device("cpu"), "fp32") == {}
