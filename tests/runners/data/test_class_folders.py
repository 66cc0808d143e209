"""A folder of images as a camera, a phone or a file server leaves it: what is read, and what is not."""

import os
import shutil
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from runners import data
from runners.data.class_folders import is_litter

RANDOM = np.random.default_rng(0)


def picture(path, mode="RGB", **options):
    pixels = RANDOM.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.fixture
def tree(tmp_path):
    """Two classes of two images in each half."""
    for half in ("train", "val"):
        for c in ("cat", "dog"):
            for i in range(2):
                picture(tmp_path / "photos" / half / c / f"{i}.jpg")
    return tmp_path / "photos"


def counts(tree):
    found = data.load("imagenet", tree)
    return len(found.train), len(found.test), found.train.labels.tolist()


# beside the images of a class, or as a folder beside the classes
LITTER = [
    ".ipynb_checkpoints/0-checkpoint.jpg",
    "@eaDir/0.jpg/SYNOFILE_THUMB_M.jpg",
    "@EADIR/0.jpg",
    "__MACOSX/._0.jpg",
    ".thumbnails/0.jpg",
    ".Trash-1000/files/0.jpg",
    "$RECYCLE.BIN/0.jpg",
    "#recycle/0.jpg",
    "lost+found/0.jpg",
    "System Volume Information/0.jpg",
    ".git/0.png",
]


@pytest.mark.parametrize("path", LITTER)
@pytest.mark.parametrize("where", ["train", "val", "train/cat", "val/dog", "train/cat/album"])
def test_a_folder_of_nobodys_data_is_neither_class_nor_images(tree, path, where):
    picture(tree / where / path)
    if where == "train/cat/album":
        assert counts(tree) == (4, 4, [0, 0, 1, 1])
    assert counts(tree) == (4, 4, [0, 0, 1, 1])


@pytest.mark.parametrize(
    "name", ["._0.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".0.jpg.swp", ".hidden.png"]
)
@pytest.mark.parametrize("where", ["", "train", "train/cat", "val/dog"])
def test_a_file_of_nobodys_data_is_no_image(tree, name, where):
    (tree / where / name).write_bytes(b"no image")
    assert counts(tree) == (4, 4, [0, 0, 1, 1])


@pytest.mark.parametrize("name", ["cat", "eaDir", "a.b", "my #recycle", "thumbs", "n01440764"])
def test_a_class_of_a_usual_name_is_data(name):
    assert not is_litter(name)


def test_what_a_phone_saves_beside_its_pictures_is_left_alone(tree):
    for name in ("IMG_1.MOV", "IMG_1.AAE", "IMG_1.jpg.json", "IMG_1.mp4", "notes.txt"):
        (tree / "train/cat" / name).write_bytes(b"ftypqt")
    picture(tree / "train/cat/Ferien in Köln (1) & 模型.JPG")
    picture(tree / "train/cat/2026/07/IMG_2.jpeg")
    assert counts(tree) == (6, 4, [0, 0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    "mode, name, options",
    [
        ("CMYK", "print.jpg", {"quality": 90}),
        ("CMYK", "print.tif", {}),
        ("L", "grey.jpg", {}),
        ("LA", "grey.png", {}),
        ("1", "scan.png", {}),
        ("P", "palette.png", {"transparency": bytes([0] * 9 + [255] * 200)}),
        ("RGB", "progressive.jpg", {"progressive": True}),
        ("RGB", "x.webp", {"lossless": True}),
        ("RGB", "animated.webp", {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]}),
    ],
)
def test_every_usual_kind_of_picture_is_read(tree, tmp_path, mode, name, options, recwarn):
    picture(tree / "train/cat" / name, mode, **options)
    assert data.measured("imagenet", tree, tmp_path / "cache")
    found = data.load("imagenet", tree)
    assert len(found.train) == 5 and not recwarn.list
    (images, _), *_ = found.train.read(torch.arange(5), 5)
    assert images.shape == (5, 224, 224, 3)


def other_format(name):
    return lambda tree: (tree / "train/cat" / name).write_bytes(b"x" * 99)


def content(name, start):
    return lambda tree: (tree / "train/cat" / name).write_bytes(start + b"x" * 99)


def deep(name, dtype):
    def harm(tree):
        pixels = 60000 * RANDOM.random((48, 64))
        Image.fromarray(pixels.astype(dtype)).save(tree / "train/cat" / name)

    return harm


def link(path, to):
    return lambda tree: (tree / path).symlink_to(to)


def spelled(tree):
    for half, form in (("train", "NFC"), ("val", "NFD")):
        picture(tree / half / unicodedata.normalize(form, "café") / "1.jpg")


# what is done to the tree, and the name and the reason that are said
REFUSED = {
    "HEIC": (other_format("IMG_1.HEIC"), "train/cat/IMG_1.HEIC.*convert them to JPEG"),
    "GIF": (other_format("a.gif"), "train/cat/a.gif.*convert them to JPEG"),
    "raw": (other_format("IMG.DNG"), "train/cat/IMG.DNG.*convert them"),
    "HEIC as JPEG": (
        content("IMG_1.jpg", b"\0\0\0\x18ftypheic"),
        "train/cat/IMG_1.jpg is a HEIF picture by its content.*convert it",
    ),
    "video as JPEG": (
        content("IMG_1.jpg", b"\0\0\0\x14ftypqt  "),
        "train/cat/IMG_1.jpg is a video.* by its content",
    ),
    "iCloud": (
        other_format(".IMG_1.JPG.icloud"),
        r"\.IMG_1.JPG.icloud stands for an image that iCloud has not downloaded",
    ),
    "16 bits": (deep("depth.png", np.uint16), r"depth.png .*go up to \d{5}.*convert it to 8 bits"),
    "16 bits TIFF": (deep("depth.tif", np.uint16), r"depth.tif .*all above 255 would be white"),
    "floats": (deep("depth.tif", np.float32), r"depth.tif .*its pixels are floats"),
    "no bytes": (
        lambda tree: (tree / "val/dog/0.jpg").write_bytes(b""),
        r"val/dog/0.jpg is empty \(0 bytes\)",
    ),
    "text": (content("t.jpg", b"Not Found"), r"t.jpg .*\(its content is of no known format\)"),
    "a pipe": (
        lambda tree: os.mkfifo(tree / "train/cat/p.jpg"),
        "train/cat/p.jpg is .* a pipe .*no file; remove it",
    ),
    "a loop": (link("train/cat/again", "."), "train/cat/again leads back by a link"),
    "a wide loop": (link("val/dog/all", "../.."), "leads back by a link to .*remove the link"),
    "a class that is all": (link("train/self", "."), "train/self.* leads back by a link"),
    "a loop of two": (
        lambda tree: (
            link("train/cat/dogs", "../dog")(tree),
            link("train/dog/cats", "../cat")(tree),
        ),
        "leads back by a link",
    ),
    "a dead link": (link("train/cat/x.jpg", "gone.jpg"), "x.jpg is a link to a file that is not"),
    "two spellings": (spelled, r"val/.* is the name of another class folder.*'cafe\\u0301'"),
    "upper case": (
        lambda tree: (tree / "val/cat").rename(tree / "val/Cat"),
        "must have the same classes, .*they differ in Cat, cat",
    ),
    "valid": (
        lambda tree: (tree / "val").rename(tree / "valid"),
        "has train and valid; the images to test on are expected in val: rename valid",
    ),
    "no picture": (
        lambda tree: (
            (tree / "train/film").mkdir(),
            (tree / "train/film/IMG_1.MOV").write_bytes(b"x"),
        ),
        "train has no image for film",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_lost_or_doubled_is_refused_by_name(case, tree, tmp_path):
    harm, message = REFUSED[case]
    harm(tree)
    with pytest.raises(ValueError, match=message) as error:
        data.measured("imagenet", tree, tmp_path / "cache")
    assert "\n" not in str(error.value) and " at 0x" not in str(error.value)


def test_a_name_that_is_no_utf_8_is_read(tree, tmp_path):
    odd = os.fsencode(str(tree / "train/cat")) + b"/caf\xe9.jpg"
    shutil.copy(tree / "train/cat/0.jpg", odd)
    first = data.measured("imagenet", tree, tmp_path / "cache")
    assert first == data.measured("imagenet", tree, tmp_path / "cache") and counts(tree)[0] == 5
    os.remove(odd)
    assert data.measured("imagenet", tree, tmp_path / "cache").identity != first.identity


def test_a_link_to_a_folder_elsewhere_is_followed(tree, tmp_path):
    picture(tmp_path / "camera" / "1.jpg")
    (tree / "train/cat/more").symlink_to(tmp_path / "camera")
    (tree / "train/dog/more").symlink_to(tmp_path / "camera")
    assert counts(tree) == (6, 4, [0, 0, 0, 1, 1, 1])


def test_the_tree_is_found_by_its_earlier_name_too(tree):
    from runners import folder

    train, test, digest = folder.find(tree)
    assert (len(train), len(test), digest) == (4, 4, data.load("imagenet", tree).digest)
