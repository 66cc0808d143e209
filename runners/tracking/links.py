"""How to look at what a tracker wrote: the command that starts the UI, and the page to open."""

from __future__ import annotations

import os
import shlex

from runners import output
from runners.redaction import mask, without_user
from runners.tracking import database, view

CHARTS = "workflowType=machine_learning&compareRunsMode=CHART"


def command(uri: str) -> str:
    """How to start the UI where there is no server yet; empty where there is one."""
    if uri.startswith("http"):
        return ""
    start = f"{output.program()} ui"
    if uri == database.resolve(database.DEFAULT_URI):
        return start
    return f"{start} --tracking-uri {shlex.quote(mask(uri))}"


def charts(uri: str, experiment: str) -> str:
    """The address of an experiment's charts in the view that the sweep has saved there.

    $MLFLOW_UI_URL is for a server that a browser reaches by another address than the sweep does,
    such as one in a container.
    """
    served = uri if uri.startswith("http") else "http://127.0.0.1:5000"
    base = without_user(os.environ.get("MLFLOW_UI_URL") or served).rstrip("/")
    return f"{base}/#/experiments/{experiment}/runs?{CHARTS}&viewStateShareKey={view.KEY}"
