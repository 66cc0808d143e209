"""The evidence under a table: methods, data, device, code; a sentence a line."""

from __future__ import annotations

from analysis import stats
from analysis.stats import Comparison
from analysis.tables import trainings
from analysis.tables.noise import noise_floor
from analysis.tables.table import Table
from analysis.tables.text import listed, quoted, upper
from runners.store import Record
from runners.trial.datasets import changed_since

EVIDENCE = (
    "train_images",
    "val_images",
    "test_images",
    "device",
    "precision",
    "torch",
    "commit",
    "data",
)
# (what a reader calls it, the evidence): where trials differ in it, the footer warns
MIXED = (
    ("code", "commit"),
    ("code", "dirty"),
    ("devices", "device"),
    ("versions", "torch"),
    ("precision", "precision"),
    ("data", "data"),
)


def footer(table: Table) -> list[str]:
    """The evidence, a sentence a line."""
    sweep = table.sweep
    seeds = ", ".join(map(str, sweep.seeds[: max(map(sweep.seeds_of, sweep.variants))]))
    lines = [f"{len(table.records)} of {table.planned_trials} trials finished; seeds {seeds}."]
    for row in table.rows:
        lines += [f"{quoted(row.variant)}: {n} {reason}." for reason, n in row.missing.items()]
    lines += [
        *trainings.sentences(table),
        *_methods(table),
        *_no_spread(table),
        *noise_floor(table),
    ]
    if sweep.overrides:
        lines.append(f"Overrides of the sweep file: {', '.join(sweep.overrides)}.")
    if table.records:
        lines += _evidence(table)
    seen = [(row.variant, record) for row in table.rows for record in row.records]
    return [*lines, *sweep.notes, *changed_since(sweep, seen), *_paper(table)]


def _methods(table: Table) -> list[str]:
    found = table.comparison
    early = any(config.early_stop for config in table.sweep.variants.values())
    when = "after the training" if early else "after the last epoch"
    lines = [
        f"{upper(table.measure.label)} on the test set {when}{_over(table)}; "
        "± is the standard deviation over seeds, "
        "95 % is Student's interval of the mean."
    ]
    if found.looks:
        lines += [*_grown(table), *_spread(table)]
    elif found.method == "Dunnett":
        lines += [_additive(found), *_spread(table)]
    elif found.method:
        lines.append(
            f"Differences by Welch's t, because {found.why}: p by Holm, which decides the verdict; "
            "intervals by Bonferroni."
        )
    elif found.why and table.records:
        lines.append(f"No intervals of differences: {found.why}.")
    if table.sweep.margin_pp is not None and found.method:
        lines.append(
            f"Equivalent: two one-sided tests against ±{table.sweep.margin_pp:g} points "
            f"(margin_pp), p by Holm{' at each look' if found.looks else ''}."
        )
    if 0 < table.seeds < stats.SCREENING:
        lines.append("Fewer than five seeds: a screening, not evidence for a difference.")
    return [*lines, *_sign_flips(table), *_other_images(table)]


def _over(table: Table) -> str:
    """Which conditions the measure is over, to be read after "on the test set"."""
    names = table.conditions
    if table.measure.usual or not names:
        return ""
    if table.sweep.measure in ("mean", "worst"):
        which = "the mean" if table.sweep.measure == "mean" else "in each trial the lowest"
        return f", {which} of {len(names)} conditions ({listed(names)})"
    return f", under the condition {table.sweep.measure}"


def _additive(found: Comparison) -> str:
    return (
        f"Differences in one additive model, variant + seed ({found.df:g} "
        f"degree{'' if found.df == 1 else 's'} of freedom), "
        "with Dunnett's simultaneous intervals and p; "
        f"seeds make up {100 * (found.icc or 0):.0f} % of the variance; "
        f"a true difference of {found.detectable:.2f} points would show with 80 % power."
    )


def _grown(table: Table) -> list[str]:
    """How the seeds grew, and what the intervals of growing seeds promise."""
    growth, found = table.sweep.growth, table.comparison
    if growth is None or not found.looks:
        return []
    until = (
        "they had a verdict"
        if growth.half_width is None
        else f"their intervals were within ±{growth.half_width:g} points"
    )
    dunnett = found.method == "Dunnett"
    within = "Dunnett's statistic" if dunnett else "Bonferroni's correction of Welch's t"
    lines = [
        f"Seeds grew until the comparisons were decided ({until}), with looks at "
        f"{listed([*map(str, found.looks)])} of at most {growth.most} seeds of each variant. All "
        "intervals, over the variants and the looks, hold together with 95 %: the error is spent "
        "over the looks as Lan and DeMets have it, by Pocock's function, and within a look by "
        f"{within}."
    ]
    fewer = [v for v in table.sweep.variants if table.sweep.seeds_of(v) < max(found.looks)]
    if fewer:
        stops = listed([f"{quoted(v)} after {table.sweep.seeds_of(v)}" for v in fewer])
        lines.append(
            f"Decided early, and not trained further: {stops} seeds. A difference is of the seeds "
            "of the look that it is from, the baseline's of the same seeds."
        )
    return lines


def _spread(table: Table) -> list[str]:
    """A warning where deviations differ much, and the seeds are too few to test that."""
    # Brown and Forsythe's test has little power with few seeds: name the spread instead
    sds = [row.score.sd for row in table.rows if row.score and row.score.sd is not None]
    if max(sds) <= 3 * min(sds):
        return []
    return [
        f"The standard deviations go from {min(sds):.2f} to {max(sds):.2f}; with so few seeds "
        "unequal variances go undetected, and the model assumes one variance."
    ]


def _no_spread(table: Table) -> list[str]:
    """The variants whose seeds came to one accuracy: of few test images there are few figures."""
    lines = []
    for row in table.rows:
        if not table.measure.usual or not row.score or row.score.sd != 0:
            continue
        images = int(row.records[0].provenance["test_images"])
        right = round(row.score.mean * images / 100)
        lines.append(
            f"{quoted(row.variant)}: {right:,} of {images:,} test images right in each of "
            f"{row.score.n} seeds, hence ± 0.00."
        )
    return lines


def _sign_flips(table: Table) -> list[str]:
    """Exact p where there are seeds enough: each variant by itself."""
    parts = []
    for row in table.rows:
        if row.variant == table.sweep.baseline:
            continue
        if flip := stats.sign_flip(paired(table, row.variant)):
            parts.append(f"{quoted(row.variant)} {flip[0]:.3f} (at the least {flip[1]:.3f})")
    if not parts:
        return []
    return [
        "Exact sign-flip p, each variant by itself, and the smallest that its seeds can reach: "
        f"{', '.join(parts)}."
    ]


def _other_images(table: Table) -> list[str]:
    widths = []
    for row in table.rows:
        if row.images and row.images.high and row.images.low:
            widths.append(row.images.high - row.images.low)
    if not widths:
        return []
    return [
        "For other test images as well as other seeds, the intervals of the means are "
        f"up to {max(widths):.2f} points wide (table.csv)."
    ]


def paired(table: Table, variant: str) -> list[float]:
    """The differences to the baseline, seed by seed."""
    base = table.scores.get(table.sweep.baseline, {})
    return [value - base[seed] for seed, value in table.scores[variant].items() if seed in base]


def _evidence(table: Table) -> list[str]:
    """Data, network, device and code of all trials, and a warning where these are not one."""
    configs = table.sweep.variants.values()
    written = {}
    for key in ("dataset", "backbone", "epochs"):
        written[key] = " / ".join(dict.fromkeys(str(getattr(config, key)) for config in configs))
    seen = {key: " / ".join(distinct(table.records, key)) for key in EVIDENCE}
    length = "1 epoch" if written["epochs"] == "1" else f"{written['epochs']} epochs"
    changed = "yes" in distinct(table.records, "dirty")
    dirty = " (with uncommitted changes)" if changed else ""
    lines = [
        f"{written['dataset']}: {seen['train_images']} images to train on, "
        f"{seen['val_images']} to validate, {seen['test_images']} to test "
        f"(digest {seen['data']}); {written['backbone']}, {length}.",
        f"{seen['device']}, {seen['precision']}, torch {seen['torch']}, "
        f"commit {seen['commit']}{dirty}.",
    ]
    mixed = [word for word, key in MIXED if len(distinct(table.records, key)) > 1]
    # on a CPU the number of threads decides the order of sums; old records do not have it
    on_cpu = [r for r in table.records if str(r.provenance["device"]).startswith("CPU")]
    if len({r.provenance["threads"] for r in on_cpu if "threads" in r.provenance}) > 1:
        mixed.append("number of threads")
    if mixed:
        lines.append(
            f"These trials were not all run on the same {listed([*dict.fromkeys(mixed)])}: "
            "part of a difference may be due to that."
        )
    return lines


def distinct(records: list[Record], key: str) -> list[str]:
    """The values of a piece of evidence, each once."""
    return [*dict.fromkeys(str(r.provenance[key]) for r in records)]


def _paper(table: Table) -> list[str]:
    """Whose figures stand beside, and each variant's verdict with its reason."""
    judged = [row for row in table.rows if row.against_paper[0]]
    if not judged:
        return []
    lines = [f"Paper: {table.reference.title}."]
    # one reason for all of them is given once
    if len({row.against_paper[1] for row in judged}) == 1:
        verdict, why = judged[0].against_paper
        return [*lines, f"Against the paper: {verdict} ({why})."]
    for row in judged:
        lines.append(f"Against the paper, {quoted(row.variant)}: {': '.join(row.against_paper)}.")
    return lines
