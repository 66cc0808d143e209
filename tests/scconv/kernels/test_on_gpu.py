"""The Triton programs without a GPU: run on a CPU by Triton's interpreter, and compiled for GPUs to
their machine code, without a launch.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="it comes with torch for CUDA")
HERE = Path(__file__).parent

# what a launch would compile is compiled, for a GPU that is not here
COMPILE = """
import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

from scconv import CRU, SRU
from scconv.kernels import conditions
from scconv.kernels.gpu import run

conditions.GPU, capability = "cpu", int(sys.argv[1])


class Driver:
    def get_current_target(self):
        return GPUTarget("cuda", capability, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


def compile_only(self, *args, grid, warmup, **options):
    made = launch(self, *args, grid=grid, warmup=True, **options)
    assert made.asm["cubin"], self.__name__
    compiled.add(self.__name__)


driver.set_active(Driver())
compiled, launch = set(), jit.JITFunction.run
jit.JITFunction.run = compile_only
half = torch.bfloat16 if capability >= 80 else torch.float16
for channels, n, side in ((16, 4, 9), (48, 1, 9), (128, 4, 1)):
    x = torch.randn(n, channels, side, side).requires_grad_()
    cru = CRU(channels, channels)
    for mixed in (False, True):
        with torch.autocast("cpu", half, enabled=mixed):
            run.sru(SRU(channels), x.to(half) if mixed else x).float().sum().backward()
            run.cru(cru.train(), x).float().sum().backward()
            with torch.no_grad():
                run.cru(cru.eval(), x)
print(*sorted(compiled))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="pytest runs them on the GPU")
def test_the_programs_on_a_cpu_by_tritons_interpreter():
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "gpu")],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=1_800,
    )
    assert ran.returncode == 0 and " passed" in ran.stdout, ran.stdout[-4_000:] + ran.stderr


# Turing (a T4), Ampere, Hopper, Blackwell
@pytest.mark.parametrize("capability", [75, 80, 90, 120])
def test_the_programs_compile_for_a_gpu_that_is_not_here(capability, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE, str(capability)],
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
        | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=1_800,
    )
    assert ran.returncode == 0, ran.stderr[-4_000:]
    programs = "finish gradients lines of_batch of_parts output products select select_backward"
    assert ran.stdout.split() == programs.split()
    assert "Warning" not in ran.stderr
