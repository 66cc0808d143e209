"""Files of a run. Nothing is written into a folder that has moved away or is on another machine."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow.entities import Run

from runners.tracking import database
from runners.tracking.connection import Connection, say

# the folders that MLflow and this package make below a project's
_BELOW_PROJECT = re.compile(rf"(.+)/(?:{database.ARTIFACTS}|mlruns)/.*")


class Artifacts:
    """Logs files; used in tasks of the connection."""

    def __init__(self, connection: Connection):
        self.connection, self.said = connection, False

    def log_text(self, run: Run, text: str, name: str) -> None:
        if self._has_place(run):
            self.connection.client.log_text(run.info.run_id, text, name)

    def log_files(self, run: Run, paths: list[Path]) -> None:
        if self._has_place(run):
            for path in paths:
                self.connection.client.log_artifact(run.info.run_id, str(path))

    def names(self, run: Run) -> set[str]:
        """The files that it has."""
        if not self._has_place(run):
            return set()
        return {file.path for file in self.connection.client.list_artifacts(run.info.run_id)}

    def _has_place(self, run: Run) -> bool:
        """Whether the project in whose folder the database wants them is there."""
        folder = database.local_folder(run.info.artifact_uri or "")
        project = _BELOW_PROJECT.fullmatch(str(folder)) if folder else None
        if project is None or Path(project[1]).is_dir():
            return True
        if not self.said:
            say(
                f"MLflow keeps this experiment's artifacts in {project[1]}, which is not there: "
                "none"
                " are written; a server keeps them for every machine"
            )
        self.said = True
        return False
