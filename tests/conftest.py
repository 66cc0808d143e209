"""Fixtures, and the check of every shape that a signature states (jaxtyping with beartype; in tests
only).
"""

from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook(["scconv", "runners.data"], "beartype.beartype")

import pytest  # noqa: E402 - after the hook
import torch  # noqa: E402
import yaml  # noqa: E402

torch.set_num_threads(1)

TINY = {
    "question": "Does it work?",
    "baseline": "R20",
    "base": {
        "backbone": "resnet20",
        "dataset": "synthetic",
        "recipe": "short",
        "epochs": 2,
        "batch_size": 32,
    },
    "variants": {"R20": {"conv": "standard"}, "S+C": {"conv": "scconv"}},
    "seeds": 2,
}


@pytest.fixture
def write_sweep(tmp_path: Path):
    """write_sweep(name, **changes to the tiny sweep) -> path of its file."""

    def write(name: str = "tiny", **changes) -> Path:
        content = {k: v for k, v in (TINY | changes).items() if v is not None}
        content["base"] = TINY["base"] | (changes.get("base") or {})
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        return path

    return write
