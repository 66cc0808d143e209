"""The photographs' tiles: how many, in which colours, and by which whole-number arithmetic."""

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from runners import data
from runners.data import packaged, photos

there = pytest.mark.skipif(find_spec("skimage") is None, reason="pip install scikit-image")


def literal(pixels: np.ndarray) -> np.ndarray:
    """Block by block, as the words say."""
    h, w, _ = pixels.shape
    rows, columns = h * 256 // min(h, w), w * 256 // min(h, w)
    out = np.zeros((rows, columns, 3), np.uint8)
    for i in range(rows):
        top, bottom = (k * min(h, w) // 256 for k in (i, i + 1))
        for j in range(columns):
            left, right = (k * min(h, w) // 256 for k in (j, j + 1))
            # the last block has what is left
            block = pixels[
                top : bottom if i < rows - 1 else h, left : right if j < columns - 1 else w
            ]
            out[i, j] = np.floor(block.reshape(-1, 3).mean(0) + 0.5)
    return out


@pytest.mark.parametrize("shape", [(256, 300), (512, 512), (300, 451), (600, 257)])
def test_a_reduced_photograph_has_the_means_of_whole_blocks(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    np.testing.assert_array_equal(photos.reduced(pixels), literal(pixels))
    assert min(photos.reduced(pixels).shape[:2]) == 256


def test_tiles_are_cut_row_by_row_and_do_not_overlap():
    pixels = np.arange(40 * 50 * 3).reshape(40, 50, 3)
    tiles = photos.cut(pixels)
    assert tiles.shape == (6, 16, 16, 3) and len(np.unique(tiles)) == tiles.size
    np.testing.assert_array_equal(tiles[4], pixels[16:32, 16:32])


@there
def test_their_numbers_and_colours():
    whole = data.load("photos")
    assert (len(whole.train), len(whole.test), whole.classes) == (2642, 654, 10)
    assert whole.image == (3, 16, 16) and (whole.pad, whole.flip) == (2, True)
    assert whole.train.labels.bincount().tolist()[:3] == [295, 295, 205]
    assert all(0.2 < mean < 0.8 for mean in whole.mean)
    tiles = {label: whole.train.images[whole.train.labels == label].float() for label in (7, 9)}
    # the deep field is dark, and the retina red, then green, then blue
    assert tiles[7].mean() < 40
    red, green, blue = tiles[9].mean((0, 1, 2)).tolist()
    assert red > 1.5 * green > 1.5 * blue


@there
def test_they_are_known_by_their_name_and_nothing_of_their_package_is_imported(tmp_path):
    sys.modules.pop("skimage", None)
    found = data.measured("photos", None, tmp_path)
    assert found.identity == "" and found.digest
    assert "skimage" not in sys.modules


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install scikit-learn"):
        data.load("photos")
    assert photos.files(Path()) == []


def test_a_package_that_was_put_in_place_by_hand_has_no_files(monkeypatch):
    """As tests of users do, to keep a real one from being imported."""
    monkeypatch.setitem(sys.modules, "sklearn", types.ModuleType("sklearn"))
    with pytest.raises(ValueError, match="pip install scikit-learn"):
        data.load("photos")
