"""The pace of networks, as a process of its own measures it. No figure is compared with a clock."""

import pytest

from runners.plan import PACKAGE, Config, Own
from runners.store import cache
from runners.trial import pace
from runners.trial.pace import Network

# the fixture of all tests takes its place
REAL = pace._measured
PLAIN = Network(Config("resnet20", "synthetic", batch_size=8), PACKAGE, 10, (3, 8, 8))


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.slow
def test_two_processes_measure_what_they_can_and_a_users_print_is_no_answer(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n\nprint('hello')\n\n\ndef drop_in(conv):\n    return nn.Identity()\n"
    )
    config = Config("resnet20", "synthetic", conv="mine", conv_digest="d", batch_size=8)
    mine = Network(config, Own(conv=str(path)), 10, (3, 8, 8))
    broken = Network(Config("resnet20", "synthetic", conv="none"), PACKAGE, 10, (3, 8, 8))
    found = REAL([PLAIN, mine, broken], 2, 1, False)
    assert set(found) == {PLAIN.key, mine.key} and all(value > 0 for value in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_processes_that_measure_together_wait_for_each_other(broken, tmp_path):
    """One that cannot measure a network does not keep the others waiting."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import os, pathlib\nfrom torch import nn\n\n\ndef drop_in(conv):\n"
        f"    first = pathlib.Path({str(tmp_path / 'first')!r})\n"
        f"    if {broken} and conv.in_channels == 16:\n"
        "        try:\n            first.open('x').write(str(os.getpid()))\n"
        "        except FileExistsError:\n            pass\n"
        "        if first.read_text() == str(os.getpid()):\n            raise ValueError('mine')\n"
        "    return nn.Identity()\n"
    )
    mine = Network(
        Config("resnet20", "synthetic", conv="mine", conv_digest="d", batch_size=8),
        Own(conv=str(path)),
        10,
        (3, 8, 8),
    )
    found = REAL([mine, PLAIN], 2, 1, False, True)
    assert set(found) == ({PLAIN.key} if broken else {PLAIN.key, mine.key})
    assert all(value > 0 for value in found.values())


def test_a_pace_is_remembered_for_its_place_but_not_of_a_users_file(monkeypatch):
    asked = []

    def measured(networks, *where):
        asked.append([n.config.conv for n in networks])
        return {n.key: 5.0 for n in networks}

    monkeypatch.setattr(pace, "_measured", measured)
    mine = Network(Config("resnet20", "synthetic", conv="mine"), Own(conv="mine.py"), 10, (3, 8, 8))
    for _ in range(2):
        assert pace.paces([PLAIN, mine], 2, 1, False) == {PLAIN.key: 5.0, mine.key: 5.0}
        cache._read.cache_clear()
    assert asked == [["standard", "mine"], ["mine"]]
    pace.paces([PLAIN], 1, 1, False)
    assert asked[2:] == [["standard"]]


def test_what_does_not_change_a_step_is_measured_once(monkeypatch):
    asked = []
    monkeypatch.setattr(pace, "_measured", lambda networks, *where: asked.append(networks) or {})
    rates = [Config("resnet20", "synthetic", lr=lr) for lr in (0.1, 0.2)]
    pace.paces([Network(c, PACKAGE, 10, (3, 8, 8)) for c in rates], 1, 1, False)
    assert [len(networks) for networks in asked] == [1]


@pytest.mark.parametrize("own", [0.0, 0.2])  # seconds of a step that no image costs
@pytest.mark.parametrize("image", [0.0001, 0.005, 0.2])
def test_a_step_that_costs_a_part_of_its_own_is_told_from_one_that_only_images_cost(
    monkeypatch, own, image
):
    measured = []

    def step(network, batch, device):
        measured.append(batch)
        return own + image * batch

    monkeypatch.setattr(pace, "_step", step)
    network = Network(Config("resnet20", "synthetic", batch_size=64), PACKAGE, 10, (3, 8, 8))
    found = pace.measure(network, "cpu")
    # of a network so slow that one batch is all that is measured, the part is not known
    rel = 1e-6 if own + image * pace.PROBE < pace.STEP_S else 0.25
    assert found == pytest.approx(64 / (own + image * 64), rel)
    assert sum(own + image * batch for batch in measured) < 1.1
