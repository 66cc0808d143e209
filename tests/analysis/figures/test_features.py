"""Redundancy against hand calculations and numpy's own correlation; and what the picture says of
itself.
"""

import itertools
import math

import numpy as np
import pytest

from analysis.figures import features, save
from analysis.figures.features import Side, mosaic
from analysis.stats.redundancy import constant, redundancy

pytestmark = pytest.mark.slow

RAMP = np.array([[0.0, 1.0], [2.0, 3.0]])
CROSS = np.array([[1.0, 0.0], [0.0, 1.0]])  # uncorrelated with the ramp


def maps(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels)[None]


def test_by_hand():
    assert redundancy(maps(RAMP, 5 * RAMP + 2)) == pytest.approx(1)
    assert redundancy(maps(RAMP, -RAMP)) == pytest.approx(1)  # the absolute value
    assert redundancy(maps(RAMP, CROSS)) == pytest.approx(0, abs=1e-12)
    assert redundancy(maps(RAMP, 2 * RAMP, CROSS)) == pytest.approx(1 / 3)  # one of three pairs
    # deviations (-3, -1, 1, 3) / 2 and (-1, -1, -1, 3) / 4: r = 3 / sqrt(5 * 3)
    assert redundancy(maps(RAMP, np.array([[0.0, 0.0], [0.0, 1.0]]))) == pytest.approx(
        3 / math.sqrt(15)
    )


def test_against_numpys_correlation_image_by_image():
    many = np.random.default_rng(0).normal(size=(3, 5, 4, 6)).astype(np.float32)
    expected = [
        np.mean(
            [
                abs(np.corrcoef(image[i].ravel(), image[j].ravel())[0, 1])
                for i, j in itertools.combinations(range(5), 2)
            ]
        )
        for image in many
    ]
    assert redundancy(many) == pytest.approx(np.mean(expected), rel=1e-5)


def test_constant_channels_are_left_out_and_counted():
    dead, nearly = np.zeros((2, 2)), np.array([[0.1, 0.1], [0.1, np.nextafter(np.float32(0.1), 1)]])
    assert (
        redundancy(maps(RAMP, RAMP, CROSS, dead))
        == redundancy(maps(RAMP, RAMP, CROSS))
        == pytest.approx(1 / 3)
    )
    assert redundancy(maps(RAMP, RAMP, nearly)) == pytest.approx(1)
    assert constant(maps(RAMP, dead, nearly, CROSS)) == 0.5
    assert math.isnan(redundancy(maps(RAMP, dead))) and math.isnan(redundancy(maps(dead, dead)))
    both = np.concatenate(
        [maps(RAMP, dead), maps(RAMP, RAMP)]
    )  # an image without a pair does not count
    assert redundancy(both) == pytest.approx(1) and constant(both) == 0.25


def test_one_image_without_its_axis_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\), and must have four axes"):
        redundancy(maps(RAMP, CROSS)[0])
    with pytest.raises(ValueError, match="four axes"):
        constant(RAMP)


def test_mosaic_scales_every_channel_alike_and_marks_constants():
    picture = mosaic(np.stack([RAMP, 100 + 3 * RAMP, np.ones((2, 2)), -RAMP]))
    assert picture.shape == (5, 5)  # two by two channels of 2 x 2, one pixel between
    np.testing.assert_allclose(picture[:2, :2], RAMP / 3)
    np.testing.assert_allclose(picture[:2, 3:], RAMP / 3)
    assert (
        (picture[3:, :2] == -1).all()
        and np.isnan(picture[2]).all()
        and np.isnan(picture[:, 2]).all()
    )
    np.testing.assert_allclose(picture[3:, 3:], 1 - RAMP / 3)


def test_mosaic_shows_64_channels_at_most_and_leaves_the_rest_of_a_row_blank():
    assert mosaic(np.random.default_rng(0).random((256, 4, 4))).shape == (39, 39)
    three = mosaic(np.stack([RAMP, RAMP, RAMP]))
    assert three.shape == (5, 5) and np.isnan(three[3:, 3:]).all()


def test_the_figure_carries_its_numbers_and_its_rule(tmp_path):
    image = np.zeros((2, 2, 3), np.uint8)
    left = Side("R$20$", np.stack([RAMP, RAMP, CROSS]), {0: 0.3, 1: 0.5}, 100)
    right = Side("S", np.stack([RAMP, CROSS] * 40), {0: 0.25}, 100)
    figure = features.figure(image, left, right, "The first image.")
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[0] == "input image"
    assert (
        titles[1]
        == "R$20$ (all 3 channels)\nredundancy 0.333 in this image\nredundancy 0.400 ± 0.141 over 100 images, n=2 seeds"
    )
    assert (
        "first 64 of 80 channels" in titles[2]
        and "redundancy 0.250 over 100 images, n=1 seed" in titles[2]
    )
    caption = " ".join(figure.get_supxlabel().split())
    assert caption.startswith("The first image. ") and features.RULE in caption
    shown = [axes.get_images()[0] for axes in figure.axes[1:]]
    assert {(i.norm.vmin, i.norm.vmax, i.get_cmap().name) for i in shown} == {
        (0, 1, "viridis")
    }  # one rule for both sides
    save(figure, tmp_path / "f")
    assert (tmp_path / "f.png").stat().st_size > 5000
