"""A convolution whose numbers changed has another version, and its trials are other trials."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners.errors import SweepError
from runners.plan import Trial, load
from runners.plan.catalogue import find, names, version_of
from runners.plan.kinds import CONV
from runners.store import Store
from runners.sweep import main
from scconv import replace_convs
from scconv.backbones.resnet import Bottleneck, ResNet
from tests import records

ROOT = Path(__file__).parents[3]

# conv -> (VERSION, sum of the first weights' magnitudes, sum of the outputs' magnitudes), of the
# network below
NUMBERS = {
    "depthwise": (2, 12156.6, 17.772),
    "dynamic": (1, 27076.1, 17.145),
    "ghost": (2, 11743.5, 17.207),
    "group": (2, 12621.6, 17.487),
    "octave": (1, 14673.3, 17.738),
    "pf": (1, 10418.9, 18.426),
    "placebo": (1, 14674.9, 17.633),
    "scconv": (4, 13366.3, 17.334),
    "set": (1, 14673.3, 17.602),
    "slim": (2, 13773.0, 17.013),
    "sp": (2, 13291.2, 17.324),
    "standard": (1, 14673.3, 17.602),
    "subset": (1, 15001.6, 17.565),
    "tied": (2, 12019.9, 17.356),
    "versatile": (2, 13467.7, 17.072),
}
# ids that were given out before there were versions
R20 = ["43d8437221cd0694", "2dfc5804fcbf3bd6", "17201e7b1e3256a0"]
S = ["8ec7ba4b9c7c2356", "4a3d667e7061482e", "8ee5b278be566204"]
S_2 = ["5908f8bf2a1cfa72", "dedf8940113a6dd6", "00395ef6c89edba4"]  # of version 2
S_3 = ["dcc44b17a3d6b6f3", "986b881950b00525", "a0e69c286373ed6a"]


def test_every_convolution_of_the_catalogue_is_in_the_list():
    assert NUMBERS.keys() == {*names(CONV)}


@pytest.mark.parametrize("conv", NUMBERS)
def test_changed_numbers_need_a_new_version(conv):
    """If this fails, trials of the new code would be mixed with finished ones.

    Raise VERSION in the convolution's file, then change the figures here.
    """
    torch.manual_seed(0)
    model = ResNet(Bottleneck, (1, 2), 32, 10)
    replace_convs(model, conv, where="first" if conv == "subset" else None)
    weights = sum(p.detach().double().abs().sum().item() for p in model.parameters())
    torch.manual_seed(1)
    with torch.no_grad():
        outputs = model(torch.randn(4, 3, 16, 16)).double().abs().sum().item()
    version, *figures = NUMBERS[conv]
    assert version_of(find(CONV, conv, ROOT, "conv")) == version
    assert [weights, outputs] == pytest.approx(figures, rel=2e-4)


def test_the_quickstarts_baseline_keeps_its_ids_and_scconv_does_not():
    trials = load(ROOT / "sweeps/quickstart.yaml").trials
    assert [t.id for t in trials if t.variant == "R20"] == R20
    changed = [t for t in trials if t.variant == "S"]
    assert not {t.id for t in changed} & {*S, *S_2, *S_3}
    for version, ids in enumerate((S, S_2, S_3)):
        configs = [t.config.earlier[version] for t in changed]
        assert [replace(t, config=c).id for t, c in zip(changed, configs, strict=True)] == ids


@pytest.mark.parametrize(
    "text, version",
    [("", 1), ("VERSION = 3\n", 3), ("VERSION = 3  # why\nVERSIONS = 4\n", 3)],
)
def test_it_is_read_from_the_source(text, version, tmp_path):
    (tmp_path / "a.py").write_text(f"{text}def drop_in(conv):\n    return conv\n")
    assert version_of(tmp_path / "a.py") == version


@pytest.mark.parametrize("value", ["0", "1 + 1", "'2'", "True", "2.0"])
def test_anything_but_a_whole_number_is_refused(value, tmp_path):
    (tmp_path / "a.py").write_text(f"VERSION = {value}\n")
    with pytest.raises(SweepError, match="VERSION must be a whole number of at least 1, got"):
        version_of(tmp_path / "a.py")


def test_it_is_no_setting_of_a_sweep_file(write_sweep):
    with pytest.raises(SweepError, match="base: unknown key 'conv_version'"):
        load(write_sweep(base={"conv_version": 1}))


def test_a_file_of_ones_own_has_the_version_of_the_surgery(write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text("def drop_in(conv):\n    return conv\n")
    sweep = load(write_sweep(variants={"R20": {}, "mine": {"conv": "mine"}}))
    assert [c.conv_version for c in sweep.variants.values()] == [1, 2]
    assert "conv_version" not in sweep.varying()["mine"]


def finished(store: Store, trial: Trial) -> None:
    store.commit(records.record(trial))


def test_the_plan_says_what_an_earlier_version_has_finished(
    write_sweep, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    path, store = write_sweep(), Store(tmp_path / "runs")
    r20, s_c, *_ = load(path).trials
    finished(store, r20)
    main([str(path), "--plan"])
    assert "earlier version" not in capsys.readouterr().out
    finished(store, replace(s_c, config=s_c.config.earlier[-1]))
    main([str(path), "--plan"])
    said = capsys.readouterr().out
    assert (
        "1 finished trial of an earlier version of scconv is in the store; it is not mixed in"
        in said
    )
    assert "4 trials (2 variants x 2 seeds): 1 finished, 3 new" in said
    main([str(path), "--plan", "--json"])
    assert json.loads(capsys.readouterr().out)["earlier_versions"] == {"scconv": 1}
