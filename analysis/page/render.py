"""One HTML page that answers sweeps' questions and opens offline: no script, no link to anything, figures inside."""

from __future__ import annotations

import difflib
import re
from html import escape
from pathlib import Path

from analysis import answer as conclusion
from analysis import tables
from analysis.tables import Table, search

CSS = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.answer { font-size: 1.15rem; border-left: 4px solid #0072B2; padding-left: 1rem; }
.warning { border-left: 4px solid #D55E00; padding-left: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #888; }
figure { margin: 1rem 0; background: white; display: inline-block; max-width: 100%; } svg { max-width: 100%; height: auto; }
pre { background: #8881; padding: 1rem; overflow-x: auto; font-size: .85rem; } li { margin: .2rem 0; }
"""


def html(found: list[Table], drawings: dict[str, dict[str, Path]], pairs: bool = False) -> str:
    """The page of one or several sweeps; `drawings`: sweep -> title of a figure -> its SVG file."""
    title = found[0].sweep.question if len(found) == 1 else f"{len(found)} questions"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    ]
    parts.append(
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head><body>'
    )
    if len(found) > 1:
        items = "".join(
            f'<li><a href="#{escape(t.sweep.label)}">{escape(t.sweep.question)}</a> {escape(conclusion.answer(t))}</li>'
            for t in found
        )
        parts.append(f"<ol>{items}</ol>")
    parts += [_section(table, drawings.get(table.sweep.label, {}), pairs) for table in found]
    return "\n".join([*parts, "</body></html>\n"])


def _section(table: Table, drawings: dict[str, Path], pairs: bool) -> str:
    sweep = table.sweep
    parts = [
        f'<h1 id="{escape(sweep.label)}">{escape(sweep.question)}</h1>',
        f'<p class="answer">{escape(conclusion.answer(table))}</p>',
    ]
    finished, planned = len(table.records), sum(row.planned for row in table.rows)
    if finished < planned:
        missing = "; ".join(
            f"{row.variant}: {n} {why}" for row in table.rows for why, n in row.missing.items()
        )
        why = missing or "the search says what is compared, and has not ended"
        parts.append(
            f'<p class="warning">{finished} of {planned} trials have finished. {escape(why)}.</p>'
        )
    parts.append(_table(*tables.comparison(table), bold=table.best))
    parts.append(
        "<ul>"
        + "".join(
            f"<li>{escape(line)}</li>"
            for line in conclusion.footer(table) + conclusion.factors(table) + search.lines(table)
        )
        + "</ul>"
    )
    parts += [
        f"<h2>{escape(name)}</h2><figure>{_svg(path)}</figure>" for name, path in drawings.items()
    ]
    if table.studies:
        parts += ["<h2>What the search found</h2>", _table(*search.front_table(table))]
        parts += [
            "<details><summary>Everything that was proposed</summary>",
            _table(*search.proposals(table)),
            "</details>",
        ]
    parts += ["<h2>Cost</h2>", _table(*tables.cost(table))]
    if pairs:
        parts += ["<h2>All pairs</h2>", _table(*conclusion.pairs_table(table))]
    headers, lines = conclusion.effects_table(table)
    parts += ["<h2>Main effects and interactions</h2>", _table(headers, lines)] if lines else []
    headers, lines = conclusion.images_table(table)
    if lines:
        parts += [
            "<details><summary>Image by image: which test images only one of the two has right</summary>",
            _table(headers, lines),
            "</details>",
        ]
    parts += [
        "<details><summary>The trials behind every row</summary>",
        _table(*conclusion.trials_table(table)),
        "</details>",
    ]
    return "\n".join([*parts, *_sweep_file(table)])


def _sweep_file(table: Table) -> list[str]:
    """The file that was planned, which is the evidence; and whether it has been edited since."""
    sweep, parts = table.sweep, ["<h2>The sweep file</h2>"]
    if sweep.overrides:
        parts.append(f"<p>With these overrides: {escape(', '.join(sweep.overrides))}</p>")
    for file in table.planned:
        planned = f"{file.name}.yaml, as it planned {file.trials} of {len(table.records)} trials"
        parts += [f"<p>{escape(planned)}</p>", f"<pre>{escape(file.text)}</pre>"]
    if not table.planned:
        parts += [f"<p>{escape(sweep.path)}</p>", f"<pre>{escape(sweep.text)}</pre>"]

    now = Path(sweep.path).read_text(encoding="utf-8-sig") if Path(sweep.path).is_file() else ""
    before = [file.text for file in table.planned] or [sweep.text]
    if now and now not in before:
        lines = difflib.unified_diff(before[0].splitlines(), now.splitlines(), lineterm="", n=1)
        changes = "\n".join([*lines][2:])  # without the two names
        parts += [
            f'<p class="warning">{escape(sweep.path)} has changed since:</p>',
            f"<pre>{escape(changes)}</pre>",
        ]
    return parts


def _table(headers: list[str], lines: list[list[str]], bold: str | None = None) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in headers)
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td>{'<strong>' * (line[0] == bold)}{escape(c)}{'</strong>' * (line[0] == bold)}</td>"
            for c in line
        )
        + "</tr>"
        for line in lines
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _svg(path: Path) -> str:
    """The drawing alone, with ids of its own: two drawings on one page would share clip paths."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    mark = re.sub(r"\W", "_", f"{path.parent.name}_{path.stem}_")
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{mark}", text)
