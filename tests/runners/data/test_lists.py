"""Folders of images with lists: what they mean, and the line that refuses a malformed one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runners import data
from runners.errors import SweepError
from runners.plan import load
from runners.store import Store
from runners.trial import datasets

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=100, subsampling=0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """DATA/mini: six images of three colours to train on, three shades to test on."""
    root = tmp_path / "DATA" / "mini"
    lines = {"train": [], "test": []}
    for label, (name, colour) in enumerate(COLOURS.items()):
        for i, (half, shade) in enumerate((("train", 255), ("train", 230), ("test", 200))):
            place = f"images/{name} {i}.jpg"
            picture(root / place, tuple(min(c, shade) for c in colour))
            lines[half].append(f"{place} {label}")
    for half, found in lines.items():
        (root / f"{half}.txt").write_text("\n".join(found) + "\n\n")
    return root


def read(folder: Path, **options):
    return data.load(folder.name, folder.parent, None, "", options)


def test_a_line_is_a_path_and_a_label(folder):
    found = read(folder)
    assert (len(found.train), len(found.test), found.classes) == (6, 3, 3)
    assert found.image == (3, 8, 8) and (found.pad, found.flip) == (0, False)
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_red_stays_red(folder):
    found = read(folder)
    for i, colour in enumerate(COLOURS.values()):
        seen = found.train.images[2 * i].float().mean((0, 1))
        assert (seen - torch.tensor(colour)).abs().max() < 3


@pytest.mark.parametrize("way", ["lists", "as files", "class folders", "parquet"])
def test_red_green_and_blue_come_through_every_path(way, folder, tmp_path, monkeypatch):
    if way == "class folders":
        for half in ("train", "val"):
            for name, colour in COLOURS.items():
                picture(
                    tmp_path / "tree" / half / f"{'abc'[len(name) % 3]}{name}" / "1.jpg", colour
                )
        found = data.load("imagenet", tmp_path / "tree")
        names = sorted(f"{'abc'[len(name) % 3]}{name}" for name in COLOURS)
        colours = [COLOURS[name[1:]] for name in names]
    elif way == "parquet":
        import io

        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = []
        for colour in COLOURS.values():
            file = io.BytesIO()
            Image.new("RGB", (32, 32), colour).save(file, "JPEG", quality=100, subsampling=0)
            rows.append({"bytes": file.getvalue(), "path": None})
        for half in ("train", "test"):
            table = pa.table({"img": rows, "fine_label": [0, 1, 2]})
            pq.write_table(table, tmp_path / f"{half}-0.parquet")
        found, colours = data.load("cifar100", tmp_path), [*COLOURS.values()]
    else:
        if way == "as files":
            monkeypatch.setattr("runners.data.lists.MEMORY", 10)
        found, colours = read(folder, size=8), [c for c in COLOURS.values() for _ in "ab"]
    images, _ = next(found.train.read(torch.arange(len(found.train)), 16))
    first = [i for i in range(len(colours)) if i == 0 or colours[i] != colours[i - 1]]
    for i in first:
        assert (images[i].float().mean((0, 1)) - torch.tensor(colours[i])).abs().max() < 4
    normal = found.normalise(images[first[:1]])
    assert normal.shape[:2] == (1, 3)


def test_a_validation_list_is_the_validation_split(folder, write_sweep, tmp_path):
    before = data.measured("mini", folder.parent, None)
    lines = (folder / "train.txt").read_text().split("\n")
    (folder / "train.txt").write_text("\n".join(lines[:5]))
    (folder / "val.txt").write_text(lines[5])
    whole = read(folder)
    held = whole.hold_out(0.5)
    assert (len(held.train), len(held.val), held.val.labels.tolist()) == (5, 1, [2])
    after = data.measured("mini", folder.parent, None)
    assert after.identity != before.identity, "the split is a part of the data"
    store = Store(tmp_path / "runs")
    for base, refused in (({}, False), ({"val_fraction": 0.2}, True)):
        path = write_sweep(base={"dataset": "mini"} | base)
        sweep = datasets.identified(load(path), store, str(folder.parent))
        if refused:
            with pytest.raises(SweepError, match=r"base\.val_fraction: 'mini' has a list of its"):
                datasets.check(sweep, store, str(folder.parent))
        else:
            datasets.check(sweep, store, str(folder.parent))


def test_an_edit_makes_new_trials_and_a_name_is_enough(folder, write_sweep, tmp_path):
    store, root = Store(tmp_path / "runs"), str(folder.parent)
    path = write_sweep(base={"dataset": "mini"})
    sweep = datasets.identified(load(path), store, root)
    config = sweep.variants["R20"]
    assert config.dataset == "mini" and config.data and config.dataset_options == {}
    picture(folder / "images/red 0.jpg", (250, 3, 3))
    assert datasets.identified(load(path), store, root).trials[0].id != sweep.trials[0].id
    with pytest.raises(SweepError, match=r"no/mini/train\.txt is not there\. .* --data names"):
        datasets.identified(load(path), store, "no")
    datasets.remember(sweep, store)
    elsewhere = datasets.identified(load(path), store, "no")
    assert (
        elsewhere.trials[0].id == sweep.trials[0].id and "is taken for what" in elsewhere.notes[0]
    )


def test_sizes(folder):
    picture(folder / "images/red 0.jpg", (255, 0, 0), (20, 10))
    with pytest.raises(
        ValueError, match=r"train\.txt, line 2: .* is 8x8, and the first image 20x10"
    ):
        read(folder)
    assert read(folder, size=4).image == (3, 4, 4)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(folder / "images/red 0.jpg", "PNG")
    # antialiased: a mean over the columns, and not one of them
    assert (read(folder, size=4).train.images[0].float() - 127.5).abs().max() < 4


def test_grey_becomes_three_channels(folder):
    Image.new("L", (8, 8), 77).save(folder / "images/red 0.jpg")
    assert (read(folder).train.images[0].float() - 77).abs().max() < 2


def test_many_images_are_read_as_files(folder, monkeypatch):
    monkeypatch.setattr("runners.data.lists.MEMORY", 10)
    with pytest.raises(ValueError, match=r"do not fit in memory.*set dataset_options\.size"):
        read(folder)
    found = read(folder, size=6)
    assert found.image == (3, 6, 6) and found.train.paths[0].endswith("red 0.jpg")
    assert data.measured("mini", folder.parent, None, "", {"size": 6}).image == (3, 6, 6)


def write(name: str, text: str | bytes) -> Callable[[Path], object]:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / name).write_bytes(content)


def add(name: str, line: str) -> Callable[[Path], object]:
    """One more line, the last."""
    return lambda folder: write(name, (folder / name).read_text().rstrip() + f"\n{line}\n")(folder)


def copy(folder: Path) -> None:
    (folder / "images/copy.jpg").write_bytes((folder / "images/green 1.jpg").read_bytes())
    add("test.txt", "images/copy.jpg 1")(folder)


def two_validations(folder: Path) -> None:
    for name in ("val.txt", "validation.txt"):
        write(name, "images/red 0.jpg 0")(folder)


def float_pixels(folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(folder / "images/red 0.png")
    add("train.txt", "images/red 0.png 0")(folder)


MALFORMED = {
    "no list to train on": (lambda f: (f / "train.txt").unlink(), "train.txt is not there"),
    "no list to test on": (
        lambda f: (f / "test.txt").unlink(),
        "test.txt: cannot be read (No such",
    ),
    "an empty list": (write("test.txt", "\n \n"), "test.txt: names no image; a line is"),
    "a folder in place of a list": (
        lambda f: ((f / "test.txt").unlink(), (f / "test.txt").mkdir()),
        "test.txt: cannot be read (Is a directory)",
    ),
    "not UTF-8": (write("test.txt", b"\xff\xfe\x00"), "test.txt: must be text in UTF-8"),
    "a line without a label": (add("train.txt", "images/red.jpg"), "line 7: a line is"),
    "a line with a tab": (add("train.txt", "images/red.jpg\t0"), "line 7: a line is"),
    "a header": (write("train.txt", "path label\n"), "line 1: the label must be"),
    "a comma": (write("train.txt", "a.jpg, x"), "got 'x'; remove the header"),
    "a negative label": (add("train.txt", "images/a.jpg -1"), "line 7: the label must be a whole"),
    "a label with a fraction": (add("train.txt", "images/a.jpg 1.0"), "got '1.0'"),
    "a label in other digits": (add("train.txt", "images/a.jpg ٣"), "got '٣'"),
    "an absolute path": (add("train.txt", "/etc/passwd 0"), "line 7: a path must lie inside"),
    "a path that leads out": (add("test.txt", "../../x.jpg 0"), "line 4: a path must lie inside"),
    "an image that is not there": (add("test.txt", "images/no.jpg 0"), "line 4: "),
    "an image that is none": (
        lambda f: (write("images/no.jpg", "text")(f), add("test.txt", "images/no.jpg 0")(f)),
        "test.txt, line 4: ",
    ),
    "a line twice": (add("train.txt", "images/red 0.jpg 0"), "line 7: {}/images/red 0.jpg stands"),
    "an image in two lists": (
        add("test.txt", "images/red 1.jpg 0"),
        "test.txt, line 4: {0}/images/red 1.jpg stands in {0}/train.txt, line 2 as well",
    ),
    "a copy in two lists": (
        copy,
        "line 4: {0}/images/copy.jpg has the pixels of {0}/images/green 1.jpg ({0}/train.txt, "
        "line 4)",
    ),
    "a gap in the labels": (
        lambda f: write("train.txt", (f / "train.txt").read_text().replace(" 2\n", " 5\n"))(f),
        "without gaps, and none is 2 (the highest is 5)",
    ),
    "a class that is tested alone": (
        lambda f: write("test.txt", (f / "test.txt").read_text().replace(" 2\n", " 3\n"))(f),
        "test.txt, line 3: label 3 has no image in train.txt",
    ),
    "two lists for validation": (two_validations, "has both validation.txt and val.txt; remove"),
    "pixels of more than 8 bits": (float_pixels, "line 7: "),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_list_is_refused_by_one_line(fault, folder):
    harm, said = MALFORMED[fault]
    harm(folder)
    with pytest.raises(ValueError) as error:
        read(folder)
    line = str(error.value)
    assert said.format(folder) in line and "\n" not in line, line
    # every refusal names a file
    assert ".txt" in line


def test_a_negative_size_is_refused(folder):
    with pytest.raises(ValueError, match="size: must be at least 1, or 0 for theirs, got -3"):
        read(folder, size=-3)
