"""What a tracker shows: a sweep's comparison or its search, each an experiment of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runners.plan import Sweep, Trial
from runners.store.colours import colours

if TYPE_CHECKING:
    from runners.search.proposal import Proposal

COMPARISON_NOTE = """**{question}**

One run per trial: a variant and a seed. Open the *Chart* view, group by `variant`; filter with
`params.variant = "S+C"` or `tags.status = "finished"`. `val/...` is a split of the training data;
`test/...` was read once, after the last epoch. Means over seeds and the report are in the
experiment `{name}/summary`."""

SEARCH_NOTE = """**{question}**

One run per trial of the search: a cell of its space, judged on validation images; none reads the
test set. Open the *Chart* view and plot `val/top1` against `cost/macs_m`, or compare runs in
parallel coordinates. What was found is compared in the sweep's own experiment."""

SUMMARY_NOTE = """**{question}**

Means over seeds; the report is in the run `report`."""


@dataclass
class Phase:
    """An experiment of a sweep: its name and note, and what is known of its trials.

    `params` and `costs` are per variant; a search adds those of each new proposal.
    """

    kind: Literal["comparison", "search", "summary"]
    name: str  # the experiment's, unless it is renamed
    tag: str  # the experiment's tag `sweep`
    old_tag: str  # the same before experiments had a tag `phase`
    note: str
    trials: list[Trial] = field(default_factory=list)
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)  # of the variants, as in the figures

    @property
    def columns(self) -> list[str]:
        """The params that tell its variants apart, as MLflow's table names them."""
        keys = dict.fromkeys(["variant", "seed"])
        for params in self.params.values():
            keys |= dict.fromkeys(params)
        return [f"params.`{key}`" for key in keys]

    def add(self, proposal: Proposal) -> None:
        """A trial that a search proposes: what it chose, and its cost before it is trained."""
        assert proposal.trial
        chosen = {key.removeprefix("options."): value for key, value in proposal.cell.items()}
        if proposal.variant:
            chosen["variant"] = proposal.variant
        self.trials.append(proposal.trial)
        self.params[proposal.trial.variant] = chosen
        self.costs[proposal.trial.variant] = {f"cost/{k}": v for k, v in proposal.cost.items()}

    def params_of(self, trial: Trial) -> dict[str, str]:
        """What varies, and what a reader of one run wants to know; the rest is in config.json."""
        config = trial.config
        params = {
            "variant": trial.variant,
            "seed": trial.seed,
            "backbone": config.backbone,
            "dataset": config.dataset,
            "epochs": config.epochs,
        }
        for key, value in self.params.get(trial.variant, {}).items():
            params[key] = "+".join(map(str, value)) if isinstance(value, list) else value
        return {key: str(value) for key, value in params.items()}


def comparison(sweep: Sweep) -> Phase:
    """The trials whose means the table shows; with overrides they are others, and shown apart."""
    name = sweep.label
    note = COMPARISON_NOTE.format(question=sweep.question, name=name)
    shades = colours(sweep.variants, sweep.baseline)
    return Phase(
        "comparison", name, name, name, note, sweep.distinct, sweep.varying(), colours=shades
    )


def search(sweep: Sweep) -> Phase:
    """The trials of a sweep's search; they become known as they are proposed."""
    note = SEARCH_NOTE.format(question=sweep.question)
    name = f"{sweep.label}/search"
    return Phase("search", name, name, name, note)


def summary(sweep: Sweep) -> Phase:
    """Means over seeds, and the report: not trials, but in an experiment of their own as well."""
    note = SUMMARY_NOTE.format(question=sweep.question)
    name = f"{sweep.label}/summary"
    return Phase("summary", name, name, sweep.name, note)
