"""The contract that every convolution of the catalogue keeps, for a file of your own too.

python -m scconv.check ghost                # a name of the catalogue
python -m scconv.check mine.py groups=8     # a file, with options other than its defaults
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runners.output import called, forgiving
from scconv.check.design import Broken, Design
from scconv.check.rules import RULES
from scconv.convs import find

WIDTHS = 32, 64, 96, 128, 256
OF_STEM = 4  # channels that a stem takes any subset of


@dataclass(frozen=True)
class Finding:
    """What one rule found; `detail` says what was seen, or why the rule is broken."""

    rule: str
    kept: bool
    detail: str


def check(name: str, path: Path | None = None, /, **options: Any) -> list[Finding]:
    """Try a convolution against every rule of the contract.

    Args:
        name: of the convolution; its file is in the catalogue unless `path` says where it is.

    Raises:
        ValueError: there is no such convolution, or it cannot be imported.
    """
    design, findings = Design(name, path, find(name, path), options), []
    for width in (OF_STEM, *WIDTHS):  # the first that it accepts
        with contextlib.suppress(Exception):
            tried = replace(design, width=width)
            if tried.stem or width != OF_STEM:
                tried.make()
                design = tried
                break
    for rule in RULES:
        title = (rule.__doc__ or "").split(":")[0]
        try:
            findings.append(Finding(title, True, rule(design)))
        # a convolution of the user's own may raise anything, and every rule is tried
        except Exception as error:
            kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
            findings.append(Finding(title, False, kind + " ".join(str(error).split())[:300]))
    return findings


@forgiving()
def main(argv: list[str] | None = None) -> int:
    """0: every rule is kept; 1: some are broken; 2: there is no such convolution."""
    parser = argparse.ArgumentParser(
        prog=called("scconv.check"),
        description="Try a convolution against the contract of the catalogue.",
    )
    parser.add_argument(
        "conv", help="a name of the catalogue, or the path of a file that defines drop_in"
    )
    parser.add_argument(
        "options", nargs="*", metavar="OPTION=VALUE", help="options other than the defaults"
    )
    args = parser.parse_args(argv)
    path = Path(args.conv) if args.conv.endswith(".py") else None
    try:
        findings = check(path.stem if path else args.conv, path, **_options(args.options))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for finding in findings:
        print(f"{'ok    ' if finding.kept else 'BROKEN'} {finding.rule}: {finding.detail}")
    return 0 if all(f.kept for f in findings) else 1


def _options(pairs: list[str]) -> dict[str, Any]:
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"an option is given as name=value, got {pair!r}")
        try:
            options[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[key] = text
    return options


__all__ = ["RULES", "Finding", "check", "main"]
