"""Every command does its work and exits with its status, whatever becomes of its output."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runners.sweep
import runners.train
import scconv.check
from analysis import report
from runners import inspect, output
from runners.store import Store
from runners.tracking import __main__ as tracking
from scconv.cost import __main__ as cost

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def full():
    """A disk without one free byte, and an encoding without ± and Δ."""
    return open("/dev/full", "w", encoding="ascii", errors="strict")


def unread():
    """A pipe whose reader has gone, as of `| head`."""
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", encoding="utf-8")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def latin():
    return io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="strict")


def absent():
    """Python's own for a number that was closed before it started."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a small sweep whose trials have finished, trained without a stream that
    works.
    """
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(
        "question: Is Δ ± 0?\nbaseline: R20\n"
        "base: {backbone: resnet20, dataset: synthetic, epochs: 1, batch_size: 32}\n"
        "variants: {R20: {}, S+C: {conv: scconv}}\nseeds: 1\n",
        encoding="utf-8",
    )
    with contextlib.chdir(folder), contextlib.redirect_stdout(full()):
        for variant in ("R20", "S+C"):
            assert runners.train.main(["tiny.yaml", "--variant", variant]) == 0
    return folder


COMMANDS = {
    "sweep, finished": (runners.sweep.main, ["tiny.yaml"]),
    "sweep --plan": (runners.sweep.main, ["tiny.yaml", "--plan"]),
    "train, finished": (runners.train.main, ["tiny.yaml", "--variant", "R20"]),
    "inspect": (inspect.main, ["tiny.yaml", "--variant", "R20"]),
    "report": (report.main, ["tiny.yaml"]),
    "rebuild": (tracking.main, ["rebuild", "tiny.yaml"]),
    "check": (scconv.check.main, ["standard"]),
    "cost": (cost.main, ["table1"]),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_survives_its_output(command, finished, monkeypatch):
    monkeypatch.chdir(finished)
    main, arguments = COMMANDS[command]
    monkeypatch.setattr(sys, "stdout", full())
    monkeypatch.setattr(sys, "stderr", full())
    assert main(arguments) == 0


@pytest.mark.parametrize("stream", [full, unread, closed, latin, absent])
def test_a_report_and_a_refusal_keep_their_status(stream, finished, monkeypatch):
    monkeypatch.chdir(finished)
    monkeypatch.setattr(sys, "stdout", stream())
    monkeypatch.setattr(sys, "stderr", stream())
    assert report.main(["tiny.yaml"]) == 0
    assert report.main(["Δ.yaml"]) == 2


def test_the_report_is_written_before_anything_is_printed(finished, monkeypatch, tmp_path):
    class Watched(io.StringIO):
        def write(self, text):
            assert Path("results/tiny/report.html").exists(), text
            return super().write(text)

    monkeypatch.chdir(finished)
    monkeypatch.setattr(sys, "stdout", shown := Watched())
    for page in Path("results").rglob("report.html"):
        page.unlink()
    assert runners.sweep.main(["tiny.yaml"]) == 0
    assert "| S+C" in shown.getvalue()


def test_a_character_that_the_encoding_lacks_is_replaced(monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream := latin())
    with output.forgiving():
        print("98.05 ± 0.00 | Δ")
    assert stream.buffer.getvalue().decode("latin-1") == "98.05 ± 0.00 | ?\n"


def test_a_trial_may_print_what_the_encoding_of_the_machine_lacks(tmp_path):
    """A locale without Unicode must not fail the trial whose code prints a Greek letter."""
    store = Store(tmp_path / "runs")
    code = (
        "import sys; from runners.store import Store\n"
        f"with Store({str(tmp_path / 'runs')!r}).log('t') as log: log.write('\\u0394 \\udcff')"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=True)
    assert store.read("t", "log.txt").decode() == "Δ ?"


# what a command's body may do with its streams
BODY = """
import sys
from runners.output import forgiving
with forgiving():
    opened = open("data", "w") if "--open" in sys.argv else None
    for n in range(20_000):
        print("± line", n)
    print("status", file=sys.stderr)
    assert opened is None or opened.fileno() > 2
sys.exit(7)
"""


@pytest.mark.parametrize(
    "line",
    [
        "{} >/dev/full",
        "{} 2>/dev/full >/dev/null",
        "{} | head -1",
        "{} --open >&-",
        "{} --open 2>&- >&-",
        "{} --open <&- >&- 2>&-",
        "PYTHONIOENCODING=latin-1 {} >/dev/null",
        "PYTHONIOENCODING=ascii {} >/dev/null",
    ],
)
def test_the_process_ends_with_its_own_status(line, tmp_path):
    """Python's exit with 120 where its last flush fails, and without a traceback."""
    (tmp_path / "body.py").write_text(BODY)
    run = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.format(f'{sys.executable} body.py')}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr.replace("status\n", "")) == (7, "")


def test_a_script_is_named_as_a_person_here_can_start_it(tmp_path, monkeypatch):
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "sweeps"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    assert output.program() == ".venv/bin/sweeps"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin")  # activated
    assert output.program() == "sweeps"
    (folder / "sweeps").unlink()
    assert output.program() == "python -m runners"
    monkeypatch.setenv("PATH", "/usr/bin")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert output.program() == f"{folder}/python -m runners"
