"""The comparison table of a sweep: what was measured, and beside it what the paper printed."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

from analysis import reference
from analysis.stats import Summary, paired, summarise
from runners.plan import Sweep
from runners.store import Record, Store


@dataclass(frozen=True)
class Row:
    """One variant: its finished trials in figures, and how many others there are of each kind."""

    variant: str
    planned: int
    top1: Summary | None
    difference: Summary | None
    records: list[Record]
    missing: Counter[str]
    printed: reference.Printed | None


def rows(sweep: Sweep, store: Store) -> list[Row]:
    """A row per variant, in the sweep's order. Only finished trials enter a mean; all others are counted in `missing`."""
    printed = reference.load(sweep).rows
    records: dict[str, list[Record]] = {v: [] for v in sweep.variants}
    missing: dict[str, Counter[str]] = {v: Counter() for v in sweep.variants}
    for trial in sweep.trials:
        record = store.record(trial.id)
        if record and record.result:
            records[trial.variant].append(record)
        else:
            missing[trial.variant][record.status if record else "not finished"] += 1
    top1 = {v: {r.seed: r.result.test_top1 for r in rs if r.result} for v, rs in records.items()}
    return [
        Row(
            v,
            len(sweep.seeds),
            summarise([*top1[v].values()]),
            paired(top1[v], top1.get(sweep.baseline, {})) if v != sweep.baseline else None,
            records[v],
            missing[v],
            printed.get(v),
        )
        for v in sweep.variants
    ]


def cells(sweep: Sweep, table: list[Row]) -> tuple[list[str], list[list[str]]]:
    """(headers, lines of text)."""
    headers = ["variant", "n", "top-1 % (± sd)", f"Δ {sweep.baseline} (± sd)", "params M", "MACs M"]
    if with_paper := any(r.printed for r in table):
        headers += ["paper top-1", "paper Δ", "paper params M", "paper FLOPs M"]
    base = next((r.printed for r in table if r.variant == sweep.baseline), None)
    lines = []
    for row in table:
        result = row.records[0].result if row.records else None
        line = [
            row.variant,
            str(len(row.records)) if not row.missing else f"{len(row.records)} of {row.planned}",
            _with_sd(row.top1, "{:.2f}"),
            _with_sd(row.difference, "{:+.2f}") + (f" (n={row.difference.n})" if row.difference and row.difference.n < len(row.records) else ""),
            f"{result.params / 1e6:.3f}" if result else "-",
            f"{result.macs / 1e6:.2f}" if result else "-",
        ]
        if with_paper:
            p = row.printed
            change = f"{p.top1 - base.top1:+.2f}" if p and base and p is not base else "-"
            line += [f"{p.top1:.2f}", change, f"{p.params_m:.2f}", f"{p.flops_m:g}"] if p else ["-"] * 4
        lines.append(line)
    return headers, lines


def footer(sweep: Sweep, table: list[Row]) -> list[str]:
    """What the numbers rest on, a sentence a line."""
    records = [r for row in table for r in row.records]
    lines = [f"{sum(len(r.records) for r in table)} of {sum(r.planned for r in table)} trials finished; seeds {', '.join(map(str, sweep.seeds))}."]
    for row in table:
        for reason, n in row.missing.items():
            lines.append(f"{row.variant}: {n} {reason}.")
    lines.append("Top-1 on the test set after the last epoch. Δ is paired by seed; sd is over seeds.")
    if any(0 < len(r.records) < 5 for r in table):
        lines.append("Fewer than five seeds: a screening, not evidence for a difference.")
    if sweep.overrides:
        lines.append(f"Not the sweep as its file has it: {', '.join(sweep.overrides)}.")
    if records:
        configs = {k: " / ".join(dict.fromkeys(str(getattr(c, k)) for c in sweep.variants.values())) for k in ("dataset", "backbone", "epochs")}
        seen = {k: _distinct(records, k) for k in ("train_images", "val_images", "test_images", "device", "precision", "torch", "commit", "data")}
        lines.append(
            f"{configs['dataset']}: {seen['train_images']} images to train on, {seen['val_images']} to validate, {seen['test_images']} to test "
            f"(digest {seen['data']}); {configs['backbone']}, {configs['epochs']} epochs."
        )
        dirty = " (with uncommitted changes)" if any(r.provenance["dirty"] == "yes" for r in records) else ""
        lines.append(f"{seen['device']}, {seen['precision']}, torch {seen['torch']}, commit {seen['commit']}{dirty}.")
    if any(r.printed for r in table):
        lines.append(f"Paper: {reference.load(sweep).title}.")
    return lines


def markdown(headers: list[str], lines: list[list[str]]) -> str:
    """A table that reads well as it stands, too."""
    body = [[c.replace("|", "\\|") for c in line] for line in [headers, *lines]]
    widths = [max(len(line[i]) for line in body) for i in range(len(headers))]

    def text(line: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))) + " |"

    rule = "|" + "|".join(("-" * (w + 2)) if not i else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([text(body[0]), rule, *map(text, body[1:])]) + "\n"


def to_csv(table: list[Row]) -> str:
    """One line per variant, full precision, with the trials' ids."""
    names = [
        "variant",
        "n",
        "planned",
        "top1_mean",
        "top1_sd",
        "difference_n",
        "difference_mean",
        "difference_sd",
        "params",
        "macs",
        "paper_flops",
        "images_per_s",
    ]
    names += ["peak_memory_gb", "minutes", "printed_top1", "printed_params_m", "printed_flops_m", "trials"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in table:
        results = [r.result for r in row.records if r.result]
        first, p = (results[0] if results else None), row.printed

        def mean(name: str, results=results) -> float | None:
            summary = summarise([getattr(r, name) for r in results])
            return summary and round(summary.mean, 4)

        counts = [getattr(first, name, None) for name in ("params", "macs", "paper_flops")]
        measured = [mean(name) for name in ("images_per_s", "peak_memory_gb", "minutes")]
        printed = [p.top1, p.params_m, p.flops_m] if p else [None] * 3
        values = [
            row.variant,
            len(results),
            row.planned,
            *_pair(row.top1),
            row.difference and row.difference.n,
            *_pair(row.difference),
            *counts,
            *measured,
            *printed,
        ]
        writer.writerow(["" if v is None else v for v in values] + [" ".join(r.id for r in row.records)])
    return out.getvalue()


def latex(headers: list[str], lines: list[list[str]], notes: list[str]) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    body = "\n".join("  " + " & ".join(map(_tex, line)) + r" \\" for line in lines)
    head = " & ".join(map(_tex, headers))
    comments = "\n".join(f"% {line}" for line in notes)
    return (
        f"{comments}\n\\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}\n  \\toprule\n  {head} \\\\\n  \\midrule\n{body}\n"
        "  \\bottomrule\n\\end{tabular}\n"
    )


def _tex(text: str) -> str:
    text = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))
    return text.replace("±", r"$\pm$").replace("Δ", r"$\Delta$").replace("α", r"$\alpha$").replace("~", r"\textasciitilde ").replace("^", r"\^{}")


def _with_sd(summary: Summary | None, form: str) -> str:
    if summary is None:
        return "-"
    return form.format(summary.mean) + (f" ± {summary.sd:.2f}" if summary.sd is not None else "")


def _pair(summary: Summary | None) -> tuple[float | None, float | None]:
    return (summary.mean, summary.sd) if summary else (None, None)


def _distinct(records: list[Record], key: str) -> str:
    return " / ".join(dict.fromkeys(str(r.provenance[key]) for r in records))
