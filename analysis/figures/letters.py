"""Letters that the figures' font lacks: from another font of this machine, else by their number."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

# fonts whose letters are not at their Unicode places, or are placeholders
UNFIT = ("cm", "STIXNonUni", "STIXSiz", "Last Resort")


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Keep matplotlib's warnings of missing letters from the console: `save` deals with these."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def find_fonts(figure: Figure) -> tuple[frozenset[str], bool]:
    """Give each text the fonts that have its letters; returns the letters that no font here has,
    and whether the figures' own font has all.
    """
    nowhere: set[str] = set()
    own_has_all = True
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        own = _letters(font_manager.findfont(text.get_fontproperties()))
        missing = frozenset(c for c in text.get_text() if not c.isspace() and ord(c) not in own)
        if missing:
            own_has_all = False
            families, unknown = _fallback(missing)
            text.set_fontfamily([*text.get_fontfamily(), *families])
            nowhere |= unknown
    return frozenset(nowhere), own_has_all


def spell(figure: Figure, missing: frozenset[str]) -> None:
    """Write letters by their numbers, as Python does (\\u6a21): two names stay two names."""
    if not missing:
        return
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        parts = [_number(c) if c in missing else c for c in text.get_text()]
        text.set_text("".join(parts))


def _number(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The code points that a font file has."""
    return frozenset(font_manager.get_font(path).get_charmap())


@functools.cache
def _fallback(missing: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """(font families that together have most of the letters, the letters that none has)."""
    families = []
    for font in sorted(font_manager.fontManager.ttflist, key=_rank):
        if not missing or font.name.startswith(UNFIT):
            continue
        found = frozenset(c for c in missing if ord(c) in _letters(font.fname))
        if found:
            families.append(font.name)
            missing = missing - found
    return families, missing


def _rank(font: font_manager.FontEntry) -> tuple[bool, bool, str]:
    """Upright fonts of usual weight first, then those without serifs; else by name."""
    plain = font.style == "normal" and font.weight in (400, "normal", "regular")
    return not plain, "Sans" not in font.name, font.name
