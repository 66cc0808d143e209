"""How to look at what a tracker wrote: the command that starts the UI, and the page to open."""

from __future__ import annotations

import os
import shlex

from runners.redaction import mask, without_user
from runners.tracking import database

CHARTS = "workflowType=machine_learning&compareRunsMode=CHART"


def command(uri: str) -> str:
    """How to start the UI where there is no server yet; empty where there is one."""
    if uri.startswith("http"):
        return ""
    if uri == database.resolve(database.DEFAULT_URI):
        return "mlflow ui"
    return f"mlflow ui --backend-store-uri {shlex.quote(mask(uri))}"


def charts(uri: str, experiment: str) -> str:
    """The address of an experiment's charts, which today's UI shows at this address alone.

    $MLFLOW_UI_URL is for a server that a browser reaches by another address than the sweep does,
    such as one in a container.
    """
    served = uri if uri.startswith("http") else "http://127.0.0.1:5000"
    base = without_user(os.environ.get("MLFLOW_UI_URL") or served).rstrip("/")
    return f"{base}/#/experiments/{experiment}/runs?{CHARTS}"
