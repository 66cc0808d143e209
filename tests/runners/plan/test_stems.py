"""The keys `stem`, `drop_channels` and `drop_p`: what they mean, where they are refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from runners.trial.networks import networks

ROOT = Path(__file__).parents[3]
DROP = "from torch import nn\n\ndef drop_in(conv, *, wide=False):\n    return conv\n"
STEM = (
    "from scconv.convs import set as sets\n\n"
    "def drop_in(conv, *, scale='count'):\n    return sets.drop_in(conv, scale=scale)\n"
)


def variant(write_sweep, **settings):
    return load(write_sweep(variants={"R20": {}, "other": settings})).variants["other"]


@pytest.mark.parametrize(
    "name, seeds, digest",
    [("quickstart", 3, "1852679b6a56a445"), ("order-small", 2, "90caf84a7a2514b3")],
)
def test_no_trial_of_an_earlier_sweep_has_another_id(name, seeds, digest):
    """By the versions of that time: SCConv's was 3, and the backbones' 1."""
    ids = []
    for trial in load(ROOT / f"sweeps/{name}.yaml", seeds=seeds).trials:
        conv = 3 if trial.config.conv == "scconv" else 1
        config = replace(trial.config, conv_version=conv, backbone_version=1)
        ids.append(replace(trial, config=config).id)
    assert len(ids) == 6 * seeds
    assert hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16] == digest


def test_they_are_part_of_the_identity_and_their_defaults_are_not(write_sweep):
    plain = variant(write_sweep, epochs=5)
    assert not {"stem", "stem_options", "drop_channels", "drop_p"} & {*json.loads(plain.canonical)}
    stem = variant(write_sweep, stem="set", stem_options={"scale": "count"})
    assert json.loads(stem.canonical)["stem"] == "set" and stem.stem_options == {}
    drop = variant(write_sweep, stem="set", drop_channels="batch", drop_p=0.5)
    said = json.loads(drop.canonical)
    assert said["drop_channels"] == "batch" and said["drop_p"] == 0.5
    assert {"stem", "drop_p"} <= {*drop.written()} - {*plain.written()}


def test_a_probability_of_base_is_for_the_variants_that_lose_channels(write_sweep):
    variants = {"R20": {}, "set": {"stem": "set", "drop_channels": "sample"}}
    sweep = load(write_sweep(base={"drop_p": 0.5}, variants=variants))
    assert [c.drop_p for c in sweep.variants.values()] == [1.0, 0.5]
    assert sweep.variants["R20"] == load(write_sweep(variants=variants)).variants["R20"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"stem": "sets"}, r"variants\.other\.stem: unknown stem 'sets': did you mean 'set'\?"),
        ({"stem": "octave"}, r"variants\.other\.stem: unknown stem 'octave'"),
        ({"stem": "set", "stem_options": {"film": 1}}, r"stem_options\.film: must be true or"),
        ({"stem": "set", "stem_options": {"by": "size"}}, "stem 'set' has no option 'by'"),
        ({"drop_channels": "batches"}, r"other\.drop_channels"),
        ({"drop_channels": "batch", "drop_p": 0}, r"other\.drop_p"),
        ({"drop_channels": "batch", "drop_p": 1.5}, r"other\.drop_p"),
        ({"drop_p": 0.5}, r"other\.drop_p: has no effect while drop_channels is none; add"),
        ({"stem_version": 2}, "unknown key 'stem_version'"),
    ],
)
def test_what_is_refused_when_the_file_is_read(settings, message, write_sweep):
    with pytest.raises(SweepError, match=message) as error:
        variant(write_sweep, **settings)
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize("stem", ["standard", "dynamic", "subset"])
def test_channels_are_not_lost_where_the_stem_takes_all_of_them_alone(stem, write_sweep):
    options = {"by": "fixed"} if stem == "subset" else {}
    other = {"stem": stem, "stem_options": options, "drop_channels": "sample"}
    sweep = load(write_sweep(variants={"R20": {}, "other": other}))
    message = rf"variants\.other: drop_channels: sample needs a stem .* '{stem}' takes all of them"
    with pytest.raises(SweepError, match=message):
        networks(sweep)


def test_stems_that_differ_in_subsets_alone_are_no_twins(write_sweep):
    lost = {"drop_channels": "sample"}
    variants = {
        "R20": {},
        "set": {"stem": "set"},
        "unscaled": {"stem": "set", "stem_options": {"scale": "none"}},
        "dropped": {"stem": "set"} | lost,
    }
    assert len(networks(load(write_sweep(variants=variants)))) == 4
    variants = {"R20": {}, "mean": {"stem": "placebo"}, "same": {"stem": "placebo", "epochs": 1}}
    assert len(networks(load(write_sweep(variants=variants, base={"epochs": 2})))) == 3


def test_a_stem_of_ones_own_is_a_file_beside_the_sweep(write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(STEM)
    settings = {"stem": "mine", "stem_options": {"scale": "none"}, "drop_channels": "batch"}
    path = write_sweep(variants={"R20": {}, "mine": settings})
    sweep = load(path)
    config = sweep.variants["mine"]
    assert config.stem_digest and config.stem_version == 2
    assert config.conv_digest == "" and config.stem_options == {"scale": "none"}
    kept = Store(tmp_path / "runs").keep_own(sweep.own(config), config)
    assert Path(kept.stem).read_text() == STEM and kept.conv == ""
    assert Store(tmp_path / "runs").fetch_own(kept).stem == kept.stem
    networks(sweep)
    (tmp_path / "mine.py").write_text(STEM + "# edited\n")
    assert load(path).variants["mine"].stem_digest != config.stem_digest


def test_one_file_of_ones_own_may_be_both(write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(DROP)
    config = variant(write_sweep, conv="mine", options={"wide": True}, stem="mine")
    assert config.stem_digest == config.conv_digest
    assert config.options == {"wide": True} and config.stem_options == {}


def test_what_varies_names_the_stem_and_its_options(write_sweep):
    variants = {"R20": {}, "set": {"stem": "set", "stem_options": {"film": True}}}
    varying = load(write_sweep(variants=variants)).varying()
    assert varying["R20"] == {"stem": "standard"}
    assert varying["set"] == {"stem": "set", "stem.film": True}
