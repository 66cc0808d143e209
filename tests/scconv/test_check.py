"""The contract fails what breaks it, and says why."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scconv.check import RULES, check, main

ROOT = Path(__file__).parents[2]
GOOD = """
from torch import nn
COST = {"params": 9216, "macs": 9437184}
def drop_in(conv, *, groups=4):
    return nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
        conv.dilation, groups, conv.bias is not None, conv.padding_mode,
    )
"""
HEAD = """
import itertools
import torch
from torch import nn
DRAWS = itertools.count(1)
class Mine(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = nn.Conv2d(conv.in_channels, conv.out_channels, 3, conv.stride, 1, bias=False)
        self.extra()
    def extra(self): pass
    def forward(self, x): return self.conv(x)
def drop_in(conv): return Mine(conv)
"""

FORWARD = "def forward(self, x): return "
# name of the broken rule -> the class's `extra` and `forward`, and a part of the reason
BROKEN = {
    "shape": (
        "",
        FORWARD + "self.conv(x)[:, :, :-1]",
        "made (2, 32, 6, 7), the convolution makes (2, 32, 7, 7)",
    ),
    "gradient": ("self.idle = nn.Parameter(torch.ones(3))", "", "none reaches idle"),
    "meta device": (
        "",
        FORWARD + "self.conv(x) if x.detach().mean().item() < 9 else x",
        "RuntimeError: ",
    ),
    "bf16 autocast": ("", FORWARD + "self.conv(x) * 1e39", "the output is not finite"),
    "torch.compile": (
        "",
        FORWARD + "self.conv(x) if float(x.detach().sum()) < 1e9 else x",
        "dependent",
    ),
    "channels_last": (
        "",
        FORWARD + "self.conv(x).view(1, -1, *x.shape[2:]).view(*self.conv(x).shape)",
        "RuntimeError: view size is not compatible",
    ),
    "settings": ("", "", "`padding_mode` is lost: a convolution inside pads with zeros"),
    "deterministic": ("", FORWARD + "self.conv(x) * next(DRAWS)", "two runs from one seed differ"),
    "state_dict": (
        "self.mask = torch.randn(1)",
        FORWARD + "self.conv(x) * self.mask",
        "register it as a buffer",
    ),
    "nothing re-drawn": (
        "",
        FORWARD + "self.conv(x) + torch.randn(1)",
        "the output changes with torch's global seed",
    ),
    "nothing re-drawn, by layers that are made anew": (
        "",
        FORWARD + "self.conv(x) * nn.Linear(1, 1)(torch.ones(1)).sigmoid()",
        "the output changes with torch's global seed",
    ),
    "subsets": (
        "",
        "def forward(self, x, present=None): return self.conv(getattr(x, 'images', x))",
        "1+2+3, whatever the other channels are, differ by up to",
    ),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> dict[str, list[dict]]:
    """What the contract finds in each broken example, in a process whose modules carry no shape
    checks.
    """
    folder = tmp_path_factory.mktemp("broken")
    for i, (extra, forward, _) in enumerate(BROKEN.values()):
        source = HEAD.replace("def extra(self): pass", f"def extra(self): {extra or 'pass'}")
        (folder / f"broken{i}.py").write_text(
            source.replace(FORWARD + "self.conv(x)", forward or FORWARD + "self.conv(x)")
        )
    code = "import json; from dataclasses import asdict; from pathlib import Path; from scconv.check import check\n"
    code += f"print(json.dumps([[asdict(f) for f in check(f'broken{{i}}', Path({str(folder)!r}) / f'broken{{i}}.py')] for i in range({len(BROKEN)})]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(zip(BROKEN, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("example", BROKEN)
def test_a_broken_example_fails_with_the_reason(example, broken):
    found = {f["rule"]: f for f in broken[example]}
    rule = example.partition(",")[0]
    assert len(found) == len(RULES)
    assert not found[rule]["kept"] and BROKEN[example][2] in found[rule]["detail"], found[rule]


def test_an_undeclared_cost_is_told_and_a_wrong_one_is_broken(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert check("mine", path)[-1].kept and "9,216 parameters" in check("mine", path)[-1].detail
    assert (
        "declared for its default options alone; a 3x3 64 -> 64 at 32x32 counts COST = {'params': "
        "18432" in check("mine", path, groups=2)[-1].detail
    )
    path.write_text(GOOD.replace("9216", "9217"))
    last = check("mine", path)[-1]
    assert (
        not last.kept
        and "declares {'params': 9217, 'macs': 9437184}" in last.detail
        and "counted {'params': 9216" in last.detail
    )
    path.write_text(GOOD.replace("COST", "# COST"))
    last = check("mine", path)[-1]
    assert last.kept and last.detail.startswith("not declared")


@pytest.mark.parametrize(
    "signature, reason",
    [
        ("conv, groups=2", "must take one argument and options after a `*`"),
        ("conv, *, groups=G", "`groups` needs a literal default"),
    ],
)
def test_options_that_a_sweep_would_refuse_are_broken(signature, reason, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("conv, *, groups=4", signature).replace("COST", "G = 2\nCOST"))
    found = {f.rule: f for f in check("mine", path)}
    assert not found["options"].kept and reason in found["options"].detail


def test_what_is_drawn_at_import_is_not_in_the_state(tmp_path):
    path = tmp_path / "drawn.py"
    path.write_text(
        HEAD.replace("DRAWS = itertools.count(1)", "MASK = torch.randn(1)").replace(
            "self.conv(x)", "self.conv(x) * MASK"
        )
    )
    assert not {f.rule: f for f in check("drawn", path)}["state_dict"].kept


def test_a_place_that_it_accepts_is_looked_for():
    found = {f.rule: f for f in check("scconv", alpha=0.0625)}
    assert all(f.kept for f in found.values() if f.rule not in ("torch.compile",)), (
        found
    )  # traced in test_catalogue, without shape checks


def test_a_convolution_that_refuses_every_place_is_broken(tmp_path):
    path = tmp_path / "never.py"
    path.write_text("def drop_in(conv):\n    raise ValueError('`kernel_size` (=3) must be 5')\n")
    assert all(not f.kept for f in check("never", path) if f.rule != "options")
    assert check("never", path)[0].detail == "it refuses every place: `kernel_size` (=3) must be 5"


def test_the_command(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)

    def run(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "scconv.check", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = run(str(path), "groups=8")
    assert (code, err) == (0, "") and out.count("ok ") == len(RULES), out
    code, out, _ = run("slim", "k=4/3")
    assert code == 0 and "12 shapes" in out
    path.write_text(GOOD.replace("conv.stride", "1"))
    code, out, _ = run(str(path))
    assert (
        code == 1
        and "BROKEN shape: 32 -> 32 channels, stride 2, size 7: made (2, 32, 7, 7), the convolution makes (2, 32, 4, 4)"
        in out
    )


def test_bad_input_is_one_line(capsys, tmp_path):
    for arguments, message in [
        (["nope"], "unknown conv 'nope'"),
        ([str(tmp_path / "none.py")], "is not a Python file"),
        (["ghost", "k"], "an option is given as name=value, got 'k'"),
    ]:
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
