"""The reason of a failure names the error, whatever its library writes behind it."""

import pytest
import torch

from runners import command
from runners.errors import (
    StoreDenied,
    StoreError,
    StoreUnreadable,
    SweepError,
    Unfinished,
    reason,
)

COMPILER = """InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')

Set TORCHDYNAMO_VERBOSE=1 for the full Dynamo stack trace (please do this especially if you're \
reporting a bug to PyTorch). For even more developer context, set TORCH_LOGS="+dynamo"
"""
BACKEND = (
    "backend='inductor' raised:\nLoweringException: AssertionError\n\nSet TORCHDYNAMO_VERBOSE=1"
)
UNSUPPORTED = """Failed to trace builtin operator
  Explanation: Dynamo does not know how to trace `open`
  Hint: Avoid calling builtin `open`.

from user code:
   File "mine.py", line 16, in f

Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace
"""
LOADER = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "worker.py", line 375, in _worker_loop
    data = fetcher.fetch(index)
           ^^^^^^^^^^^^^^^^^^^^
ValueError: bad image
of two lines

Hint: look at it
"""
SUBPROCESS = f"An exception occurred in a subprocess:\n\nName=triton\n{LOADER}"


class Mute(Exception):
    def __str__(self) -> str:
        raise ArithmeticError("not even a text")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("odd"), "RuntimeError: odd"),
        (ArithmeticError(), "ArithmeticError"),
        (KeyError("alpha"), "KeyError: 'alpha'"),
        (Mute(), "Mute"),
        (
            RuntimeError(COMPILER),
            "RuntimeError: InvalidCxxCompiler: No working C++ compiler found in "
            "torch._inductor.config.cpp.cxx: (None, 'g++')",
        ),
        (
            RuntimeError(BACKEND),
            "RuntimeError: backend='inductor' raised: LoweringException: AssertionError",
        ),
        (
            RuntimeError(UNSUPPORTED),
            "RuntimeError: Failed to trace builtin operator "
            "Explanation: Dynamo does not know how to trace `open`",
        ),
        (ValueError(LOADER), "ValueError: bad image of two lines"),
        (RuntimeError(SUBPROCESS), "RuntimeError: ValueError: bad image of two lines"),
        (ValueError("\n\n  late\n\nhint"), "ValueError: late"),
        (ValueError("a heading:\n\nthe message\n\nhint"), "ValueError: a heading: the message"),
        (ValueError("odd\nhint: set FOO=1"), "ValueError: odd"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 288),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_reason_is_the_errors_type_and_message(error, expected):
    assert reason(error) == expected


def test_the_reasons_of_torchs_own_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Linear(3, 3).load_state_dict({})
    assert reason(caught.value) == (
        "RuntimeError: Error(s) in loading state_dict for Linear: "
        'Missing key(s) in state_dict: "weight", "bias".'
    )


@pytest.mark.parametrize(
    "error, status, said",
    [
        (SweepError("base: unknown key"), 2, "base: unknown key"),
        (StoreError("s3://lab cannot be read: 503"), 75, "503; the same command continues"),
        (StoreDenied("runs cannot be read: Permission denied"), 2, "Permission denied"),
        (StoreUnreadable("record.json cannot be read: Input/output error"), 2, "output error"),
        (Unfinished("limits.hours: 2 have passed"), 75, "passed; the same command continues"),
        (FileNotFoundError("x.yaml: no such file"), 2, "x.yaml: no such file"),
        (KeyboardInterrupt(), 130, "the same command continues"),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(error, status, said, capsys):
    @command.exits
    def main(argv):
        raise error

    assert main([]) == status
    assert capsys.readouterr().err.strip().endswith(said)
