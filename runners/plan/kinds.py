"""The kinds of things that a sweep file names: what a file of each kind defines, and where the
package has its own.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

# 1: a convolution of one's own started from torch's default; 2: from the weights of what it
# replaces, or by the backbone's rule
OWN_CONV = 2


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of thing that a sweep file names.

    `functions`: a Python file of the kind defines one of them, with the signature; its options are
    the keyword-only arguments. A kind without functions is a table of figures.
    """

    key: str  # in a sweep file, and the word for it
    room: str  # the package's own files, as a module's name
    functions: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ".py"
    # the package's files have a VERSION, which is part of a trial's id. Of a file of one's own, the
    # file itself is, and this is raised when the same file comes to other numbers
    own_version: int = 0  # 0: neither has one

    @property
    def versioned(self) -> bool:
        return self.own_version > 0

    @property
    def options(self) -> str:
        """The key of its options."""
        return "options" if self.key == "conv" else f"{self.key}_options"

    @property
    def digest(self) -> str:
        """The field of a config that has the digest of a user's file."""
        return f"{self.key}_digest"

    @property
    def version(self) -> str:
        """The field of a config that has the version of the package's file."""
        return f"{self.key}_version"

    @cached_property
    def folder(self) -> Path:
        """Of the package's own files."""
        top, *inner = self.room.split(".")
        spec = importlib.util.find_spec(top)  # finds the package without importing it
        assert spec and spec.submodule_search_locations
        return Path(spec.submodule_search_locations[0], *inner)


CONV = Kind(
    "conv",
    "scconv.convs",
    {
        "drop_in": "drop_in(conv, *, option=default, ...) -> nn.Module",
        "convert": "convert(model, *, option=default, ...) -> {path: nn.Module}",
    },
    own_version=OWN_CONV,
)
STEM = Kind(
    "stem",
    "scconv.convs",
    {"drop_in": "drop_in(conv, *, option=default, ...) -> nn.Module"},
    own_version=OWN_CONV,
)
BACKBONE = Kind(
    "backbone",
    "scconv.backbones",
    {
        "build": "build(classes, *, option=default, ...) -> nn.Module",
        "build_named": "build_named(model, classes, *, option=default, ...) -> nn.Module",
    },
    # a file may be made of the package's blocks; 1: their norms added in another order
    own_version=2,
)
DATASET = Kind(
    "dataset",
    "runners.data",
    {"load": "load(root, *, option=default, ...) -> images, labels, test images, test labels"},
)
REFERENCE = Kind("reference", "scconv.paper", suffix=".csv")
KINDS = (CONV, BACKBONE, DATASET, STEM)  # of which a config names one each
