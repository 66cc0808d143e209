"""A user's file runs with the local files that it imports, and two versions never meet."""

import pickle

import pytest
import torch

from scconv import backbones
from scconv.convs import find
from scconv.loading import user_module

# how a file may import `parts.py`, or `kit/layers.py`, beside it -> where it then has GROUPS
IMPORTS = {
    "from parts import GROUPS": "GROUPS",
    "from .parts import GROUPS": "GROUPS",
    "from . import parts": "parts.GROUPS",
    "import parts": "parts.GROUPS",
    "import parts as p, math": "p.GROUPS",
    "from parts import *": "GROUPS",
    "import kit.layers": "kit.layers.GROUPS",
    "import kit.layers as k": "k.GROUPS",
    "from kit import layers": "layers.GROUPS",
    "from kit.layers import GROUPS": "GROUPS",
    "from importlib import import_module; parts = import_module('parts')": "parts.GROUPS",
    "import importlib; parts = importlib.import_module('.parts', __package__)": "parts.GROUPS",
}


def write(folder, groups, statement="from parts import GROUPS", value="GROUPS", inside=False):
    """mine.py with one of these imports, at its top or in the function; says `groups`."""
    (folder / "kit").mkdir(parents=True, exist_ok=True)
    (folder / "parts.py").write_text(f"import deeper\nGROUPS = deeper.GROUPS + {groups}\n")
    (folder / "deeper.py").write_text("GROUPS = 0\n")
    (folder / "kit/__init__.py").write_text("")
    (folder / "kit/layers.py").write_text("from parts import GROUPS\n")
    top, body = ("", f"    {statement}\n") if inside else (f"{statement}\n", "")
    (folder / "mine.py").write_text(f"{top}def drop_in(conv):\n{body}    return {value}\n")
    return folder / "mine.py"


# Python allows `import *` at the top of a file alone
WAYS = [(s, inside) for s in IMPORTS for inside in (False, True) if not (inside and "*" in s)]


@pytest.mark.parametrize("statement, inside", WAYS)
def test_every_way_of_importing_a_file_beside(statement, inside, tmp_path):
    path = write(tmp_path, 4, statement, IMPORTS[statement], inside)
    assert find("mine", path).drop_in(None) == 4


def test_versions_of_a_file_and_of_what_it_imports_stay_apart(tmp_path):
    a = find("mine", write(tmp_path / "a", 1, inside=True))
    b = find("mine", write(tmp_path / "b", 2, inside=True))
    assert (a.drop_in(None), b.drop_in(None), a.drop_in(None)) == (1, 2, 1)
    assert find("mine", tmp_path / "a/mine.py") is a
    # the file itself stays as it was, and what it imports has changed
    write(tmp_path / "a", 3, inside=True)
    assert find("mine", tmp_path / "a/mine.py").drop_in(None) == 3


def test_a_module_of_python_or_of_this_package_is_never_taken_for_a_local_one(tmp_path):
    for name in ("random", "scconv"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong one')\n")
    text = "import random\nfrom scconv import SCConv\ndef drop_in(conv):\n    return SCConv\n"
    (tmp_path / "mine.py").write_text(text)
    import scconv

    assert find("mine", tmp_path / "mine.py").drop_in(None) is scconv.SCConv


def test_its_classes_can_be_pickled(tmp_path):
    (tmp_path / "parts.py").write_text("class Part:\n    pass\n")
    (tmp_path / "mine.py").write_text("from parts import Part\nclass Mine(Part):\n    pass\n")
    module = user_module(tmp_path / "mine.py")
    for kind in (module.Mine, module.Part):
        assert type(pickle.loads(pickle.dumps(kind()))) is kind  # noqa: S301 - ours


def test_a_file_that_fails_leaves_nothing_behind(tmp_path):
    path = write(tmp_path, 1)
    (tmp_path / "deeper.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match=r"mine.py cannot be imported \(ZeroDivisionError"):
        find("mine", path)
    (tmp_path / "deeper.py").write_text("GROUPS = 1\n")
    assert find("mine", path).drop_in(None) == 2


def test_a_backbone_of_ones_own_has_options(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "def build(classes, *, width=8):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(width, classes))\n"
    )
    assert backbones.build("mine", 7, path)(torch.zeros(2, 3, 9, 9)).shape == (2, 7)
    assert backbones.build("mine", 7, path, width=16)[0].out_channels == 16
    path.write_text("def build(classes):\n    return 'a network'\n")
    with pytest.raises(ValueError, match=r"build must return an nn\.Module, got 'a network'"):
        backbones.build("mine", 7, path)
    path.write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"backbone 'mine' \(.*\) must define build\(classes"):
        backbones.build("mine", 7, path)


def test_every_backbone_of_the_package_is_a_file_and_has_its_names_options():
    assert len(backbones.NAMES) == 16 and {"resnet20", "resnet50_imagenet"} < {*backbones.NAMES}
    assert not {"resnet", "densenet", "resnext", "wideresnet"} & {*backbones.NAMES}
    with torch.device("meta"):
        assert backbones.build("resnet20", 10, width=32).stem[0].out_channels == 32
