"""A project on another disk: its finished trials are known there, and a store that is not there is
one clear line.
"""

import os
import shutil

import pytest

from analysis import report
from runners import sweep as command
from runners.inspect import main as inspect
from runners.plan import load
from runners.store import Store
from runners.trial.run import run

MINE = (
    "from scconv.convs import like\n\n\ndef drop_in(conv):\n"
    "    return like(conv, conv.in_channels, conv.out_channels, groups=2)\n"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project whose two trials have finished, one of them with a convolution of its own."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "mine.py").write_text(MINE)
    (folder / "tiny.yaml").write_text(
        "question: q\nbaseline: R20\nseeds: 1\nvariants: {R20: {}, mine: {conv: mine}}\n"
        "base: {backbone: resnet20, dataset: synthetic, recipe: short, epochs: 1, batch_size: 32}\n"
    )
    store = Store(folder / "runs")
    sweep = load(folder / "tiny.yaml")
    store.keep_sweep(sweep)
    for trial in sweep.trials:
        list(run(trial, store, device="cpu"))
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """project(name) -> a copy in a folder of that name, which becomes the working directory."""

    def copy(name):
        shutil.copytree(trained, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        return tmp_path / name

    return copy


def planned(capsys, *options) -> str:
    assert command.main(["tiny.yaml", "--plan", *options]) == 0
    return capsys.readouterr().out


def whole(capsys, *options) -> bool:
    return "2 trials (2 variants x 1 seed): 2 finished" in planned(capsys, *options)


def via_link(folder):
    (folder.parent / "disk").mkdir()
    shutil.move(folder / "runs", folder.parent / "disk" / "runs of 2026")
    (folder / "runs").symlink_to(folder.parent / "disk" / "runs of 2026")


def through_link(folder):
    (folder.parent / "short").symlink_to(folder)
    os.chdir(folder.parent / "short")


def without_times(folder):
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def without_modes(folder):
    """As from a disk that knows no permissions."""
    for path in folder.rglob("*"):
        path.chmod(0o777)


def without_litter(folder):
    """As from a copy that leaves names with a dot behind."""
    for path in [p for p in folder.rglob(".*") if p.is_file()]:
        path.unlink()


def with_litter(folder):
    """As from a Mac, a NAS and a cloud folder."""
    for place in (folder / "runs", *(folder / "runs" / "trials").iterdir(), folder):
        (place / ".DS_Store").write_bytes(b"x")
        (place / "._record.json").write_bytes(b"x")
        (place / "record (conflicted copy).json").write_bytes(b"x")
    (folder / "runs" / "trials" / "@eaDir").mkdir()


MOVES = [via_link, through_link, without_times, without_modes, without_litter, with_litter]


@pytest.mark.parametrize("name", ["a b", "100% My%20Project", "a?b=c#d~", "模型'\""])
def test_finished_trials_are_known_in_a_folder_of_any_name(name, project, capsys):
    folder = project(name)
    assert whole(capsys)
    assert whole(capsys, "--storage", str(folder / "runs"))


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_finished_trials_are_known_after_a_move(move, project, capsys, monkeypatch):
    monkeypatch.setattr("runners.trial.trained.pick_device", lambda name: "cpu")
    move(project("new"))
    assert whole(capsys)
    assert inspect(["tiny.yaml", "--variant", "mine"]) == 0
    assert "mine: macro F1" in capsys.readouterr().out


def test_its_report_is_made_there(project, capsys):
    folder = project("My%20Project")
    assert report.main(["tiny.yaml"]) == 0 and "mine" in capsys.readouterr().out
    assert (folder / "results" / "tiny" / "report.html").stat().st_size > 1000


def gone(folder):
    shutil.rmtree(folder / "runs")
    (folder / "runs").symlink_to("/nowhere/at/all")


def a_file(folder):
    shutil.rmtree(folder / "runs")
    (folder / "runs").write_text("x")


def a_loop(folder):
    shutil.rmtree(folder / "runs")
    (folder / "runs").symlink_to("runs")


def torn(folder):
    for path in folder.glob("runs/trials/*/record.json"):
        path.write_bytes(path.read_bytes()[:100])


def no_code(folder):
    (folder / "mine.py").unlink()


# what is done to a project, the exit status of a start, and what is said
HARMS = {
    gone: (2, "runs is a link to /nowhere/at/all, which is not there; mount its disk"),
    a_file: (None, "runs"),
    a_loop: (2, "runs: a link that leads back to itself"),
    torn: (None, "record.json"),
    no_code: (2, "variants.mine.conv: unknown conv 'mine'"),
}


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_a_store_or_a_file_that_did_not_come_along_is_one_line(harm, project, capsys, monkeypatch):
    monkeypatch.setattr("runners.launch.start.run_on_ray", lambda *_, **__: pytest.fail("launched"))
    monkeypatch.setattr(command, "PATIENCE_S", 0)
    harm(project("new"))
    status, message = HARMS[harm]
    found = command.main(["tiny.yaml"])
    said = capsys.readouterr()
    assert found in ((2, 75) if status is None else (status,)), said
    assert message in said.err and said.err.strip().count("\n") == 0 and "Errno" not in said.err
