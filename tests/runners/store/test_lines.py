"""A file of lines that several processes append to: each line whole, once, and in one order."""

import errno
import multiprocessing
import os
import resource
import signal
import threading
import time

import pytest

from runners.errors import StoreError
from runners.store import place as places
from runners.store import retry


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(retry, "AGAIN_S", 0.05)


def test_lines_are_read_once_each_and_in_their_order(place):
    first, second = (at(place).lines("a/b") for _ in range(2))
    assert first.new() == []
    first.append(b"1", b"2")
    assert first.new() == [b"1", b"2"] and first.new() == []
    second.append(b"3")
    assert second.new() == [b"1", b"2", b"3"]
    first.append(b"4")
    # in a bucket the others' lines are seen when a line is appended
    assert first.new() == [b"3", b"4"]
    assert at(place).read("a/b") == b"1\n2\n3\n4\n"


def at(address: str):
    return places.at(address, 600)


def test_writers_at_a_time_lose_and_double_nothing(place):
    def write(n: int) -> None:
        lines = at(place).lines("lines")
        for i in range(10):
            lines.append(b"%d %d" % (n, i))

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = at(place).read("lines").splitlines()
    assert sorted(found) == sorted(b"%d %d" % (n, i) for n in range(4) for i in range(10))
    for n in range(4):
        assert [line for line in found if line[:1] == b"%d" % n] == [
            b"%d %d" % (n, i) for i in range(10)
        ]


def _write(root, n):
    lines = places.at(root).lines("lines")
    for i in range(200 if n else 10**6):
        lines.append(b"%d %d " % (n, i) + b"x" * 5000)


def test_a_writer_that_is_killed_leaves_no_half_line_to_the_others(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    while not (tmp_path / "lines").exists() or (tmp_path / "lines").stat().st_size < 200_000:
        assert writers[0].is_alive()
        time.sleep(0.01)
    writers[0].kill()
    for writer in writers:
        writer.join(120)
    found = places.at(tmp_path).lines("lines").new()
    assert all(len(line.split()) == 3 and line.endswith(b"x" * 5000) for line in found)
    for n in (1, 2):
        numbers = [int(line.split()[1]) for line in found if line.startswith(b"%d " % n)]
        assert numbers == [*range(200)]


def test_a_last_line_without_its_end_is_not_read_and_is_cut_off(place):
    at(place).write("lines", b"1\n2\nhal")
    lines = at(place).lines("lines")
    assert lines.new() == [b"1", b"2"]
    lines.append(b"3")
    assert lines.new() == [b"3"] and at(place).read("lines") == b"1\n2\n3\n"
    at(place).write("only", b"hal")
    at(place).lines("only").append(b"1")
    assert at(place).read("only") == b"1\n"


def test_what_a_full_disk_took_of_a_line_is_taken_back(tmp_path):
    lines = places.at(tmp_path).lines("lines")
    lines.append(b"1")
    # half a line fits
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StoreError, match="lines cannot be written"):
            lines.append(b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "lines").read_bytes() == b"1\n"
    lines.append(b"2")
    assert lines.new() == [b"1", b"2"]


def test_an_answer_that_is_lost_doubles_no_line(behind_proxy, proxy):
    lines, answers = at(behind_proxy("x")).lines("lines"), []
    proxy.trouble = lambda method, path: answers.pop() if answers and method == "PUT" else None
    lines.append(b"1")
    answers[:] = [503, "lose"]
    lines.append(b"2")
    answers[:] = ["lose"]
    lines.append(b"3")
    assert not answers and at(behind_proxy("x")).read("lines") == b"1\n2\n3\n"
    assert lines.new() == [b"1", b"2", b"3"]


def test_a_file_system_without_flock_takes_lines(tmp_path, monkeypatch):
    def flock(file, how) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("runners.system.fcntl.flock", flock)
    lines = places.at(tmp_path).lines("lines")
    lines.append(b"1")
    assert lines.new() == [b"1"]
