"""Output never decides over results: a stream takes what it can, and the rest is lost.

Every command runs inside `forgiving()`. Its prints then survive a full disk, a reader that has gone
(`| head`), a closed stream and an encoding that lacks a character: no exception reaches the work.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

NO_ANSWER_S = 30.0  # after which a person is told what is waited for


class Forgiving:
    """A text stream whose writes never raise; all else is that of the stream below."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except UnicodeError:
            # "replace" keeps the columns of a table: one character for one
            encoding = self.stream.encoding or "ascii"
            return self.write(text.encode(encoding, "replace").decode(encoding))
        except (OSError, ValueError):  # full, closed at the other end, or closed here
            pass
        # what would wait in a buffer would fail where nobody expects it
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.flush()


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
    """Put standard output and error behind `Forgiving` streams."""
    _occupy_closed()
    before = sys.stdout, sys.stderr
    forgiven = [Forgiving(_open(stream)) for stream in before]
    sys.stdout, sys.stderr = forgiven  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in before:
            _settle(stream)
        sys.stdout, sys.stderr = before


def leave(status: int) -> NoReturn:
    """End this process with its exit status, at once.

    Python would first free thousands of modules one by one, for seconds. What was registered for
    the exit runs; nothing else of a command outlives its `main`.
    """
    # as Python does at the end of a process of its multiprocessing
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        _settle(stream)
    os._exit(status)


def called(module: str) -> str:
    """How a person called this command, for its usage line: `sweeps NAME`, or by its module."""
    return sys.argv[0] if sys.argv[0].startswith("sweeps ") else f"python -m {module}"


def program(name: str = "sweeps") -> str:
    """How a person here starts a script of this environment, whether it is activated or not."""
    script = Path(sys.executable).with_name(name)
    if not script.is_file():  # a checkout that is not installed
        return f"{program(Path(sys.executable).name)} -m runners" if name == "sweeps" else name
    if (found := shutil.which(name)) and Path(found).absolute() == script.absolute():
        return name
    near = os.path.relpath(script)
    return str(script) if near.startswith("..") else near


@contextlib.contextmanager
def watched(what: str) -> Iterator[None]:
    """Print `what` as a line on standard error if it has not ended after half a minute.

    Code of the user's may wait for ever, and a person must see what is being tried.
    """
    line = f"{what}: no answer for {NO_ANSWER_S:g} s, still waiting (Ctrl-C stops)"
    timer = threading.Timer(NO_ANSWER_S, lambda: print(line, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _open(stream: TextIO | None) -> TextIO:
    """The stream, or one that drops everything where it is closed: None where the caller did so."""
    if stream is None or stream.closed:
        return open(os.devnull, "w", encoding="utf-8")  # for the rest of the process
    return stream


def _occupy_closed() -> None:
    """Open what the caller has closed of 0, 1 and 2: the next file opened would get that number.

    A database with the number of standard output would be written to by every print in C.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _settle(stream: TextIO | None) -> None:
    """Drop what the stream still cannot take: Python flushes it at exit, and would exit with
    120.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
