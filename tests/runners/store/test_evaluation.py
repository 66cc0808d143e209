"""evaluation.json on disk and in a bucket: read back, refused, and what it covers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from runners.errors import SweepError
from runners.plan import Config, Evaluate, Trial
from runners.store import Evaluation, Store
from runners.store.evaluation import Scores, digest, joined, measured, packed, unpacked
from runners.store.evaluations import lacking
from runners.store.record_file import checksum
from tests import records

TRIAL = Trial("s", "v", Config("resnet20", "digits"), 0, evaluate=Evaluate(("R",)), fills=("",))


def scores(name: str, fill: str, right: int, mask: list[bool], size: int | None = None) -> Scores:
    predicted = packed([0] * right + [1] * (4 - right), 300)
    return Scores(name, mask, size, fill, 25.0 * right, 100.0, None, predicted)


WHOLE = scores("RGB", "none", 4, [True] * 3)
LINEAR, BLACK = (
    scores("R", fill, n, [True, False, False]) for fill, n in (("linear", 2), ("black", 1))
)
SMALL = scores("8px", "none", 3, [True] * 3, 8)
MADE = Evaluation(
    TRIAL.id, "", 300, packed([0] * 4, 300), [WHOLE, LINEAR, BLACK, SMALL], {"a": "b"}
)


def test_it_is_read_back_from_every_place(place):
    store = Store(place)
    assert store.evaluation(TRIAL.id) is None and store.evaluations([TRIAL]) == {}
    store.keep_evaluation(MADE)
    assert store.evaluation(TRIAL.id) == MADE
    other = replace(MADE, conditions=MADE.conditions[:2])
    store.keep_evaluation(other)
    assert store.evaluations([TRIAL, replace(TRIAL, evaluate=None)]) == {TRIAL.id: other}
    assert digest(other) != digest(MADE)


@pytest.mark.parametrize("classes, size", [(256, 1), (257, 2), (1000, 2)])
def test_classes_are_packed_in_one_byte_or_two(classes, size):
    numbers = np.array([0, 1, classes - 1, 7])
    assert unpacked(packed(numbers, classes), classes).tolist() == numbers.tolist()
    assert len(packed(numbers, classes)) == (8 if size == 1 else 12)


def test_a_later_version_is_refused_and_a_damaged_one_is_as_none(tmp_path):
    store = Store(tmp_path / "runs")
    store.keep_evaluation(MADE)
    path = store.folder(TRIAL.id) / "evaluation.json"
    raw = json.loads(path.read_text())
    later = {k: v for k, v in raw.items() if k != "sha256"} | {"version": 2}
    path.write_text(json.dumps(later | {"sha256": checksum(later)}))
    with pytest.raises(SweepError, match=r"evaluation.json: written by a later version"):
        store.evaluation(TRIAL.id)
    wrong = {k: v for k, v in raw.items() if k != "sha256"}
    wrong["conditions"][1]["top1"] = 75.0
    for content in (
        "{",
        "[]",
        json.dumps(raw | {"id": "x"}),
        json.dumps(wrong | {"sha256": checksum(wrong)}),
    ):
        path.write_text(content)
        assert store.evaluation(TRIAL.id) is None


def test_a_variant_has_the_conditions_that_the_sweep_asks_for_with_its_own_fill():
    every = Evaluate("all", (8,))
    assert [s.key for s in MADE.of(every, "").values()] == ["RGB", "linear/R", "8px"]
    assert [s.key for s in MADE.of(Evaluate(("R",)), "black").values()] == ["RGB", "black/R"]
    assert [*MADE.of(Evaluate((), (8,)), "black")] == ["RGB", "8px"]
    assert MADE.of(None, "") == {}
    found = MADE.of(every, "")
    assert measured(found, "mean") == 75.0 and measured(found, "worst") == 50.0
    assert measured(found, "R") == 50.0 and measured(found, "G") is None


def test_what_lacks_a_condition_of_the_right_weights_is_named():
    ended = {TRIAL.id: records.record(TRIAL)}
    whole = replace(TRIAL, fills=("", "black"))
    assert lacking([TRIAL], ended, {}) == [TRIAL]
    assert lacking([TRIAL], {}, {}) == [] and lacking([whole], ended, {TRIAL.id: MADE}) == []
    for asked in (
        replace(TRIAL, fills=("mean",)),
        replace(TRIAL, evaluate=Evaluate("all")),
        replace(TRIAL, evaluate=Evaluate(("R", "G"))),
        replace(TRIAL, evaluate=Evaluate(("R",), (16,))),
    ):
        assert lacking([asked], ended, {TRIAL.id: MADE}) == [asked]
    assert lacking([TRIAL], ended, {TRIAL.id: replace(MADE, weights_sha256="f")}) == [TRIAL]


def test_what_was_made_before_is_kept_where_the_weights_are_the_same():
    now = replace(MADE, conditions=[replace(LINEAR, loss=1.0)])
    assert [s.loss for s in joined(MADE, now).conditions] == [None, None, None, 1.0]
    assert joined(replace(MADE, weights_sha256="f"), now) == now == joined(None, now)
