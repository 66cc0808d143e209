"""The network of a config: what makes two of them the same."""

import signal
import threading
from pathlib import Path

import pytest
import torch

from runners import data
from runners.plan import Config, Own, Trial
from runners.sweep import main
from runners.trial.network import fingerprint
from runners.trial.training import Training
from tests.runners.test_sweep import wait_for

BASE = {"backbone": "resnet20", "dataset": "synthetic", "epochs": 1, "batch_size": 32}
TWINS = {
    "one group": {"conv": "group", "options": {"groups": 1}},
    "one block": {"conv": "tied", "options": {"blocks": 1}},
}


def trained(config: Config) -> list[torch.Tensor]:
    training = Training(Trial("s", "v", config, 0), data.load("synthetic"))
    training.epoch(0)
    return [p.detach() for p in training.model.parameters()]


def test_one_group_and_the_standard_convolution_end_with_equal_weights():
    """An option that changes nothing gives the baseline, bit for bit."""
    plain, *others = (trained(Config(**BASE, **arm)) for arm in ({}, *TWINS.values()))
    for other in others:
        assert all(map(torch.equal, plain, other))


@pytest.mark.parametrize("case", TWINS)
def test_twins_are_refused(case, write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(variants={"R20": {}, "other": TWINS[case]})
    assert main([str(path), "--plan"]) == 2
    said = capsys.readouterr().err
    assert f"{path}: variants: 'R20' and 'other' build the same network" in said


def test_a_placebo_is_no_twin(write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_sweep(variants={"R20": {}, "placebo": {"conv": "placebo"}})
    assert main([str(path), "--plan"]) == 0, capsys.readouterr().err
    assert fingerprint(Config(**BASE)) != fingerprint(Config(**BASE, conv="placebo"))


def own(tmp_path: Path, name: str, text: str) -> tuple[Config, Own]:
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    return Config(**BASE, conv=name, conv_digest=name), Own(conv=str(path))


def test_what_differs_in_its_function_or_in_its_first_weights_is_no_twin(tmp_path):
    start = "from torch import nn\nfrom scconv.convs import like\n\n\ndef drop_in(conv):\n"
    make = "    new = like(conv, conv.in_channels, conv.out_channels)\n"
    same = own(tmp_path, "same", start + make + "    return new\n")
    zero = own(tmp_path, "zero", start + make + "    nn.init.zeros_(new.weight)\n    return new\n")
    drop = own(tmp_path, "drop", start + make + "    return nn.Sequential(new, nn.Dropout(0.1))\n")
    assert fingerprint(*same) == fingerprint(Config(**BASE))
    assert len({fingerprint(*case) for case in (same, zero, drop)}) == 3


WAITS = """import os
import time
from scconv.convs import like


def wait(module, given):
    # what counts the network runs on the meta device, what compares two on the CPU
    while given[0].device.type == "{device}" and not os.path.exists("go"):
        time.sleep(0.01)


def drop_in(conv):
    new = like(conv, conv.in_channels, conv.out_channels)
    new.register_forward_pre_hook(wait)
    return new
"""


@pytest.fixture
def answered(tmp_path, monkeypatch, capsys):
    """answered(line, how, command) -> its status and what it said; `how` is done after the line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("runners.output.NO_ANSWER_S", 0.1)
    said = []

    def run(line, how, *arguments):
        def named():
            said.append(capsys.readouterr().err)
            return line in "".join(said)

        def answer():
            try:
                wait_for(named, 60)
                how()
            finally:
                (tmp_path / "go").touch()

        watching = threading.Thread(target=answer)
        watching.start()
        status = main([*arguments])
        watching.join()
        return status, "".join([*said, capsys.readouterr().err])

    return run


HOW = {
    "it answers": (lambda: None, 2, "build the same network"),
    "Ctrl-C": (lambda: signal.raise_signal(signal.SIGINT), 130, "stopped; the same command"),
}


@pytest.mark.parametrize("end", HOW)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_network_that_does_not_answer_is_named(device, end, write_sweep, tmp_path, answered):
    (tmp_path / "waits.py").write_text(WAITS.format(device=device))
    path = write_sweep(variants={"R20": {}, "mine": {"conv": "waits"}})
    how, expected, message = HOW[end]
    line = "building variants.mine: no answer for 0.1 s"
    status, said = answered(line, how, str(path), "--plan")
    assert status == expected and message in said and line in said and "Traceback" not in said


def test_a_data_set_that_does_not_answer_is_named(write_sweep, tmp_path, answered):
    (tmp_path / "slow.py").write_text(
        "import os\nimport time\n\n\ndef load(root):\n    while not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n"
    )
    path = write_sweep(base={"dataset": "slow"})
    line = "reading dataset 'slow' in"
    status, said = answered(line, lambda: None, str(path), "--plan")
    assert status == 2 and line in said and "load must return four arrays" in said
