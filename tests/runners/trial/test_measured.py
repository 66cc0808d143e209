"""What was measured of a network is remembered, so long as nothing has changed that it is made of."""

import json
import subprocess
import sys

import pytest

from runners.plan import PACKAGE, Config, Own
from runners.store import cache
from runners.trial import measured as memory
from runners.trial import network

CONFIG = Config(backbone="resnet20", dataset="synthetic", conv="group", options={"groups": 4})


@pytest.fixture
def built(tmp_path, monkeypatch) -> list[Config]:
    """The configs whose networks are built from here on; nothing is remembered before."""
    found: list[Config] = []
    real = network.build

    def build(config, *args, **settings):
        found.append(config)
        return real(config, *args, **settings)

    monkeypatch.setattr(network, "build", build)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    return found


def forget() -> None:
    """As in a new process."""
    network._measure.cache_clear()
    cache._read.cache_clear()


def test_the_next_start_builds_nothing_and_knows_the_same(built):
    first = memory.measured(CONFIG, PACKAGE)
    forget()
    assert memory.measured(CONFIG, PACKAGE) == first and len(built) == 1
    cost, swapped, _ = network.measure(CONFIG)
    assert first.counts == vars(cost) and first.swapped == swapped


@pytest.mark.parametrize(
    "change", [{"options": {}}, {"backbone": "resnet56"}, {"dataset": "cifar100"}]
)
def test_another_network_is_built(built, change):
    one = memory.measured(CONFIG, PACKAGE)
    forget()
    assert memory.measured(Config(**vars(CONFIG) | change), PACKAGE) != one and len(built) == 2


def test_a_network_that_is_remembered_is_refused_all_the_same(built):
    memory.measured(CONFIG, PACKAGE)
    with pytest.raises(ValueError, match="drop_channels: batch needs a stem"):
        memory.measured(Config(**vars(CONFIG) | {"drop_channels": "batch"}), PACKAGE)


def test_other_code_builds_it_again_and_leaves_no_old_file(built, tmp_path, monkeypatch):
    memory.measured(CONFIG, PACKAGE)
    forget()
    monkeypatch.setattr(memory, "code", lambda: "other")
    memory.measured(CONFIG, PACKAGE)
    assert len(built) == 2
    assert [f.name for f in tmp_path.rglob("*.jsonl")] == ["networks-other.jsonl"]


def test_a_network_of_a_users_file_is_built_at_each_start(built, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from torch import nn\n\n\ndef drop_in(conv):\n    return nn.Identity()\n")
    config = Config(backbone="resnet20", dataset="synthetic", conv="mine", conv_digest="d")
    first = tmp_path / "first.py"
    first.write_text(
        "from scconv.convs.set import SetConv\n\n\ndef drop_in(conv):\n    return SetConv(conv)\n"
    )
    stem = Config(backbone="resnet20", dataset="synthetic", stem="first", stem_digest="d")
    for n in (1, 2):
        memory.measured(config, Own(conv=str(path)))
        memory.measured(stem, Own(stem=str(first)))
        assert len(built) == 2 * n
        forget()


@pytest.mark.parametrize("content", [b"\xff", b"[]\n", b'["key", {"macs": 1}]\n', b'["key'])
def test_a_damaged_memory_costs_time_alone(built, tmp_path, content):
    want = memory.measured(CONFIG, PACKAGE)
    (file,) = tmp_path.rglob("*.jsonl")
    good = file.read_bytes()
    file.write_bytes(content)
    forget()
    assert memory.measured(CONFIG, PACKAGE) == want and len(built) == 2
    # a line that was cut off does not spoil those around it
    file.write_bytes(content + b"\n" + good if content != b"\xff" else good)
    forget()
    assert memory.measured(CONFIG, PACKAGE) == want and len(built) == 2


def test_a_memory_that_cannot_be_written_is_none(built, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert memory.measured(CONFIG, PACKAGE).counts["macs"] > 0


def test_the_second_plan_needs_no_torch(built, write_sweep, tmp_path):
    code = """
import sys
from runners.sweep import main
assert main([sys.argv[1], "--plan", "--json"]) == 0
print([m for m in ("torch", "mlflow", "ray", "matplotlib", "scipy.stats") if m in sys.modules])
"""
    needed = []
    for _ in range(2):
        line = [sys.executable, "-c", code, str(write_sweep())]
        out = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
        plan, _, modules = out.rpartition("}\n")
        needed.append(modules.strip())
        assert [v["swapped"] for v in json.loads(plan + "}")["variants"]] == [0, 9]
    assert "torch" in needed[0] and needed[1] == "[]"
