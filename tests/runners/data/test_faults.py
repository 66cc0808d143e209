"""A file that cannot be read is named, with what is wrong with it and the way out; and a file that
was opened before the training is one that the training can read.
"""

import io
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runners import data
from runners.data import faults, image_check, image_files, parquet

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"

# the content of a file, and what is said of it
BROKEN = {
    "nothing": (b"", r"is empty \(0 bytes\).*fetch it again"),
    "an LFS pointer": (POINTER, "is a Git LFS pointer, not the data; run git lfs pull"),
    "a login page": (b"\n<!DOCTYPE html><title>Sign in", r"is a web page \(HTML\).*download it"),
    "an error of S3": (
        b'<?xml version="1.0"?><Error><Code>AccessDenied',
        r"is a server's error message \(XML\)",
    ),
    "zeros": (bytes(2000), "holds nothing but zeros, so it was not written whole"),
    "other bytes": (b"\x01\x02" * 500, "cannot be read as .*remove or replace it"),
}


def encoded(form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def rows(n: int, start: int = 0) -> list[dict]:
    small = io.BytesIO()
    Image.fromarray(PIXELS[:32, :32]).save(small, "PNG")
    return [{"bytes": small.getvalue(), "path": f"{start + i}.png"} for i in range(n)]


def write_parquet(path: Path, images: list[dict]) -> None:
    labels = [i % 100 for i in range(len(images))]
    pq.write_table(pa.table({"img": images, "fine_label": labels}), path)


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("where", ["train/a/1.png", "train/b/0.png", "val/b/1.png"])
def test_an_image_that_cannot_be_read_is_named(case, where, tmp_path):
    for half in ("train", "val"):
        for c in "ab":
            (tmp_path / half / c).mkdir(parents=True)
            for i in range(2):
                (tmp_path / half / c / f"{i}.png").write_bytes(encoded("PNG"))
    content, message = BROKEN[case]
    (tmp_path / where).write_bytes(content)
    with pytest.raises(ValueError, match=f"{where} {message}") as error:
        data.measured("imagenet", tmp_path, tmp_path / "cache")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"])
def test_a_parquet_file_that_cannot_be_read_is_named(case, name, tmp_path):
    for half in ("train", "test"):
        write_parquet(tmp_path / f"{half}-00000-of-00001.parquet", rows(3))
    content, message = BROKEN[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} {message}"):
        data.measured("cifar100", tmp_path, tmp_path / "cache")


@given(part=st.floats(0, 0.99))
@settings(max_examples=20, deadline=None)
def test_a_parquet_file_that_is_cut_off_anywhere_is_named(part):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train-0.parquet"
        write_parquet(path, rows(3))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match=r"train-0\.parquet .*(cut off|is empty|cannot be)"):
            parquet.read([path], "img", "fine_label")


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_damaged_row_of_a_parquet_file_is_named(row, tmp_path):
    images = rows(3)
    images[row]["bytes"] = images[row]["bytes"][:60]
    write_parquet(tmp_path / "test-0.parquet", images)
    with pytest.raises(ValueError, match=rf"test-0\.parquet: row {row} cannot be read as an image"):
        parquet.read([tmp_path / "test-0.parquet"], "img", "fine_label")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_part_that_is_missing_is_named(missing, tmp_path):
    parts = [tmp_path / f"train-{i:05}-of-00003.parquet" for i in range(3)]
    for part in parts:
        write_parquet(part, rows(2))
    parts[missing].unlink()
    left = [part for part in parts if part.exists()]
    with pytest.raises(ValueError, match=f"{parts[missing].name} of 3 files is missing"):
        parquet.read(left, "img", "fine_label")


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize(
    "name, file",
    [
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
        ("cifar100", "cifar-100-python/train"),
    ],
)
def test_an_archive_that_is_not_taken_is_named(case, name, file, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", offline)
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a pickle was read"))
    content, message = BROKEN[case]
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} {message}"):
        data.load(name, tmp_path)


@pytest.mark.parametrize(
    "target, message",
    [
        ("../.git/annex/objects/x/SHA256E-s9--1.jpg", "git-annex link .* run git annex get"),
        ("gone.jpg", "is a link to a file that is not there"),
        (".", "is a folder, a pipe or a device"),
    ],
)
def test_a_link_is_named(target, message, tmp_path):
    (tmp_path / "x.jpg").symlink_to(target)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(faults.reason(tmp_path / "x.jpg", "odd"))


def test_many_files_are_counted_and_the_first_named(tmp_path):
    paths = [tmp_path / f"{i:02}.png" for i in range(30)]
    for i, path in enumerate(paths):
        path.write_bytes(b"" if i % 2 else encoded("PNG"))
    said = faults.several(image_check.open_all([*map(str, paths)], None).problems, 30)
    assert said.startswith("15 of 30 files cannot be read: ") and said.endswith("; and 5 more")
    assert said.count("is empty") == faults.MOST_NAMED and "01.png" in said and "29.png" not in said


FORMS = {
    "jpg": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "png": encoded("PNG"),
    "tiff": encoded("TIFF", compression="tiff_lzw"),
    "webp": encoded("WEBP", lossless=True),
    "bmp": encoded("BMP"),
    "ppm": encoded("PPM"),
}


@given(
    form=st.sampled_from(sorted(FORMS)),
    cut=st.floats(0, 1),
    harms=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_what_was_opened_before_can_be_read_by_the_training(form, cut, harms):
    """Whatever is cut off or written over: never a trial that fails after its epochs."""
    content = bytearray(FORMS[form])
    for place, byte in harms:
        content[int(place * len(content))] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.jpg"
        path.write_bytes(content[: int(cut * len(content))])
        problems = image_check.open_all([str(path)], None).problems
        decoder = image_files._Decoder(np.array([str(path)]), 32)
        if problems:
            assert problems[0].startswith(f"{path} ") and " at 0x" not in problems[0]
        else:
            assert decoder[0, -1][0].shape == (32, 32, 3)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_an_image_that_is_cut_off_is_found(form, cut, tmp_path):
    content = FORMS[form]
    (tmp_path / "0.jpg").write_bytes(content[: int(cut * len(content))])
    (tmp_path / "1.jpg").write_bytes(content)
    paths = [str(tmp_path / name) for name in ("0.jpg", "1.jpg")]
    problems = image_check.open_all(paths, tmp_path / "cache").problems
    assert len(problems) == 1 and problems[0].startswith(f"{tmp_path}/0.jpg ")


def test_a_file_that_has_changed_is_opened_again_and_no_other(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        path.write_bytes(encoded("PNG"))
    asked = [str(path) for path in paths]
    image_check.open_all(asked, tmp_path / "cache")
    opened = []
    real = image_check._open
    monkeypatch.setattr(image_check, "_open", lambda path: opened.append(path) or real(path))
    assert image_check.open_all(asked, tmp_path / "cache").problems == [] and opened == []
    paths[2].write_bytes(b"")
    problems = image_check.open_all(asked, tmp_path / "cache").problems
    assert opened == [str(paths[2])] and "2.png is empty" in problems[0]
    # what was bad is never remembered
    assert image_check.open_all(asked, tmp_path / "cache").problems == problems


def test_a_file_that_goes_bad_while_training_is_named(tmp_path):
    for half in ("train", "val"):
        (tmp_path / half / "a").mkdir(parents=True)
        for i in range(3):
            (tmp_path / half / "a" / f"{i}.png").write_bytes(encoded("PNG"))
    found = data.load("imagenet", tmp_path)
    (tmp_path / "train/a/1.png").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"train/a/1\.png is a Git LFS pointer"):
        list(found.train.read(torch.arange(3), 3))
