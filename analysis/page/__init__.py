"""One HTML page that answers sweeps' questions and opens offline; imports tables, draws nothing."""

from analysis.page.render import html

__all__ = ["html"]
