"""Per-class scores and confusion, against counts done by hand."""

import csv
import io
import math
import warnings

import numpy as np
import pytest

from analysis.figures import confusion, save
from analysis.stats import classes
from analysis.tables.classes import to_csv

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
# class 0 is predicted four times, three of them right; classes 1 and 2 three times, two of them
# right
SOME = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 0])
PAIRS = [(TRUTH, SOME), (TRUTH, TRUTH)]


def test_scores_are_means_and_deviations_over_seeds():
    zero, one, two, macro = classes.scores(PAIRS)
    assert [(s.name, s.support, s.f1.n) for s in (zero, one, two, macro)] == [
        ("0", 4, 2),
        ("1", 3, 2),
        ("2", 3, 2),
        ("macro", 10, 2),
    ]
    assert (zero.precision.mean, zero.recall.mean, zero.f1.mean) == pytest.approx(
        (87.5, 87.5, 87.5)
    )
    assert zero.precision.sd == pytest.approx(25 / math.sqrt(2))
    assert (one.precision.mean, one.recall.mean, one.f1.mean) == pytest.approx((250 / 3,) * 3)
    assert macro.f1.mean == pytest.approx(100 * ((0.75 + 2 / 3 + 2 / 3) / 3 + 1) / 2)
    assert macro.f1.sd == pytest.approx(100 * (1 - (0.75 + 2 / 3 + 2 / 3) / 3) / math.sqrt(2))


def test_precision_and_recall_are_not_mixed_up():
    zero, one, macro = classes.scores(
        [(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 1, 1]))]
    )
    assert (zero.precision.mean, zero.recall.mean, zero.f1.mean) == pytest.approx((100, 25, 40))
    assert (one.precision.mean, one.recall.mean, one.f1.mean) == pytest.approx((40, 100, 400 / 7))
    assert (macro.precision.mean, macro.recall.mean) == pytest.approx(
        (70, 62.5)
    ) and macro.f1.sd is None


def test_a_class_that_is_never_predicted_counts_as_zero_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zero, one, _ = classes.scores([(np.array([0, 1]), np.array([0, 0]))])
    assert (one.precision.mean, one.recall.mean, one.f1.mean) == (
        0,
        0,
        0,
    ) and zero.precision.mean == 50


def test_csv():
    lines = list(csv.DictReader(io.StringIO(to_csv(classes.scores(PAIRS)))))
    assert [line["class"] for line in lines] == ["0", "1", "2", "macro"]
    assert (
        lines[0]["support"],
        lines[0]["n"],
        lines[0]["precision_mean"],
        lines[0]["precision_sd"],
    ) == ("4", "2", "87.5000", "17.6777")
    one_seed = list(csv.DictReader(io.StringIO(to_csv(classes.scores(PAIRS[:1])))))
    assert one_seed[1]["recall_mean"] == "66.6667" and one_seed[1]["recall_sd"] == ""


def test_confusion_is_row_normalised_in_per_cent_and_averaged():
    names, shares = classes.confusion(PAIRS)
    assert names.tolist() == [0, 1, 2]
    np.testing.assert_allclose(
        shares, [[87.5, 12.5, 0], [0, 250 / 3, 50 / 3], [50 / 3, 0, 250 / 3]]
    )


def test_a_class_without_images_has_a_column_and_no_shares():
    names, shares = classes.confusion([(np.array([3, 3]), np.array([3, 7]))])
    assert names.tolist() == [3, 7]
    np.testing.assert_array_equal(shares, [[50, 50], [math.nan, math.nan]])
    assert [s.name for s in classes.scores([(np.array([3, 3]), np.array([3, 7]))])] == [
        "3",
        "macro",
    ]


@pytest.mark.parametrize("function", [classes.scores, classes.confusion])
def test_what_cannot_be_scored_is_refused(function):
    with pytest.raises(ValueError, match="`pairs` is empty"):
        function([])
    with pytest.raises(ValueError, match=r"`pairs\[1\]` has 10 true and 9 predicted classes"):
        function([(TRUTH, SOME), (TRUTH, SOME[:9])])
    with pytest.raises(ValueError, match=r"`pairs\[1\]` has other true classes"):
        function([(TRUTH, SOME), (TRUTH[::-1], SOME)])


def test_the_figure_of_few_classes_has_numbers(tmp_path):
    figure = confusion.figure(PAIRS, "C&S $x$: two seeds")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == (
        "predicted class",
        "true class",
        "C&S $x$: two seeds",
    )
    assert sorted(t.get_text() for t in axes.texts) == sorted(
        ["88", "12", "83", "17", "17", "83"]
    )  # zeros stay empty
    assert (
        "1 taken for 2 (16.7\u00a0%), 2 taken for 0 (16.7\u00a0%), 0 taken for 1 (12.5\u00a0%)."
        in figure.get_supxlabel()
    )
    assert "%" in figure.axes[1].get_ylabel()
    assert [p.suffix for p in save(figure, tmp_path / "c")] == [".svg", ".png"]


def test_the_figure_of_a_hundred_classes_stays_readable(tmp_path):
    truth = np.repeat(np.arange(100), 3)
    figure = confusion.figure([(truth, np.where(truth == 35, 98, truth))], "cifar100")
    axes = figure.axes[0]
    assert not axes.texts and [t.get_text() for t in axes.get_xticklabels()] == [
        str(n) for n in range(0, 100, 5)
    ]
    assert "35 taken for 98 (100.0\u00a0%)." in figure.get_supxlabel()
    save(figure, tmp_path / "c")
    assert (tmp_path / "c.png").stat().st_size > 5000


def test_no_mistakes_are_said_so():
    assert "No mistakes." in confusion.figure([(TRUTH, TRUTH)], "all right").get_supxlabel()
