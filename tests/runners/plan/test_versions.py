"""A convolution whose numbers changed has another version, and its trials are other trials."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runners.errors import SweepError
from runners.plan import Trial, load
from runners.plan.catalogue import find, names, version_of
from runners.plan.kinds import BACKBONE, CONV
from runners.store import Store
from runners.sweep import main
from scconv import backbones, replace_convs
from scconv.backbones.resnet import Bottleneck, ResNet
from scconv.kernels.rectify import NormAct
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
    "scconv": (6, 13366.3, 17.334),
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
S_4 = [
    "7823c38869ed2e9b",
    "e9cb4cca604b4b52",
    "dcb1df2e623a1d73",
]  # of version 4, before its backbone


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


@pytest.mark.parametrize(
    "variant, conv_version, backbone_version, ids",
    [("R20", 1, 1, R20), ("S", 1, 1, S), ("S", 2, 1, S_2), ("S", 3, 1, S_3), ("S", 4, 1, S_4)],
)
def test_the_quickstarts_ids_of_earlier_versions_are_known(
    variant, conv_version, backbone_version, ids
):
    trials = [t for t in load(ROOT / "sweeps/quickstart.yaml").trials if t.variant == variant]
    assert not {t.id for t in trials} & {*ids}
    for trial, old in zip(trials, ids, strict=True):
        versions = {"conv_version": conv_version, "backbone_version": backbone_version}
        config = replace(trial.config, **versions)
        assert config in trial.config.earlier and replace(trial, config=config).id == old


@pytest.mark.parametrize("backbone", names(BACKBONE))
def test_a_backbone_whose_norms_run_as_kernels_has_another_version(backbone, monkeypatch):
    ran, apply = [], NormAct.apply
    monkeypatch.setattr(NormAct, "apply", lambda *args: ran.append(1) or apply(*args))
    others = backbone in ("torchvision", "timm")  # other people's networks
    if not others:
        model = backbones.build(backbone, 10).to(memory_format=torch.channels_last)
        model(torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    file = find(BACKBONE, f"{backbone}:resnet18" if others else backbone, ROOT, "backbone")
    assert version_of(file) == (2 if ran else 1)


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


def test_a_backbone_of_ones_own_may_be_made_of_the_packages_blocks(write_sweep, tmp_path):
    """Their norms' sums have another order since version 2."""
    (tmp_path / "small.py").write_text(
        "from scconv.backbones.resnet import Basic, ResNet\n\n\n"
        "def build(classes):\n    return ResNet(Basic, (1, 1, 1), 16, classes)\n"
    )
    (config, *_) = load(write_sweep(base={"backbone": "small"})).variants.values()
    assert config.backbone_version == 2 and config.backbone_digest
    assert replace(config, backbone_version=1) in config.earlier


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
    older = replace(s_c.config, conv_version=s_c.config.conv_version - 1)
    finished(store, replace(s_c, config=older))
    main([str(path), "--plan"])
    said = capsys.readouterr().out
    assert (
        "1 finished trial of an earlier version of scconv is in the store; it is not mixed in"
        in said
    )
    assert "4 trials (2 variants x 2 seeds): 1 finished, 3 new" in said
    main([str(path), "--plan", "--json"])
    assert json.loads(capsys.readouterr().out)["earlier_versions"] == {"scconv": 1}
    first = next(t for t in load(path).trials if t.variant == r20.variant and t.seed != r20.seed)
    finished(store, replace(first, config=replace(first.config, backbone_version=1)))
    main([str(path), "--plan", "--json"])
    found = json.loads(capsys.readouterr().out)["earlier_versions"]
    assert found == {"scconv": 1, first.config.backbone: 1}
