"""One HTML page that answers sweeps' questions and opens offline."""

from analysis.page.render import (
    html,
)

__all__ = [
    "html",
]
