"""What every convolution of the catalogue must be, whatever it computes; and the rows of the paper
that the simple ones reproduce.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import scconv.convs
from scconv import backbones, cost, replace_convs
from scconv.convs import find

ROOT = Path(scconv.__file__).parents[1]
RULES = [
    "shape", "gradient", "meta device", "bf16 autocast", "channels_last", "torch.compile", "settings", "deterministic", "state_dict", "nothing re-drawn", "subsets",
    "options", "cost",
]  # fmt: skip
NAMES = sorted(p.stem for p in Path(scconv.convs.__file__).parent.glob("[a-z]*.py"))


CASES = {name: (name, {}) for name in NAMES} | {
    f"{name} {options}": (name, options)
    for name, options in [
        ("scconv", {"order": ["sru"]}),
        ("scconv", {"order": ["cru", "sru"]}),
        ("scconv", {"order": "parallel"}),
        ("scconv", {"gate": "soft"}),
        ("scconv", {"lower": "eq11", "lower_pool": "after", "alpha": 0.25}),
        ("scconv", {"lower": "eq11-full"}),
        ("slim", {"k": "4/3"}),
        ("slim", {"k": "8/3"}),
        ("octave", {"alpha": 0.25}),
        ("tied", {"bias": True}),
        ("set", {"film": True}),
        ("subset", {"by": "fixed"}),
        ("dynamic", {"anneal": False}),
    ]
}


@pytest.fixture(scope="module")
def findings() -> dict[str, list[dict]]:
    """Of every convolution, from a process whose modules carry no shape checks, which torch.compile
    could not trace.
    """
    code = "import json; from dataclasses import asdict; from scconv.check import check\n"
    code += f"print(json.dumps({{k: [asdict(f) for f in check(n, **o)] for k, (n, o) in {CASES}.items()}}))"
    return json.loads(
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    )


@pytest.mark.parametrize("case", CASES)
def test_every_convolution_keeps_the_contract(case, findings):
    assert [f["rule"] for f in findings[case]] == RULES
    assert not [f for f in findings[case] if not f["kept"]]
    assert "not declared" not in findings[case][-1]["detail"], "its file declares no COST"


@pytest.mark.parametrize(
    "conv, options, message",
    [
        ("group", {"groups": 5}, r"`in_channels` \(=32\) must be divisible by `groups` \(=5\)"),
        ("tied", {"blocks": 3}, r"`in_channels` \(=32\) must be divisible by `blocks` \(=3\)"),
        ("sp", {"alpha": 0.01}, r"`alpha` \(=0.01\) must leave channels on both sides"),
        ("slim", {"k": "2"}, r"`k` \(='2'\) must be one of 1, 4/3, 8/3"),
        ("sp", {"groups": 3}, r"`groups` \(=3\) must divide"),
        ("subset", {}, r"`in_channels` \(=32\) must be at most 16.*use stem: subset"),
        ("subset", {"by": "which"}, r"`by` \(='which'\) must be size or fixed"),
        ("set", {"scale": "mean"}, r"`scale` \(='mean'\) must be count or none"),
        ("dynamic", {"kernels": 0}, r"`kernels` \(=0\) must be at least 1"),
    ],
)
def test_refusals(conv, options, message):
    with pytest.raises(ValueError, match=message):
        find(conv).drop_in(nn.Conv2d(32, 64, 3, 1, 1), **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone, classes, conv, options, params_m, flops_m",
    [
        ("wideresnet28", 100, "standard", {}, "36.5470", "5959.540"),
        ("densenet121", 100, "standard", {}, "7.0485", "898.225"),
        ("resnet56", 10, "sp", {}, "0.5826", "87.948"),
        ("resnet56", 10, "ghost", {}, "0.4511", "68.353"),
        ("resnet56", 100, "tied", {}, "0.5350", "94.993"),
        ("resnet56", 10, "slim", {}, "0.5994", "88.820"),
        ("resnext29", 10, "slim", {"k": "4/3"}, "28.2469", "4380.592"),
        ("wideresnet28", 100, "slim", {}, "25.0003", "4252.749"),
        ("densenet121", 100, "slim", {}, "5.9656", "670.098"),
        ("resnext29", 10, "sp", {}, "31.1663", "4792.083"),
        ("wideresnet28", 100, "sp", {}, "24.2001", "4157.759"),
        ("wideresnet28", 100, "tied", {"bias": False}, "22.0273", "4542.815"),
        ("densenet121", 100, "tied", {"bias": True}, "5.4459", "695.678"),
        ("densenet121", 100, "ghost", {}, "5.0413", "517.260"),
    ],
)
def test_rows_of_table_2(backbone, classes, conv, options, params_m, flops_m):
    """Beyond the printed digits, so that nothing moves unnoticed; which of them the paper prints is
    in test_printed.py.
    """
    with torch.device("meta"):
        model = backbones.build(backbone, classes)
        replace_convs(model, conv, **options)
    got = cost(model)
    assert (f"{got.paper_params / 1e6:.4f}", f"{got.paper_flops / 1e6:.3f}") == (params_m, flops_m)
