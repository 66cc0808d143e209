"""Data sets, the split, augmentation, and the sentence for data that is not there."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from runners import data
from runners.data import parquet, source
from runners.data.dataset import batches, shift_and_flip

ROWS = np.arange(1797)


def test_digits_are_the_real_ones():
    digits = data.load("digits")
    assert (len(digits.train), len(digits.test), digits.classes, digits.image) == (
        1438,
        359,
        10,
        (3, 8, 8),
    )
    assert digits.train.labels.bincount().min() > 120
    # read without scikit-learn, whose import takes a second, and equal to what it reads
    pixels, target = load_digits(return_X_y=True)
    for part, rows in ((digits.train, ROWS % 5 != 4), (digits.test, ROWS % 5 == 4)):
        assert np.array_equal(part.labels, target[rows])
        grey = (pixels[rows] * 255 / 16).round().reshape(-1, 8, 8, 1)
        assert np.array_equal(part.images, grey.repeat(3, axis=-1))


def test_the_split_is_the_same_for_everyone_and_leaks_nothing():
    whole = data.load("digits")
    a, b = whole.hold_out(0.1), whole.hold_out(0.1)
    assert torch.equal(a.val.images, b.val.images) and len(a.val) == 144 and len(a.train) == 1294
    assert len(whole.hold_out(0.0).val) == 0 and len(whole.hold_out(0.0).train) == 1438
    together = torch.cat((a.train.images, a.val.images)).flatten(1).long().sum(1).sort().values
    assert torch.equal(together, whole.train.images.flatten(1).long().sum(1).sort().values)


def test_the_parts_of_a_set_share_its_memory_and_read_alike():
    whole = data.load("digits")
    parts, train = whole.hold_out(0.1), whole.train.images
    rows = torch.tensor([5, 0, 7])
    for part in (parts.train, parts.val):
        assert part.stock.data_ptr() == train.data_ptr() and part.to("cpu") is part
        few = part.subset(rows)
        assert torch.equal(few.images, part.images[rows])
        elsewhere = part.to("meta").subset(rows)
        assert {t.device.type for t in (elsewhere.stock, elsewhere.labels, elsewhere.rows)} == {
            "meta"
        }
        assert torch.equal(few.at(torch.tensor([2])), part.images[7:8])
        assert torch.equal(torch.cat([x for x, _ in few.read(torch.arange(3), 2)]), few.images)
        assert torch.equal(few.labels, part.labels[rows]) and len(few) == 3
    none = whole.test.subset(torch.arange(0))
    assert len(none) == len(none.stock) == 0 and none.size == whole.test.size


def test_normalised_pixels_have_mean_zero_and_deviation_one():
    synthetic = data.load("synthetic")
    x = synthetic.normalise(synthetic.train.images)
    assert x.shape == (320, 3, 8, 8) and x.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_shift_and_flip_is_pad_crop_and_mirror():
    images = torch.randint(0, 256, (20, 6, 5, 3), dtype=torch.uint8)
    shift, flip = torch.randint(0, 5, (20, 2)), torch.rand(20) < 0.5
    got = shift_and_flip(images, shift, flip, 2)
    for i in range(20):
        padded = np.pad(images[i].numpy(), ((2, 2), (2, 2), (0, 0)))
        top, left = shift[i].tolist()
        crop = padded[top : top + 6, left : left + 5]
        np.testing.assert_array_equal(got[i].numpy(), crop[:, ::-1] if flip[i] else crop)


def test_batches_are_a_shuffled_epoch_repeatable_by_seed():
    synthetic = data.load("synthetic")

    def epoch(seed, augment=True):
        generator = torch.Generator().manual_seed(seed)
        return [
            torch.cat(t)
            for t in zip(*batches(synthetic, 50, generator, augment=augment), strict=True)
        ]

    (x, y), (x2, y2), (x3, _) = epoch(1), epoch(1), epoch(2)
    assert torch.equal(x, x2) and torch.equal(y, y2) and not torch.equal(x, x3)
    plain, labels = epoch(1, augment=False)
    assert torch.equal(labels, y) and len(y) == 320 and y.bincount().tolist() == [32] * 10
    assert not torch.equal(plain, x) and plain.sum().isclose(
        synthetic.normalise(synthetic.train.images).sum(), atol=1
    )


def write_parquet(folder, name, n, offset=0):
    random = np.random.default_rng(offset)
    images = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    rows = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": "x.png"})
    labels = (np.arange(n) + offset) % 100
    pq.write_table(
        pa.table({"img": rows, "fine_label": labels, "coarse_label": labels // 5}), folder / name
    )
    return images, labels


@pytest.mark.parametrize("nested", [False, True])
def test_cifar100_from_parquet_decoded_once(nested, tmp_path, monkeypatch):
    folder = tmp_path / "root" / ("cifar100" if nested else "")
    folder.mkdir(parents=True)
    parts = [write_parquet(folder, f"train-0000{i}-of-00002.parquet", 30, i) for i in range(2)]
    test_images, test_labels = write_parquet(folder, "test-00000-of-00001.parquet", 10, 7)
    monkeypatch.setattr(source, "SLOW_S", -1.0)  # as the 60,000 images are
    first = data.load("cifar100", tmp_path / "root", tmp_path / "cache")
    assert torch.equal(first.train.images, torch.from_numpy(np.concatenate([p[0] for p in parts])))
    assert first.train.labels.tolist() == np.concatenate([p[1] for p in parts]).tolist()
    assert (
        torch.equal(first.test.images, torch.from_numpy(test_images))
        and first.test.labels.tolist() == test_labels.tolist()
    )
    monkeypatch.setattr(parquet, "read", lambda *_: pytest.fail("decoded twice"))
    assert data.load("cifar100", tmp_path / "root", tmp_path / "cache").digest == first.digest


def test_parquet_of_something_else_is_one_sentence(tmp_path):
    for name in ("train-0.parquet", "test-0.parquet"):
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / name)
    with pytest.raises(ValueError, match=r"train-0\.parquet: has no column fine_label and img"):
        data.load("cifar100", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_no_data_and_no_network_is_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve",
        lambda *a, **k: (_ for _ in ()).throw(OSError("no route to host")),
    )
    with pytest.raises(
        ValueError,
        match=f"dataset '{name}' is neither in .* nor could it be downloaded .*--data or DATA_ROOT",
    ) as error:
        data.load(name, tmp_path)
    assert "\n" not in str(error.value)


def test_a_pickle_whose_checksum_is_wrong_is_never_read(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch read'\ntR.")
    monkeypatch.setattr(
        "torchvision.datasets.utils._urlretrieve",
        lambda *a, **k: (_ for _ in ()).throw(OSError("offline")),
    )
    monkeypatch.setattr("pickle.load", lambda *a, **k: pytest.fail("a pickle was read"))
    with pytest.raises(ValueError, match="nor could it be downloaded"):
        data.load("cifar100", tmp_path)


def test_unknown_dataset():
    with pytest.raises(ValueError, match="unknown dataset 'cifar1': did you mean 'cifar10'"):
        data.load("cifar1")
