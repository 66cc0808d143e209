"""Subsets of channels, what stands for those that are missing, and how training loses them."""

import itertools
from collections import Counter
from fractions import Fraction

import pytest
import torch

from scconv.channels import (
    FILLS,
    Fill,
    draw,
    drawable,
    first_of,
    mask_of,
    name_of,
    subsets,
)

ALL = (True, True, True)


def photographs(n: int = 6, c: int = 3) -> torch.Tensor:
    """Bytes whose channels depend on each other, as those of photographs do."""
    generator = torch.Generator().manual_seed(0)
    grey = torch.rand(n, 1, 5, 4, generator=generator)
    own = torch.rand(n, c, 5, 4, generator=generator)
    return (255 * (0.7 * grey + 0.3 * own)).to(torch.uint8)


def test_the_subsets_of_three_channels_in_their_order():
    assert [name for name, _ in subsets(3)] == ["RGB", "RG", "RB", "GB", "R", "G", "B"]
    assert dict(subsets(3))["RB"] == (True, False, True)


@pytest.mark.parametrize("c", [1, 2, 4, 10])
def test_every_subset_of_any_number_of_channels_once(c):
    found = subsets(c)
    assert len({mask for _, mask in found}) == len({name for name, _ in found}) == 2**c - 1
    assert found[0][0] == "+".join(str(i + 1) for i in range(c))
    assert all(mask_of(name, c) == mask and name_of(mask) == name for name, mask in found)


@pytest.mark.parametrize("c", [0, 11])
def test_too_many_subsets_are_refused_with_the_way_out(c):
    with pytest.raises(ValueError, match=f"1 to 10 channels, got {c}; name the ones that matter"):
        subsets(c)


@pytest.mark.parametrize(
    "name, c", [("", 3), ("GR", 3), ("RGX", 3), ("RR", 3), ("1+1", 4), ("5", 4), ("1,2", 4)]
)
def test_a_name_that_is_no_subset_is_refused(name, c):
    with pytest.raises(ValueError, match="must name some of"):
        mask_of(name, c)


def test_a_subset_of_many_channels_has_a_name():
    assert mask_of("2+12", 12) == tuple(i in (2, 12) for i in range(1, 13))


@pytest.mark.parametrize("kind", FILLS)
def test_what_is_there_keeps_its_values_bit_for_bit(kind):
    images = photographs()
    fill = Fill.fit(kind, images)
    assert torch.equal(fill(images, torch.tensor(ALL)), images.float())
    for _, mask in subsets(3):
        there = torch.tensor(mask)
        assert torch.equal(fill(images, there)[:, there], images[:, there].float())


@pytest.mark.parametrize("kind", sorted({*FILLS} - {"none"}))
def test_an_absent_channel_is_not_read(kind):
    images, mask = photographs(), torch.tensor([True, False, True])
    fill, other = Fill.fit(kind, images), photographs()
    other[:, 1] = 77
    assert torch.equal(fill(images, mask), fill(other, mask))


def test_what_stands_for_an_absent_channel():
    images = photographs()
    mask = torch.tensor([True, False, True])
    made = {kind: Fill.fit(kind, images)(images, mask)[:, 1] for kind in FILLS}
    pixels = images.float()
    assert not made["black"].any()
    torch.testing.assert_close(made["mean"], pixels[:, 1].mean().expand(6, 5, 4))
    torch.testing.assert_close(made["copy"], (pixels[:, 0] + pixels[:, 2]) / 2)
    assert torch.equal(made["none"], pixels[:, 1])


@pytest.mark.parametrize("name, mask", subsets(3))
def test_linear_is_the_least_squares_fit_of_each_subset(name, mask):
    images, there = photographs(), torch.tensor(mask)
    filled = Fill.fit("linear", images)(images, there)
    pixels = images.transpose(0, 1).reshape(3, -1).double()
    design = torch.cat([pixels[there], torch.ones(1, pixels.shape[1])]).T
    for i in itertools.compress(range(3), (~there).tolist()):
        weights = torch.linalg.lstsq(design, pixels[i, :, None]).solution
        want = (design @ weights).reshape(6, 5, 4).float()
        torch.testing.assert_close(filled[:, i], want, rtol=0, atol=1e-3)


def test_linear_of_grey_three_times_is_grey():
    grey = photographs()[:, :1].expand(-1, 3, -1, -1)
    for _, mask in subsets(3):
        filled = Fill.fit("linear", grey)(grey, torch.tensor(mask))
        torch.testing.assert_close(filled, grey.float(), rtol=0, atol=1e-2)


def test_images_that_miss_different_channels_are_filled_as_each_alone():
    images = photographs()
    masks = torch.tensor([mask for _, mask in subsets(3)][:6])
    for kind in FILLS:
        fill = Fill.fit(kind, images)
        together = fill(images, masks)
        for i in range(6):
            torch.testing.assert_close(together[i : i + 1], fill(images[i : i + 1], masks[i]))


def test_an_image_without_channels_and_an_unknown_fill_are_refused():
    images = photographs()
    with pytest.raises(ValueError, match="must have a channel"):
        Fill.fit("black", images)(images, torch.zeros(6, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="one of black, mean, copy, linear, none, got 'grey'"):
        Fill.fit("grey", images)


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(1), Fraction(0)])
def test_the_probabilities_of_the_sampler_by_enumeration(p):
    """Every outcome of the three draws, with its probability."""
    found: Counter[str] = Counter({"RGB": 1 - p})
    orders = [*itertools.permutations(range(3))]
    for size, order in itertools.product([1, 2, 3], orders):
        kept = first_of(torch.tensor([order]), torch.tensor([size]))[0]
        found[name_of(kept.tolist())] += p / (3 * len(orders))
    want = {name: p / 9 for name in ("RG", "RB", "GB", "R", "G", "B")}
    assert found == Counter(want | {"RGB": 1 - p + p / 3})


def test_half_the_batches_lose_channels_as_the_probabilities_say():
    generator = torch.Generator().manual_seed(0)
    found = Counter(name_of(draw("batch", 0.5, 1, 3, generator)[0].tolist()) for _ in range(18_000))
    # standard deviations of the counts: 63 of 12,000, and 31 of 1,000
    assert abs(found.pop("RGB") - 12_000) < 4 * 63
    assert len(found) == 6 and all(abs(n - 1_000) < 4 * 31 for n in found.values())


def test_a_sample_loses_its_own_channels_and_a_batch_the_same():
    generator = torch.Generator().manual_seed(0)
    rows = draw("sample", 1.0, 9_000, 3, generator)
    counts = [name_of(row) for row in rows.tolist()]
    assert abs(counts.count("RGB") - 3_000) < 4 * 45
    assert abs(counts.count("G") - 1_000) < 4 * 30 and rows.any(1).all()
    batches = [draw("batch", 1.0, 8, 4, generator) for _ in range(20)]
    assert all((batch == batch[0]).all() for batch in batches)
    assert len({tuple(batch[0].tolist()) for batch in batches}) > 5
    assert draw("none", 1.0, 5, 3, generator).all()


def test_the_masks_that_can_be_drawn():
    assert drawable("none", 1.0, 3) == drawable("batch", 0.0, 3) == [ALL]
    assert drawable("sample", 0.5, 3) == [mask for _, mask in subsets(3)]
    with pytest.raises(ValueError, match="drop_channels must be one of none, batch, sample"):
        draw("all", 1.0, 1, 3, torch.Generator())
