"""The answer in words, and what every number rests on: sentences that a careful reader would sign, and no others."""

from __future__ import annotations

from analysis import stats
from analysis.stats import effects
from analysis.tables import Row, Table, correct
from runners.store import Record
from runners.trial.datasets import changed_since

_MIXED = (
    ("code", "commit"),
    ("code", "dirty"),
    ("devices", "device"),
    ("versions", "torch"),
    ("precision", "precision"),
    ("data", "data"),
)


def answer(table: Table) -> str:
    """The sweep's answer in one sentence, with how sure it is."""
    rows = [row for row in table.rows if row.difference]
    base = table.sweep.baseline
    if reason := _no_answer(table, rows):
        return f"There is no answer{reason}."
    parts = []
    for verdict, words in (
        ("better", "better than"),
        ("worse", "worse than"),
        ("equivalent", "equivalent to"),
    ):
        if found := [row for row in rows if row.difference and row.difference.verdict == verdict]:
            parts.append(
                f"{_list([_named(row, verdict) for row in found])} {'is' if len(found) == 1 else 'are'} {words} {base}"
            )
    if open_ := [
        row.variant for row in rows if row.difference and row.difference.verdict == "inconclusive"
    ]:
        parts.append(
            f"for {_list(open_)} the difference to {base} may be chance"
            if len(open_) < len(rows)
            else f"no difference to {base} is shown"
        )
    sentence = f"In this training, {'; '.join(parts)} (simultaneously at 95 %, {_count(table.seeds, 'seed')})"
    if table.seeds < stats.SCREENING:
        sentence += ", and with so few seeds that is a screening, to be confirmed with five or more"
    elif len(open_) == len(rows) and table.comparison.detectable:
        sentence += f": a difference under {table.comparison.detectable:.1f} points could well have gone unseen (power below 80 %)"
    if incomplete := [
        f"{row.variant} has {len(row.records)} of {row.planned}"
        for row in table.rows
        if len(row.records) < row.planned
    ]:
        sentence += f"; of the planned trials {_list(incomplete)} finished"
    return sentence + (f"; {table.best} is above all others" if table.best else "") + "."


def _no_answer(table: Table, rows: list[Row]) -> str:
    """Why there is none, to be read after "There is no answer"; empty where there is one."""
    base = table.sweep.baseline
    if not table.sweep.settled:
        ended = sum(
            p.trained and p.record is not None for study in table.studies for p in study.proposals
        )
        return f" yet: the search, which says what is compared, has {ended} of {sum(s.written.trials for s in table.studies)} trials"
    if base not in table.sweep.variants:
        return f": the baseline {base} is not among these variants"
    if len(table.rows) == 1:
        return ": there is only one variant"
    if not rows:
        over = all(
            sum(n for why, n in row.missing.items() if why == "not finished") == 0
            for row in table.rows
        )
        return (
            ": no trial of "
            + ("the baseline" if not table.scores[base] else "another variant")
            + " finished"
            if over
            else " yet: too few trials have finished"
        )
    if not table.comparison.method:
        return f" yet: {table.comparison.why}"
    return ""


def _named(row: Row, verdict: str) -> str:
    assert row.difference
    return row.variant if verdict == "equivalent" else f"{row.variant} ({row.difference.mean:+.2f})"


def footer(table: Table) -> list[str]:
    """What the numbers rest on, a sentence a line."""
    sweep, records = table.sweep, table.records
    lines = [
        f"{len(records)} of {sum(r.planned for r in table.rows)} trials finished; seeds {', '.join(map(str, sweep.seeds))}."
    ]
    for row in table.rows:
        lines += [f"{row.variant}: {n} {reason}." for reason, n in row.missing.items()]
    lines += _methods(table)
    if sweep.overrides:
        lines.append(f"Not the sweep as its file has it: {', '.join(sweep.overrides)}.")
    if records:
        lines += _evidence(table)
    lines += sweep.notes
    lines += changed_since(sweep, [(row.variant, r) for row in table.rows for r in row.records])
    if whys := [*dict.fromkeys(row.against_paper for row in table.rows if row.against_paper[0])]:
        lines.append(f"Paper: {table.reference.title}.")
        if len(whys) == 1 or {why for _, why in whys} == {whys[0][1]}:
            lines.append(f"Against the paper: {whys[0][0]} ({whys[0][1]}).")
        else:
            lines += [
                f"Against the paper, {row.variant}: {': '.join(row.against_paper)}."
                for row in table.rows
                if row.against_paper[0]
            ]
    return lines


def _methods(table: Table) -> list[str]:
    found = table.comparison
    lines = [
        "Top-1 on the test set after the last epoch; ± is the standard deviation over seeds, 95 % is Student's interval of the mean."
    ]
    if found.method == "Dunnett":
        lines.append(
            f"Differences in one additive model, variant + seed ({found.df:g} degrees of freedom), with Dunnett's simultaneous intervals and p; "
            f"seeds make up {100 * (found.icc or 0):.0f} % of the variance; a true difference of {found.detectable:.2f} points would show "
            "with 80 % power."
        )
        sds = [row.top1.sd for row in table.rows if row.top1 and row.top1.sd is not None]
        if max(sds) > 3 * min(sds):
            spread = f"{min(sds):.2f} to {max(sds):.2f}"
            lines.append(
                f"The standard deviations go from {spread}; these seeds are too few to call them unequal, and the model takes them as one."
            )
    elif found.method:
        lines.append(
            f"Differences by Welch's t, because {found.why}: p by Holm, which decides the verdict; intervals by Bonferroni."
        )
    elif found.why and table.records:
        lines.append(f"No intervals of differences: {found.why}.")
    if table.sweep.margin_pp is not None and found.method:
        lines.append(
            f"Equivalent: two one-sided tests against ±{table.sweep.margin_pp:g} points (margin_pp), p by Holm."
        )
    if 0 < table.seeds < stats.SCREENING:
        lines.append("Fewer than five seeds: a screening, not evidence for a difference.")
    flips = {
        row.variant: stats.sign_flip(paired(table, row.variant))
        for row in table.rows
        if row.variant != table.sweep.baseline
    }
    if told := {v: flip for v, flip in flips.items() if flip}:
        ps = ", ".join(f"{v} {p:.3f} (at the least {least:.3f})" for v, (p, least) in told.items())
        lines.append(
            f"Exact sign-flip p, each variant by itself, and the smallest that its seeds can reach: {ps}."
        )
    widest = max(
        (
            r.images.high - r.images.low
            for r in table.rows
            if r.images and r.images.high and r.images.low
        ),
        default=None,
    )
    if widest is not None:
        lines.append(
            f"For other test images as well as other seeds, the intervals of the means are up to {widest:.2f} points wide (table.csv)."
        )
    return lines


def paired(table: Table, variant: str) -> list[float]:
    """The differences to the baseline, seed by seed."""
    base = table.scores.get(table.sweep.baseline, {})
    return [value - base[seed] for seed, value in table.scores[variant].items() if seed in base]


def _evidence(table: Table) -> list[str]:
    configs = {
        k: " / ".join(dict.fromkeys(str(getattr(c, k)) for c in table.sweep.variants.values()))
        for k in ("dataset", "backbone", "epochs")
    }
    keys = (
        "train_images",
        "val_images",
        "test_images",
        "device",
        "precision",
        "torch",
        "commit",
        "data",
    )
    seen = {k: distinct(table.records, k) for k in keys}
    dirty = (
        " (with uncommitted changes)"
        if any(r.provenance["dirty"] == "yes" for r in table.records)
        else ""
    )
    told = {k: " / ".join(v) for k, v in seen.items()}
    lines = [
        f"{configs['dataset']}: {told['train_images']} images to train on, {told['val_images']} to validate, {told['test_images']} to test "
        f"(digest {told['data']}); {configs['backbone']}, {configs['epochs']} epochs.",
        f"{told['device']}, {told['precision']}, torch {told['torch']}, commit {told['commit']}{dirty}.",
    ]
    mixed = [word for word, key in _MIXED if len(distinct(table.records, key)) > 1]
    if mixed := [*dict.fromkeys(mixed)]:
        lines.append(
            f"These trials were not all run on the same {_list(mixed)}: part of a difference may be due to that."
        )
    return lines


def distinct(records: list[Record], key: str) -> list[str]:
    """The values of a piece of evidence, each once."""
    return [*dict.fromkeys(str(r.provenance[key]) for r in records)]


def images_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines): per seed, the test images that only the baseline and only the variant has right, and McNemar's exact p."""
    base = {
        r.seed: r for row in table.rows if row.variant == table.sweep.baseline for r in row.records
    }
    lines = []
    for row in table.rows:
        for record in row.records:
            other = base.get(record.seed)
            if (
                row.variant == table.sweep.baseline
                or other is None
                or other.provenance["data"] != record.provenance["data"]
            ):
                continue
            only_base, only_variant, p = stats.mcnemar(correct(other), correct(record))
            lines.append(
                [row.variant, str(record.seed), str(only_base), str(only_variant), f"{p:.3f}"]
            )
    return [
        "variant",
        "seed",
        f"only {table.sweep.baseline} right",
        "only the variant right",
        "McNemar p (each)",
    ], lines


def pairs_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines): every pair of variants with Tukey's simultaneous intervals."""
    lines = []
    unequal = table.comparison.method == "Welch"
    for (a, b), d in stats.all_pairs(table.scores, unequal=unequal).items():
        interval = (
            f"{d.low:+.2f} to {d.high:+.2f}" if d.low is not None and d.high is not None else "-"
        )
        lines.append(
            [
                f"{b} - {a}",
                str(d.n),
                f"{d.mean:+.2f}",
                interval,
                f"{d.p:.3f}" if d.p is not None else "-",
            ]
        )
    return ["pair", "n", "Δ", f"95 % ({'Games-Howell' if unequal else 'Tukey'})", "p"], lines


def trials_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines): the trials of every row, and the evidence of each."""
    keys = ("commit", "dirty", "device", "precision", "torch", "data")
    lines = []
    for row in table.rows:
        for r in row.records:
            assert r.result
            lines.append(
                [
                    row.variant,
                    r.id,
                    str(r.seed),
                    f"{r.result.test_top1:.2f}",
                    *(str(r.provenance[k]) for k in keys),
                ]
            )
    return ["variant", "trial", "seed", "top-1 %", *keys], lines


def factors(table: Table) -> list[str]:
    """Trends over an ordered factor, or main effects and interactions of a full grid; a sentence a line."""
    trends, sources = _effects(table)
    lines = []
    for e in trends:
        what = (
            f"per unit of {_names(table)[0]}"
            if e.name == "linear"
            else f"per squared unit of {_names(table)[0]}, beyond the line"
        )
        lines.append(
            f"{e.name.capitalize()} trend: {e.estimate:+.2f} points {what} (95 % {e.low:+.2f} to {e.high:+.2f}, p {_equals(e.p)})."
        )
    for source in sources:
        widest = max(source.effects, key=lambda e: abs(e.estimate))
        interval = f"{widest.estimate:+.2f} (95 % {widest.low:+.2f} to {widest.high:+.2f})"
        lines.append(
            f"{source.name}: F = {source.f:.2f}, p {_equals(source.p)}; largest: {widest.name} {interval}."
        )
    if lines and table.comparison.method == "Welch":
        lines.append("Trends and effects take the variances of all variants as one.")
    return lines


def effects_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """(headers, lines): every level's main effect and every combination's interaction, in points; empty without a grid."""
    lines = []
    for source in _effects(table)[1]:
        for e in source.effects:
            lines.append(
                [
                    source.name,
                    e.name,
                    f"{e.estimate:+.2f}",
                    f"{e.low:+.2f} to {e.high:+.2f}",
                    f"{e.p:.3f}",
                ]
            )
    return ["effect", "level", "points", "95 % (within the effect)", "p"], lines


def _effects(table: Table) -> tuple[list[effects.Effect], list[effects.Source]]:
    cells = {v: cell for v, cell in table.sweep.cells.items() if table.scores.get(v)}
    if len(_names(table)) > 1:
        return [], effects.factorial(
            {cell: table.scores[v] for v, cell in cells.items()}, _names(table)
        )
    ordered = cells and all(
        isinstance(cell[0], int | float) and not isinstance(cell[0], bool)
        for cell in cells.values()
    )
    return (
        effects.trend({v: float(cell[0]) for v, cell in cells.items()}, table.scores)
        if ordered
        else []
    ), []


def _names(table: Table) -> list[str]:
    return [key.removeprefix("options.") for key in table.sweep.factors]


def _equals(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" + ("" if n == 1 else "s")
