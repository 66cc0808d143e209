"""A sweep's finished trials as a table: what was measured, what may be concluded, and beside it what the paper printed."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from analysis import stats
from analysis.stats import Comparison, Difference, Summary
from analysis.tables.planned import Planned, planned
from runners.plan import Sweep, reference
from runners.search import searching as search
from runners.search.study import Study
from runners.store import Record, Result, Store

ENOUGH_PP = 0.5  # an interval wider than ± this cannot confirm a printed figure: the paper's own effects are about one point


@dataclass(frozen=True)
class Row:
    """One variant: its finished trials in figures, and how many others there are of each kind.

    `images`: the mean with an interval for other seeds and other test images. `against_paper`: the verdict, and what it rests on.
    """

    variant: str
    planned: int
    records: list[Record]
    missing: Counter[str]
    top1: Summary | None
    images: Summary | None
    difference: Difference | None
    printed: reference.Printed | None
    against_paper: tuple[str, str]

    @property
    def result(self) -> Result | None:
        """Of its first finished trial: what all of them have in common, such as counts."""
        return self.records[0].result if self.records else None

    def mean(self, name: str) -> float | None:
        """The mean of a measured field of the results."""
        summary = stats.summarise([getattr(r.result, name) for r in self.records])
        return summary.mean if summary else None


@dataclass(frozen=True)
class Table:
    """A sweep's rows, in its order, and how they were compared."""

    sweep: Sweep
    rows: list[Row]
    comparison: Comparison
    scores: dict[str, dict[int, float]]  # variant -> seed -> test top-1
    reference: reference.Reference
    studies: list[Study] = field(default_factory=list)  # of the sweep's search
    planned: list[Planned] = field(
        default_factory=list
    )  # the files that its trials were planned by

    @property
    def records(self) -> list[Record]:
        return [r for row in self.rows for r in row.records]

    @property
    def seeds(self) -> int:
        """The fewest seeds that a variant with any has."""
        return min((len(row.records) for row in self.rows if row.records), default=0)

    @cached_property
    def best(self) -> str | None:
        """The variant with the highest mean, if its simultaneous interval excludes the runner-up; else None."""
        ranked = sorted(
            (row for row in self.rows if row.top1),
            key=lambda row: -row.top1.mean if row.top1 else 0,
        )
        if len(ranked) < len(self.rows) or len(ranked) < 2 or self.seeds < stats.SCREENING:
            return None
        a, b = ranked[0].variant, ranked[1].variant
        pair = stats.all_pairs(self.scores, only=(b, a)).get((b, a))
        return (
            a
            if self.comparison.method == "Dunnett"
            and pair
            and pair.p is not None
            and pair.p < 1 - stats.LEVEL
            else None
        )


def read(sweep: Sweep, store: Store) -> Table:
    """Every trial of the sweep from the store. Only finished ones enter a mean; all others are counted in `missing`.

    Raises:
        SweepError: a record of another version, or a search that found nothing.
    """
    sweep = search.conclude(sweep, store)
    printed = reference.load(sweep)
    records: dict[str, list[Record]] = {v: [] for v in sweep.variants}
    missing: dict[str, Counter[str]] = {v: Counter() for v in sweep.variants}
    for trial in sweep.trials:
        record = store.record(trial.id)
        if record and record.result:
            records[trial.variant].append(record)
        else:
            why = (
                f"{record.status} ({record.reason[:100]})"
                if record and record.reason
                else record.status
                if record
                else "not finished"
            )
            missing[trial.variant][why] += 1
    scores = {v: {r.seed: r.result.test_top1 for r in rs if r.result} for v, rs in records.items()}
    comparison = stats.compare(scores, sweep.baseline, sweep.margin_pp)
    rows = []
    for v in sweep.variants:
        top1 = stats.summarise([*scores[v].values()])
        paper = _against_paper(records[v], top1, printed, v)
        rows.append(
            Row(
                v,
                len(sweep.seeds),
                records[v],
                missing[v],
                top1,
                _images(records[v]),
                comparison.differences.get(v),
                printed.rows.get(v),
                paper,
            )
        )
    return Table(
        sweep,
        rows,
        comparison,
        scores,
        printed,
        search.open_studies(sweep, store) if sweep.search else [],
        planned((r for rs in records.values() for r in rs), store),
    )


def correct(record: Record) -> np.ndarray:
    """Which test images the trial has right: (images,) booleans, in the data set's order."""
    assert record.result
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record.result.correct), np.uint8))
    return bits[: int(record.provenance["test_images"])].astype(bool)


def _images(records: list[Record]) -> Summary | None:
    if len({(r.provenance["test_images"], r.provenance["data"]) for r in records}) != 1:
        return None
    return stats.seeds_by_images(100.0 * np.stack([correct(r) for r in records]))


def _against_paper(
    records: list[Record], top1: Summary | None, printed: reference.Reference, variant: str
) -> tuple[str, str]:
    """reproduced, differs, underpowered or other protocol, and why."""
    row = printed.rows.get(variant)
    if row is None or top1 is None:
        return "", ""
    if departures := [
        *dict.fromkeys(
            d
            for r in records
            for d in printed.departures(r.config, int(r.provenance["train_images"]))
        )
    ]:
        return "other protocol", "; ".join(departures)
    if top1.low is None or top1.high is None:
        return "underpowered", "one seed" if top1.n == 1 else "the seeds do not differ"
    interval = f"printed {row.top1:.2f}, interval {top1.low:.2f} to {top1.high:.2f}"
    if not top1.low - 0.005 <= row.top1 <= top1.high + 0.005:  # the printed figure is rounded
        return "differs", interval
    if (top1.high - top1.low) / 2 > ENOUGH_PP:
        return "underpowered", f"{interval}, wider than ±{ENOUGH_PP:g}"
    return "reproduced", interval


def comparison(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines of text) of the main table."""
    base = table.sweep.baseline
    adjusted = {"Dunnett": "95 % (Dunnett)", "Welch": "95 % (Welch)"}.get(
        table.comparison.method, "95 %"
    )
    headers = [
        "variant",
        "n",
        "top-1 % ± sd",
        "95 %",
        f"Δ {base}",
        adjusted,
        "p",
        "verdict",
        "params M",
        "MACs M",
    ]
    with_paper = any(row.printed for row in table.rows)
    if with_paper:
        headers += ["paper top-1", "paper Δ", "against the paper"]
    printed_base = table.reference.rows.get(base)
    lines = []
    for row in table.rows:
        d, r = row.difference, row.result
        line = [
            row.variant,
            str(len(row.records)) if not row.missing else f"{len(row.records)} of {row.planned}",
            (f"{row.top1.mean:.2f}" + (f" ± {row.top1.sd:.2f}" if row.top1.sd is not None else ""))
            if row.top1
            else "-",
            _interval(row.top1, "{:.2f}"),
            f"{d.mean:+.2f}" if d else "-",
            _interval(d, "{:+.2f}"),
            _p(d.p) if d and d.p is not None else "-",
            d.verdict if d else "-",
            f"{r.params / 1e6:.3f}" if r else "-",
            f"{r.macs / 1e6:.2f}" if r else "-",
        ]
        if with_paper:
            p = row.printed
            change = (
                f"{p.top1 - printed_base.top1:+.2f}"
                if p and printed_base and p is not printed_base
                else "-"
            )
            line += [f"{p.top1:.2f}", change, row.against_paper[0] or "-"] if p else ["-"] * 3
        lines.append(line)
    return headers, lines


def cost(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines) of what each variant costs: counted, measured, and as the paper counts and prints it."""
    headers = [
        "variant",
        "params M",
        "MACs M",
        "images/s",
        "peak memory GB",
        "minutes/trial",
        "paper FLOPs M, ours",
    ]
    with_paper = any(row.printed for row in table.rows)
    headers += ["printed", "paper params M, ours", "printed"] if with_paper else []
    lines = []
    for row in table.rows:
        r, p = row.result, row.printed
        if r is None:
            lines.append([row.variant, *["-"] * (len(headers) - 1)])
            continue
        measured = [
            f"{row.mean('images_per_s'):.0f}",
            f"{row.mean('peak_memory_gb'):.2f}",
            f"{row.mean('minutes'):.1f}",
        ]
        line = [
            row.variant,
            f"{r.params / 1e6:.3f}",
            f"{r.macs / 1e6:.2f}",
            *measured,
            f"{r.paper_flops / 1e6:.2f}",
        ]
        if with_paper:
            line += [
                f"{p.flops_m:g}" if p else "-",
                f"{r.paper_params / 1e6:.3f}",
                f"{p.params_m:g}" if p else "-",
            ]
        lines.append(line)
    return headers, lines


def markdown(headers: list[str], lines: list[list[str]], bold: str | None = None) -> str:
    """A table that reads well as it stands, too. `bold`: the variant that stands out."""
    body = [
        [_bold(c.replace("|", "\\|"), line[0] == bold, "**{}**") for c in line]
        for line in [headers, *lines]
    ]
    widths = [max(len(line[i]) for line in body) for i in range(len(headers))]

    def text(line: list[str]) -> str:
        return (
            "| "
            + " | ".join(
                c.ljust(w) if not i else c.rjust(w)
                for i, (c, w) in enumerate(zip(line, widths, strict=True))
            )
            + " |"
        )

    rule = (
        "|"
        + "|".join(("-" * (w + 2)) if not i else "-" * (w + 1) + ":" for i, w in enumerate(widths))
        + "|"
    )
    return "\n".join([text(body[0]), rule, *map(text, body[1:])]) + "\n"


def latex(
    headers: list[str], lines: list[list[str]], notes: list[str], bold: str | None = None
) -> str:
    """A booktabs table; needs \\usepackage{booktabs}, and XeLaTeX where names have letters that LaTeX does not know."""
    body = "\n".join(
        "  {}"
        + " & ".join(_bold(_tex(c), line[0] == bold, r"\textbf{{{}}}") for c in line)
        + r" \\"
        for line in lines
    )
    head = " & ".join(map(_tex, headers))
    comments = "\n".join(f"% {line}" for line in notes)
    return (
        f"{comments}\n\\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}\n  \\toprule\n  {head} \\\\\n  \\midrule\n{body}\n"
        "  \\bottomrule\n\\end{tabular}\n"
    )


COLUMNS: tuple[str, ...] = (
    "variant", "n", "planned", "top1_mean", "top1_sd", "top1_low", "top1_high", "top1_images_low", "top1_images_high", "difference_n",
    "difference_mean", "difference_low", "difference_high", "p", "equivalent_p", "verdict", "params", "macs", "paper_params", "paper_flops",
    "images_per_s", "peak_memory_gb", "minutes", "printed_top1", "printed_params_m", "printed_flops_m", "against_paper", "against_paper_why",
    "trials",
)  # fmt: skip


def to_csv(table: Table) -> str:
    """One line per variant, in full precision, with the trials' ids."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row in table.rows:
        t, i, d, r, p = row.top1, row.images, row.difference, row.result, row.printed
        line: dict[str, object] = {
            "variant": row.variant,
            "n": len(row.records),
            "planned": row.planned,
        }
        line |= (
            {"top1_mean": t.mean, "top1_sd": t.sd, "top1_low": t.low, "top1_high": t.high}
            if t
            else {}
        )
        line |= {"top1_images_low": i.low, "top1_images_high": i.high} if i else {}
        if d:
            line |= {
                "difference_n": d.n,
                "difference_mean": d.mean,
                "difference_low": d.low,
                "difference_high": d.high,
            }
            line |= {"p": d.p, "equivalent_p": d.equivalent_p, "verdict": d.verdict}
        if r:
            line |= {
                name: getattr(r, name) for name in ("params", "macs", "paper_params", "paper_flops")
            }
            line |= {name: row.mean(name) for name in ("images_per_s", "peak_memory_gb", "minutes")}
        if p:
            line |= {
                "printed_top1": p.top1,
                "printed_params_m": p.params_m,
                "printed_flops_m": p.flops_m,
            }
        line |= {"against_paper": row.against_paper[0], "against_paper_why": row.against_paper[1]}
        line["trials"] = " ".join(x.id for x in row.records)
        writer.writerow(
            {
                k: ("" if v is None else f"{v:.6g}" if isinstance(v, float) else v)
                for k, v in line.items()
            }
        )
    return out.getvalue()


def _bold(text: str, yes: bool, form: str) -> str:
    return form.format(text) if yes and text != "-" else text


def _interval(value: Summary | Difference | None, form: str) -> str:
    if value is None or value.low is None or value.high is None:
        return "-"
    low, high = (
        (max(0.0, value.low), min(100.0, value.high))
        if isinstance(value, Summary)
        else (value.low, value.high)
    )
    return f"{form.format(low)} to {form.format(high)}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _tex(text: str) -> str:
    text = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))
    for character, command in (
        ("±", r"$\pm$"),
        ("Δ", r"$\Delta$"),
        ("α", r"$\alpha$"),
        ("<", "$<$"),
        (">", "$>$"),
    ):
        text = text.replace(character, command)
    return text.replace("~", r"\textasciitilde ").replace("^", r"\^{}")
