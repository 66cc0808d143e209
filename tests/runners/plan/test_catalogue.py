"""A name is a file, with all that it imports; what cannot be followed is refused by one line."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.errors import SweepError
from runners.plan import Config, Own, load
from runners.plan.catalogue import find, names
from runners.plan.imports import digest_of, files_of
from runners.plan.kinds import BACKBONE, CONV, DATASET, KINDS, REFERENCE
from runners.search.searching import open_studies
from runners.store import Store
from tests.scconv.test_loading import IMPORTS

ROOT = Path(__file__).parents[3]
BUILD = "def build(classes, *, width=8):\n    return None\n"
LOAD = "def load(root, *, noise=1):\n    return None\n"
DROP = "def drop_in(conv):\n    return conv\n"


def test_the_packages_names_are_its_files():
    assert names(DATASET) == (
        *("cifar10", "cifar100", "digits", "imagenet", "lists", "photos", "synthetic"),
    )
    assert {"resnet20", "resnet50_imagenet", "densenet121"} <= {*names(BACKBONE)}
    assert "resnet" not in names(BACKBONE) and "scconv" in names(CONV)
    assert names(REFERENCE) == ("channels", "figure4", "shallow", "table1", "table2", "table3")


def test_a_table_of_ones_own_is_found_beside_the_sweep(tmp_path):
    (tmp_path / "ours.csv").write_text("variant,top1\n")
    assert find(REFERENCE, "ours", tmp_path, "reference") == tmp_path / "ours.csv"
    with pytest.raises(SweepError, match=r"unknown reference 'our'.* is our.csv beside the sweep"):
        find(REFERENCE, "our", tmp_path, "reference")


def test_files_of_ones_own_are_part_of_the_identity_and_others_are_not(write_sweep, tmp_path):
    (tmp_path / "net.py").write_text(BUILD)
    (tmp_path / "mine.py").write_text(LOAD)
    base = {"backbone": "net", "dataset": "mine", "backbone_options": {"width": 8}}
    path = write_sweep(base=base, variants={"R20": {}})
    config = load(path).variants["R20"]
    assert config.backbone_options == {}  # at its default, so not in the id
    for name in ("net.py", "mine.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "# edited\n")
    edited = load(path).variants["R20"]
    assert edited.backbone_digest != config.backbone_digest
    assert edited.dataset_digest != config.dataset_digest
    wide = load(path, ["base.backbone_options={width: 16}"]).trials[0]
    assert wide.id != load(path).trials[0].id
    names = ("backbone_digest", "dataset_digest", "data")
    assert [getattr(load(write_sweep()).variants["R20"], name) for name in names] == ["", "", ""]


def test_fields_added_later_change_neither_ids_nor_studies(tmp_path):
    sweep = load(ROOT / "sweeps/pareto-small.yaml")
    config = sweep.variants["R20"]
    assert {kind.digest for kind in KINDS if kind is not CONV} <= {*vars(config)}
    assert "backbone_options" not in json.loads(config.canonical)
    whole = replace(config, dataset_options={"noise": 2}, data="0123")
    assert {"dataset_options", "data"} <= {*json.loads(whole.canonical)}
    assert {"dataset_options", "data"} <= {*whole.written()} - {*config.written()}
    assert [study.name for study in open_studies(sweep, Store(tmp_path))]


@pytest.mark.parametrize("statement", IMPORTS)
def test_every_form_of_import_is_in_the_digest_and_kept(statement, tmp_path):
    (tmp_path / "kit").mkdir()
    for name, text in {
        "parts.py": "from kit import layers\nGROUPS = 4\n",
        "kit/__init__.py": "",
        "kit/layers.py": "import deeper\nGROUPS = 4\n",
        "deeper.py": "",
        "idle.py": "",
        "mine.py": f"def drop_in(conv):\n    return {IMPORTS[statement]}\n{statement}\n",
    }.items():
        (tmp_path / name).write_text(text)
    main = tmp_path / "mine.py"
    found = [str(file.relative_to(tmp_path)) for file in files_of(main)]
    assert found[0] == "mine.py" and "idle.py" not in found
    assert {"deeper.py", "kit/__init__.py", "kit/layers.py"} <= {*found}
    digest = digest_of(main)
    (tmp_path / "deeper.py").write_text("# edited\n")
    assert digest_of(main) != digest
    kept = Path(Store(tmp_path / "runs").keep_file(str(main), digest_of(main)))
    assert sorted(str(f.relative_to(kept.parent)) for f in kept.parent.rglob("*.py")) == sorted(
        found
    )
    # the copy stands alone: it is the same code without the folder that it came from
    assert digest_of(kept) == digest_of(main)
    (tmp_path / "deeper.py").write_text("# edited again\n")
    with pytest.raises(SweepError, match="was edited after the sweep was planned"):
        Store(tmp_path / "runs").keep_file(str(main), digest_of(kept))


def test_a_file_that_imports_nothing_local_has_the_digest_of_old(tmp_path):
    (tmp_path / "mine.py").write_text("import torch, math\nfrom scconv import SCConv\n" + DROP)
    (tmp_path / "math.py").write_text("not even Python")
    content = (tmp_path / "mine.py").read_bytes()
    assert digest_of(tmp_path / "mine.py") == hashlib.sha256(content).hexdigest()[:16]


REFUSED = {
    "from .. import up": "line 1: imports from above",
    "from .gone import x": r"line 1: imports \.gone, and there is no gone\.py",
    "import importlib\nimportlib.import_module(NAME)": "line 2: imports a module whose name",
    "import importlib\nimportlib.import_module(f'part{1}')": "line 2: imports a module whose name",
    "import importlib.util as u\nu.spec_from_file_location('a', 'b')": "spec_from_file_location",
    "import runpy\nrunpy.run_path('parts.py')": "loads code by run_path",
    "__import__('parts')": "loads code by __import__",
    "import sys\nsys.path.insert(0, '.')": "line 2: uses sys.path",
    "open(__file__)": "line 1: uses __file__",
    "import parts": "imports parts from the working directory",
    "def broken(:": "not valid Python",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_followed_is_refused(text, tmp_path, monkeypatch, write_sweep):
    here = tmp_path / "here"
    here.mkdir()
    (here / "parts.py").write_text("")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(here))
    (tmp_path / "mine.py").write_text(f"{text}\n{DROP}")
    path = write_sweep(variants={"R20": {}, "mine": {"conv": "mine"}})
    with pytest.raises(SweepError, match=REFUSED[text]) as error:
        load(path)
    assert "mine.py" in str(error.value) and "\n" not in str(error.value)


def test_names_of_installed_packages_may_be_computed(tmp_path):
    text = "import importlib\nimportlib.import_module(f'torchvision.models.{NAME}')\n"
    (tmp_path / "mine.py").write_text(text + DROP)
    assert len(files_of(tmp_path / "mine.py")) == 1


@pytest.mark.parametrize(
    "kind, text",
    [
        (BACKBONE, "def build(classes, width):\n    return 1\n"),
        (BACKBONE, "def build(*classes):\n    return 1\n"),
        (DATASET, "def load():\n    return 1\n"),
        (DATASET, "def load(root, **options):\n    return 1\n"),
        (DATASET, "def load(root, *, noise=[].append):\n    return 1\n"),
        (BACKBONE, "build = print\n"),
    ],
)
def test_a_file_that_is_not_of_its_kind_is_refused(kind, text, write_sweep, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SweepError, match=r"mine\.py: .*(must take one|must define|literal)"):
        load(write_sweep(base={kind.key: "mine"}))


@pytest.mark.parametrize(
    "name, text", [("ghost", DROP), ("resnet20", BUILD), ("synthetic", LOAD)], ids=str
)
def test_a_name_that_two_files_have_is_refused(name, text, write_sweep, tmp_path):
    (tmp_path / f"{name}.py").write_text("# another thing of that name\n")
    path = write_sweep(variants={"R20": {}, "g": {"conv": "ghost"}})
    load(path)
    (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(SweepError, match=f"'{name}' is a .* of the package, and .* rename"):
        load(path)


def test_options_belong_to_what_has_them(write_sweep, tmp_path):
    (tmp_path / "net.py").write_text(BUILD)
    base = {"backbone": "net", "backbone_options": {"width": 4}}
    path = write_sweep(base=base, variants={"R20": {}, "other": {"backbone": "resnet20"}})
    sweep = load(path)
    assert sweep.variants["R20"].backbone_options == {"width": 4}
    assert sweep.variants["other"].backbone_options == {}
    assert sweep.varying()["R20"]["backbone.width"] == 4
    with pytest.raises(SweepError, match=r"base\.backbone_options: no variant has base's backbone"):
        load(write_sweep(base=base, variants={"R20": {"backbone": "resnet20"}}))
    factors = {"backbone_options.width": [4, 8]}
    grid = load(write_sweep(base=base, variants=None, factors=factors, baseline="backbone.width=8"))
    assert [*grid.variants] == ["backbone.width=4", "backbone.width=8"]
    assert grid.variants["backbone.width=8"].backbone_options == {}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60),
    name=st.from_regex(r"[a-z]\w{0,8}", fullmatch=True, alphabet=st.characters(codec="ascii")),
)
def test_a_copy_has_every_byte(content, name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    main = folder / f"{name}.py"
    try:
        main.write_bytes(b"# -*- coding: latin-1 -*-\n#" + content.replace(b"\n", b" ") + b"\n")
        digest = digest_of(main)
    except SweepError:
        return  # not a Python file in any encoding
    kept = Store(folder / "runs").keep_own(
        Own(conv=str(main)), Config("a", "b", conv_digest=digest)
    )
    assert Path(kept.conv).read_bytes() == main.read_bytes() and Path(kept.conv).name == main.name
    assert Store(folder / "runs").fetch_own(kept) == kept
