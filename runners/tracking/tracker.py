"""The one file that knows MLflow's keys. MLflow is a projection of the store: it can be lost and made again.

    python -m runners.tracking rebuild sweeps/order.yaml

One experiment per sweep, one flat run per trial; aggregates in a sibling experiment `<sweep>/summary`. Only the driver writes, so a
sweep is one writer however many workers it has. MLflow's troubles never stop a training: they are said once, and the next start catches up.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from runners.plan import Sweep, Trial
from runners.search.study import Proposal
from runners.store import Epoch, Record, Result, State

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
)
import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

DEFAULT_URI = "sqlite:///mlflow.db"
QUIET_S = 20.0
STATUS = {
    State.FINISHED: "FINISHED",
    State.DIVERGED: "FAILED",
    State.FAILED: "FAILED",
    State.PRUNED: "KILLED",
}
NOTE = """**{question}**

One run per trial: a variant and a seed. Open the *Chart* view, group by `variant`; filter with `params.variant = "S+C"` or
`tags.status = "finished"`. `val/...` is a split of the training data; `test/...` was read once, after the last epoch.
Means over seeds and the report are in the experiment `{name}/summary`."""

SEARCH_NOTE = """**{question}**

One run per trial of the search: a cell of its space, judged on validation images; none reads the test set. Open the *Chart* view and
plot `val/top1` against `cost/macs_m`, or compare runs in parallel coordinates. What was found is compared in the sweep's own experiment."""


def _forgiving(method: Callable) -> Callable:
    """Let no error of MLflow's out; say the first one."""

    @functools.wraps(method)
    def wrapped(self: Tracker, *args: Any) -> Any:
        if (
            time.monotonic() < self.quiet_until
        ):  # a server that is away must not hold up every epoch
            return None
        try:
            return method(self, *args)
        except Exception as error:
            if not self.troubled:
                print(
                    f"MLflow: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
                    file=sys.stderr,
                )
                print(
                    "MLflow: training goes on; the next start of this sweep catches up",
                    file=sys.stderr,
                )
            self.troubled, self.quiet_until = True, time.monotonic() + QUIET_S

    return wrapped


class Tracker:
    """A sweep's runs in MLflow. `store` is the identity of the store whose trials they are.

    Raises:
        Exception: whatever MLflow raises where `uri` cannot be opened: before anything is launched, that should stop the sweep.
    """

    def __init__(self, sweep: Sweep, uri: str = DEFAULT_URI, store: str = "", note: str = NOTE):
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(
            logging.CRITICAL
        )  # it prints a traceback of what it raises as well
        self.uri, self.sweep, self.troubled = _absolute(uri), sweep, False
        self.quiet_until, self.store = 0.0, store
        _create_database(self.uri)
        self.client = mlflow.MlflowClient(self.uri)
        self.factors = sweep.varying()
        self.costs: dict[
            str, dict[str, float]
        ] = {}  # variant -> what is known before it is trained, for the charts of a search
        self.experiment = self._experiment(
            sweep.name, note.format(question=sweep.question, name=sweep.name)
        )
        self.runs = self._load(sweep.trials)

    @classmethod
    def of_search(cls, sweep: Sweep, uri: str = DEFAULT_URI, store: str = "") -> Tracker:
        """The tracker of a sweep's search, whose trials have an experiment of their own."""
        return cls(
            replace(sweep, name=f"{sweep.name}/search", variants={}, settled=True),
            uri,
            store,
            SEARCH_NOTE,
        )

    @_forgiving
    def adopt(self, sweep: Sweep) -> None:
        """The same sweep, now that its search has said what is compared."""
        self.sweep, self.factors = sweep, sweep.varying()
        self.runs = self._load(sweep.trials)

    def learn(self, proposal: Proposal) -> None:
        """What a search's trial chose, and what is known of it before it is trained."""
        assert proposal.trial
        chosen = {k.removeprefix("options."): v for k, v in proposal.cell.items()}
        self.factors[proposal.trial.variant] = chosen | (
            {"variant": proposal.variant} if proposal.variant else {}
        )
        self.costs[proposal.trial.variant] = {f"cost/{k}": v for k, v in proposal.cost.items()}

    @property
    def link(self) -> str:
        """What to open: today's UI starts in another mode, and only this address shows the charts.

        $MLFLOW_UI_URL is for a server that a browser reaches by another address than the sweep does, such as one in a container.
        """
        base = os.environ.get("MLFLOW_UI_URL") or (
            self.uri if self.uri.startswith("http") else "http://127.0.0.1:5000"
        )
        return f"{base.rstrip('/')}/#/experiments/{self.experiment}/runs?workflowType=machine_learning&compareRunsMode=CHART"

    @property
    def charts(self) -> str:
        """What to do to see them."""
        return f"{self.command}, then {self.link}" if self.command else self.link

    @property
    def command(self) -> str:
        """How to start the UI, where there is no server yet."""
        if self.uri.startswith("http"):
            return ""
        return (
            "mlflow ui"
            if self.uri == _absolute(DEFAULT_URI)
            else f"mlflow ui --backend-store-uri '{self.uri}'"
        )

    def reconcile(self, trials: Iterable[Trial], record: Callable[[str], Record | None]) -> None:
        """Make MLflow agree with the store: every ended trial has its whole run, and no run of a dead driver is left RUNNING."""
        self.quiet_until = 0.0
        for trial in trials:
            run = self.runs.get(trial.id)
            if (
                run is None or run.info.status != "FINISHED" or "complete" not in run.data.tags
            ) and (ended := record(trial.id)):
                self.end(trial, ended)
        self.quiet_until = 0.0
        self.close()

    @_forgiving
    def start(self, trial: Trial) -> None:
        """A run for the trial: made, or opened again."""
        if trial.id not in self.runs:
            self._create(trial)
        elif self.runs[trial.id].info.status != "RUNNING":
            run_id = self.runs[trial.id].info.run_id
            self.client.log_batch(
                run_id, tags=[RunTag("status", str(State.RUNNING))], params=self._params(trial)
            )
            self.client.update_run(run_id, status="RUNNING")
            self._refresh(trial)

    @_forgiving
    def log(self, trial: Trial, epochs: list[Epoch]) -> None:
        """The epochs that the run does not have yet, each once."""
        self._log(trial, epochs)

    def _log(self, trial: Trial, epochs: list[Epoch]) -> None:
        if trial.id not in self.runs:
            self._create(trial)
        run_id = self.runs[trial.id].info.run_id
        have = self._logged(run_id)
        new = [e for e in epochs if e.epoch not in have]
        for i in range(
            0, len(new), 50
        ):  # whole epochs at a time, since one metric of an epoch stands for all; MLflow takes 1,000
            self.client.log_batch(
                run_id, metrics=[m for e in new[i : i + 50] for m in _epoch_metrics(e)]
            )
            have.update(e.epoch for e in new[i : i + 50])

    @_forgiving
    def end(self, trial: Trial, record: Record) -> None:
        """The whole of an ended trial: epochs, final figures, config, evidence."""
        self._log(trial, record.epochs)
        run_id = self.runs[trial.id].info.run_id
        ended = record.epochs[-1].ended if record.epochs else time.time_ns() // 1_000_000
        finals = [
            *(_final_metrics(record.result) if record.result else ()),
            *self.costs.get(trial.variant, {}).items(),
        ]
        if finals:
            self.client.log_batch(
                run_id, metrics=[Metric(k, v, ended, 0) for k, v in finals]
            )  # step 0: bars in the UI
        tags = {
            "status": str(record.status),
            "reason": record.reason[:500],
            **{f"env.{k}": str(v) for k, v in record.provenance.items()},
        }
        self.client.log_batch(
            run_id, tags=[RunTag(k, v) for k, v in tags.items()], params=self._params(trial)
        )
        if digest := record.provenance.get("data"):
            name = trial.config.dataset
            source = Dataset(
                name=name,
                digest=str(digest),
                source_type="runners.data",
                source=json.dumps({"name": name}),
            )
            self.client.log_inputs(
                run_id, [DatasetInput(source, [InputTag("mlflow.data.context", "training")])]
            )
        self.client.log_text(
            run_id, json.dumps(record.config | {"seed": record.seed}, indent=1), "config.json"
        )
        self.client.set_tag(run_id, "complete", "yes")
        self.client.set_terminated(run_id, STATUS[record.status], ended)
        self._refresh(trial)

    @_forgiving
    def close(self) -> None:
        """Mark what still reads RUNNING as KILLED: an interrupted trial's run is opened again when the trial goes on."""
        for key, run in self.runs.items():
            if run.info.status == "RUNNING":
                self.client.set_tag(run.info.run_id, "status", "interrupted")
                self.client.set_terminated(run.info.run_id, "KILLED")
                self.runs[key] = self.client.get_run(run.info.run_id)

    @_forgiving
    def summarise(self, lines: list[dict[str, Any]], ended: int, files: list[Path]) -> None:
        """Aggregates per variant ({"variant", "metrics"}), and the sweep's own run with its report, in the sibling experiment."""
        experiment = self._experiment(
            f"{self.sweep.label}/summary",
            f"**{self.sweep.question}**\n\nMeans over seeds; the report is in the run `report`.",
        )
        lines = [*lines, {"variant": "", "metrics": {}}]  # the sweep's own
        wanted = {
            line["variant"]: {k: float(v) for k, v in line["metrics"].items() if v is not None}
            for line in lines
        }
        for run in self._search(
            experiment
        ):  # a metric's history cannot be taken back: figures that changed get a new run
            if (
                run.data.metrics != wanted.get(run.data.tags.get("variant", ""))
                or not run.data.tags["variant"]
            ):
                self.client.delete_run(run.info.run_id)
            else:
                del wanted[run.data.tags["variant"]]
        for name, metrics in wanted.items():
            run_id = self.client.create_run(
                experiment, tags={"variant": name}, run_name=name or "report"
            ).info.run_id
            self.client.log_batch(
                run_id, metrics=[Metric(k, v, ended, 0) for k, v in metrics.items()]
            )
            for file in [] if name else files:
                self.client.log_artifact(run_id, str(file))
            self.client.set_terminated(run_id)

    def _load(self, trials: list[Trial]) -> dict[str, Run]:
        """trial id -> its run, of this store alone: another store's are other trainings. One that went by another name is made anew."""
        planned = {t.id: t for t in trials}
        runs = {}
        for run in self._search(self.experiment):
            if run.data.tags.get("store") != self.store or "trial" not in run.data.tags:
                continue
            trial = planned.get(run.data.tags["trial"])
            if trial and any(
                run.data.params.get(p.key, p.value) != p.value for p in self._params(trial)
            ):
                self.client.delete_run(run.info.run_id)  # a param cannot be changed
            else:
                runs[run.data.tags["trial"]] = run
        return runs

    def _experiment(self, name: str, note: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        if found:
            return found.experiment_id
        tags = {
            "mlflow.note.content": note,
            "mlflow.experimentKind": "custom_model_development",
            "sweep": self.sweep.name,
        }
        return self.client.create_experiment(
            name, artifact_location=_artifacts(self.uri, name), tags=tags
        )

    def _search(self, experiment: str) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs([experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, trial: Trial) -> None:
        # run and tags come into being together, so that a kill leaves no run without its trial
        tags = {
            "trial": trial.id,
            "sweep": trial.sweep,
            "variant": trial.variant,
            "seed": str(trial.seed),
            "status": str(State.RUNNING),
            "store": self.store,
        }
        self.runs[trial.id] = self.client.create_run(
            self.experiment, tags=tags, run_name=trial.name
        )
        self.client.log_batch(self.runs[trial.id].info.run_id, params=self._params(trial))

    def _params(self, trial: Trial) -> list[Param]:
        """What varies, and what a reader of one run wants to know; the rest is in config.json."""
        config = trial.config
        params = {
            "variant": trial.variant,
            "seed": trial.seed,
            "backbone": config.backbone,
            "dataset": config.dataset,
            "epochs": config.epochs,
        }
        params |= {
            k: "+".join(map(str, v)) if isinstance(v, list) else v
            for k, v in self.factors.get(trial.variant, {}).items()
        }
        return [Param(k, str(v)) for k, v in params.items()]

    def _refresh(self, trial: Trial) -> None:
        self.runs[trial.id] = self.client.get_run(self.runs[trial.id].info.run_id)

    @functools.cache  # noqa: B019 - a tracker lives as long as the process
    def _logged(self, run_id: str) -> set[int]:
        """The epochs a run has: read once, then kept up to date by `log`."""
        return {m.step for m in self.client.get_metric_history(run_id, "train/loss")}


def _epoch_metrics(e: Epoch) -> list[Metric]:
    values = {f"train/{k}": v for k, v in e.train.items()}
    values |= {f"val/{k}": v for k, v in e.val.items()}
    values |= {"lr": e.lr, "sys/images_per_s": e.images_per_s, "sys/epoch_s": e.seconds}
    values |= {f"sys/{k}": v for k, v in e.sys.items()}
    return [Metric(k, v, e.ended, e.epoch) for k, v in values.items()]


def _final_metrics(r: Result) -> list[tuple[str, float]]:
    millions = {
        "cost/params_m": r.params / 1e6,
        "cost/macs_m": r.macs / 1e6,
        "cost/paper_flops_m": r.paper_flops / 1e6,
    }
    measured = {
        "cost/images_per_s": r.images_per_s,
        "cost/peak_memory_gb": r.peak_memory_gb,
        "cost/minutes": r.minutes,
    }
    scores = {f"test/{name}": value for name, value in r.scores.items()}
    return [*(scores | millions | measured).items()]


def _absolute(uri: str) -> str:
    """A relative sqlite path made absolute: MLflow's own default is relative to the working directory."""
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"
    return uri


def _artifacts(uri: str, name: str) -> str | None:
    """Beside a local database; a server knows its own place."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts" / name).as_uri()


def _create_database(uri: str) -> None:
    """Build a new sqlite database aside and move it into place: a kill in MLflow's long first migration leaves one that never opens."""
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///"))
    for litter in path.parent.glob(f".{path.name}.*.new*"):
        if not _alive(int(litter.name.removeprefix(f".{path.name}.").split(".")[0])):
            litter.unlink(missing_ok=True)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.redirect_stderr(open(os.devnull, "w")):  # the migrations' log
        mlflow.MlflowClient(f"sqlite:///{aside}").search_experiments(max_results=1)
    with contextlib.suppress(FileExistsError):  # another driver was first
        os.link(aside, path)
    aside.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
