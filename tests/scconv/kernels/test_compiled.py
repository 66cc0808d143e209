"""Kernels are compiled and stored where they can be, split among threads, and absent without Numba."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import scconv as package
from scconv import SCConv
from scconv.kernels import compiled as module
from scconv.kernels import conditions
from scconv.kernels.compiled import compiled
from scconv.kernels.reconstruct import Reconstruct

ROOT = Path(package.__file__).parents[1]


def doubled(start, stop, v, out):
    for n in range(start, stop):
        out[n] = 2 * v[n]


def refuse(error):
    def stored(_function):
        raise error

    return stored


def no_space(_function):
    def run(*_):
        raise OSError(28, "No space left on device")

    return run


def damaged(_function):
    def run(*_):
        raise EOFError("Ran out of input")

    return run


@pytest.mark.parametrize(
    "stored", [refuse(RuntimeError("no locator available")), no_space, damaged]
)
def test_where_nothing_can_be_stored_it_is_compiled_all_the_same(stored, monkeypatch):
    monkeypatch.setattr(module, "_stored", stored)
    function, out = compiled(doubled), np.zeros(4)
    for _ in range(2):
        function(1, 3, np.arange(4.0), out)
    assert out.tolist() == [0, 2, 4, 0]


@pytest.mark.parametrize("n", [1, 2, 5, 7])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_each_image_is_computed_once_on_any_number_of_threads(n, threads, monkeypatch):
    parts = []

    class Recorded(compiled):
        def __call__(self, start, stop, *args):
            parts.append((start, stop))

    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    Recorded(doubled).over_images(n, 10 * module.ENOUGH)
    assert len(parts) == min(n, threads)
    assert sorted(i for start, stop in parts for i in range(start, stop)) == [*range(n)]


def test_few_elements_stay_on_one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(module, "_pools", None)  # an error, if it is asked for
    out = np.zeros(4)
    compiled(doubled).over_images(4, 4, np.arange(4.0), out)
    assert out.tolist() == [0, 2, 4, 6]


def test_an_error_in_another_thread_is_raised(monkeypatch):
    class Failing(compiled):
        def __call__(self, start, *_):
            if start:
                raise ValueError("in a thread")

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(ValueError, match="in a thread"):
        Failing(doubled).over_images(4, 10 * module.ENOUGH)


def test_a_thread_goes_on_when_the_main_thread_has_ended(tmp_path):
    """Python starts no further threads then."""
    code = """
import threading, torch
from scconv import SCConv
from scconv.kernels import compiled

def train():
    threading.main_thread().join()
    torch.set_num_threads(2)
    SCConv(32, 32)(torch.randn(4, 32, 8, 8)).sum().backward()
    print("trained")

compiled.ENOUGH = 1
threading.Thread(target=train).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.returncode) == ("trained\n", 0), done.stderr


@pytest.mark.slow
def test_the_process_that_compiles_comes_to_the_bits_of_those_that_load(tmp_path):
    code = """
import hashlib, torch
from scconv import SCConv
torch.set_num_threads(1)
for dtype in (torch.float32, torch.float64):
    torch.manual_seed(0)
    m, x = SCConv(64, 64).to(dtype), torch.randn(4, 64, 9, 9, dtype=dtype, requires_grad=True)
    y = m(x)
    y.cos().sum().backward()
    found = [y, x.grad, *(p.grad for p in m.parameters() if p.grad is not None), *m.buffers()]
    bits = b"".join(t.detach().double().numpy().tobytes() for t in found)
    print(hashlib.sha256(bits).hexdigest())
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            check=True,
        ).stdout
        for _ in range(2)
    )
    assert [*tmp_path.rglob("*.nbc")] and len(first.split()) == 2
    assert first == second


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch does not outlive a fork")
def test_a_forked_process_starts_threads_of_its_own():
    """In a process of its own: a fork of this one would have the locks of its other threads."""
    code = """
import os, torch
from scconv import SCConv
from scconv.kernels import compiled

def step():
    torch.manual_seed(0)
    return SCConv(32, 32)(torch.randn(4, 32, 8, 8, requires_grad=True)).square().sum().item()

compiled.ENOUGH = 1
torch.set_num_threads(1)  # torch's own threads do not outlive a fork
torch.get_num_threads = lambda: 2
want = step()
assert compiled._pools
if os.fork() == 0:
    os._exit(0 if not compiled._pools and step() == want else 1)
_, status = os.wait()
print(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.stdout == "0\n", done.stderr


def test_without_numba_the_layers_are_run(monkeypatch):
    torch.manual_seed(0)
    scconv, x = SCConv(32, 32), torch.randn(2, 32, 5, 5)
    want = scconv(x)
    conditions._compiles.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(Reconstruct, "apply", lambda *_: pytest.fail("a kernel ran"))
    try:
        with pytest.warns(UserWarning, match="networks run layer by layer.*Numba cannot be import"):
            torch.testing.assert_close(scconv(x), want)
        torch.testing.assert_close(scconv(x), want)
    finally:
        conditions._compiles.cache_clear()
