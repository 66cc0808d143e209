"""Malformed sweep files and command lines, by the thousand: each is refused by one clear line and
status 2, or is no mistake after all.

    make fuzz

A valid sweep is harmed in one to three places (a value replaced, a key dropped, renamed or added,
the text itself torn) and given to the real command with `--plan`, which loads, checks and builds
every network, and launches nothing. Then lists of images are made of lines of all kinds, and read.
"""

import contextlib
import copy
import io
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

BASE = {
    "question": "Does it work?",
    "baseline": "R20",
    "base": {
        "backbone": "resnet20",
        "dataset": "synthetic",
        "recipe": "short",
        "epochs": 2,
        "batch_size": 32,
    },
    "variants": {
        "R20": {"conv": "standard"},
        "S+C": {"conv": "scconv", "options": {"alpha": 0.5, "order": ["sru", "cru"]}},
    },
    "seeds": 2,
    "resources": {"cpu": 1, "gpu": 0},
    "limits": {"hours": 2, "failures": 3},
    "margin_pp": 0.5,
    "reference": "table1",
    "report": ["comparison", "cost"],
}
SEARCH = {
    "mode": "front",
    "space": {"options.alpha": [0.25, 0.5], "lr": {"low": 0.1, "high": 0.2}},
    "trials": 3,
    "constraints": {"macs_m": [0, 9]},
}
FACTORS = {"options.alpha": [0.25, 0.5], "lr": [0.1, 0.2]}
STARTS = [
    BASE,
    BASE
    | {
        "variants": {"R20": {}},
        "base": BASE["base"] | {"conv": "scconv"},
        "factors": FACTORS,
        "baseline": "alpha=0.5,lr=0.1",
    },
    BASE | {"search": SEARCH, "base": BASE["base"] | {"conv": "scconv"}},
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "../x",
            "a b",
            "a\nb",
            "a;rm",
            "é",
            "${HOME}",
            "!!python/object/apply:os.system [ls]",
            "1e-1",
            "standard",
            "scconv",
            "tune",
            "",
        ]
    ),
    st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(-3, 3), max_size=2),
)


def _places(node, path=()):
    """Every place of a nested mapping or list."""
    if path:
        yield path
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        yield from _places(value, (*path, key))


@st.composite
def harmed(draw) -> str:
    """The text of a sweep file that was valid once."""
    content = copy.deepcopy(draw(st.sampled_from(STARTS)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(content))
        path = draw(st.sampled_from(places))
        owner = content
        for key in path[:-1]:
            owner = owner[key]
        kind = draw(st.sampled_from(["replace", "replace", "drop", "rename", "add"]))
        if kind == "replace":
            owner[path[-1]] = draw(JUNK)
        elif kind == "drop":
            del owner[path[-1]]
        elif isinstance(owner, dict):
            value = owner.pop(path[-1]) if kind == "rename" else draw(JUNK)
            owner[draw(st.one_of(st.text(max_size=8), st.just(f"{path[-1]}s")))] = value
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    if draw(st.integers(0, 9)) == 0:  # torn
        i = draw(st.integers(0, len(text)))
        text = text[:i] + draw(st.text(max_size=5)) + text[i + draw(st.integers(0, 5)) :]
    return text


OPTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("--set"),
            st.one_of(
                st.text(max_size=10),
                st.builds(
                    "{}={}".format, st.sampled_from(["base.lr", "seeds", "x"]), st.text(max_size=5)
                ),
            ),
        ),
        st.tuples(st.just("--seeds"), st.one_of(st.integers(-2, 3).map(str), st.text(max_size=3))),
        st.tuples(
            st.just("--only"), st.one_of(st.sampled_from(["R20", "S+C"]), st.text(max_size=5))
        ),
        st.tuples(st.just("--json")),
        st.tuples(st.text(max_size=6)),
    ),
    max_size=2,
)


def check(text: str, options: list[tuple[str, ...]], folder: Path) -> str:
    """What became of one input; AssertionError where it is not as promised."""
    from runners import sweep as command

    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    before = {p for p in folder.rglob("*")}
    arguments = [word.replace("\0", "") for option in options for word in option]
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(action="ignore"),
    ):
        try:
            status = command.main([str(path), "--plan", *arguments])
        except SystemExit as error:  # argparse's own
            status, usage = error.code, True
        else:
            usage = False
    lines = err.getvalue().splitlines()
    assert {p for p in folder.rglob("*")} == before, "something was written"
    assert status in (0, 2), status
    if usage:
        return "usage"
    if status == 2:
        assert len(lines) == 1 and lines[0].strip() and "Traceback" not in lines[0], lines
        return "refused"
    assert not lines, lines
    return "no mistake"


def run(examples: int, *, seed_from_clock: bool = True) -> Counter[str]:
    """Check so many inputs; what became of them."""
    found: Counter[str] = Counter()
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=not seed_from_clock,
            suppress_health_check=list(HealthCheck),
        )
        @given(harmed(), OPTIONS)
        def one(text, options):
            found[check(text, options, folder)] += 1

        try:
            one()
        finally:
            os.chdir(here)
    return found


LINES = st.one_of(
    st.sampled_from(
        ["a.png 0", "b.png 1", "c.png 0", "d.png 1", "", " ", "a.png", "0", "../a.png 0"]
    ),
    st.builds(
        "{}{}{}".format,
        st.one_of(st.sampled_from(["a.png", "/a.png", ".", "sub", "a b.png"]), st.text(max_size=5)),
        st.sampled_from([" ", "\t", ",", "  ", "\0"]),
        st.one_of(st.integers(-2, 3).map(str), st.text(max_size=3)),
    ),
)


def more(*valid: str) -> st.SearchStrategy[list[str]]:
    """A valid list, and perhaps a line more."""
    return st.lists(LINES, max_size=1).map(lambda lines: [*valid, *lines])


def check_lists(train: list[str], test: list[str], folder: Path) -> str:
    """What became of two lists of images; AssertionError where it is not as promised."""
    from runners import data

    for name, lines in (("train.txt", train), ("test.txt", test)):
        text = "\n".join(lines)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        found = data.load(folder.name, folder.parent)
    except ValueError as error:
        line = str(error)
        assert "\n" not in line and ".txt" in line, line
        return "lists refused"
    assert found.train.labels.max() < found.classes and len(found.test) > 0
    return "lists read"


def run_lists(examples: int, *, seed_from_clock: bool = True) -> Counter[str]:
    """Check so many pairs of lists of four images; what became of them."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "mini"
        folder.mkdir()
        for i, image in enumerate("abcd"):
            Image.new("RGB", (4, 4), (60 * i, 0, 0)).save(folder / f"{image}.png")

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=not seed_from_clock,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(LINES, max_size=4) | more("a.png 0", "b.png 1"), more("c.png 0"))
        def one(train, test):
            found[check_lists(train, test, folder)] += 1

        one()
    return found


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    counts = run(wanted) + run_lists(wanted)
    print(", ".join(f"{n} {what}" for what, n in counts.most_common()))
