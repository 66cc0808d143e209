"""How an experiment opens in MLflow's UI: a saved view, which the link to the charts names.

The UI keeps such a view in a tag of the experiment, `mlflow.sharedViewState.<key>`: JSON with the
state of the page, packed by zlib (MLflow 3.17; another version ignores what it does not know, and
opens the page as it is by default). Views that people save have keys of their own.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from runners.tracking.phase import Phase

KEY = "sweeps"
TAG = f"mlflow.sharedViewState.{KEY}"
RESULT, CURVES, COST = "result", "curves", "cost"  # sections of charts
LONGEST = 5000  # characters of an experiment's tag


def saved(phase: Phase) -> str:
    """The tag's value; the same phase has the same."""
    state = base64.b64encode(zlib.compress(json.dumps(_state(phase)).encode())).decode()
    view = {"name": "By variant", "createdAt": 1, "updatedAt": 1, "state": f"deflate;{state}"}
    return json.dumps(view)


def _state(phase: Phase) -> dict[str, Any]:
    """The page's: all runs, grouped by variant, the result's charts first."""
    searching = phase.kind == "search"
    score = "val/top1" if searching else "test/top1"
    charts = [
        *([] if searching else [_bar(score, RESULT)]),
        _scatter("cost/macs_m", score, RESULT),
        *(_line(metric, CURVES) for metric in ("val/top1", "train/top1", "train/loss")),
        *(_bar(metric, COST) for metric in ("cost/macs_m", "cost/minutes", "sys/images_per_s")),
    ]
    columns = [*phase.columns, "metrics.`test/top1`", "metrics.`val/top1`", "tags.`status`"]
    by_variant = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "variant"}],
    }
    return {
        "compareRunSections": [
            _section(RESULT, "Result"),
            _section(CURVES, "Curves"),
            _section(COST, "Cost"),
        ],
        "compareRunCharts": charts,
        "isAccordionReordered": True,
        "runsHiddenMode": "SHOWALL",
        "selectedColumns": columns,
        # the trials of a search are each a variant of their own
        "groupBy": None if searching else by_variant,
    }


def _section(uuid: str, name: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }


def _chart(kind: str, name: str, section: str) -> dict[str, Any]:
    return {
        "uuid": f"{kind}-{name}",
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": name,
    }


def _bar(metric: str, section: str) -> dict[str, Any]:
    return _chart("BAR", metric, section) | {"metricKey": metric}


def _line(metric: str, section: str) -> dict[str, Any]:
    return _chart("LINE", metric, section) | {
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _scatter(x: str, y: str, section: str) -> dict[str, Any]:
    return _chart("SCATTER", f"{y} over {x}", section) | {
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
        "tooltipDataKeys": [],
    }
