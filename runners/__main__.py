"""sweeps: one command in front of the modules, each of which may also be run by its own name.

sweeps run sweeps/order.yaml            is python -m runners.sweep sweeps/order.yaml
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata

from runners.errors import suggest

# name -> (module, the arguments before a person's own, what it does)
COMMANDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "run": ("runners.sweep", (), "run a sweep; the same command again continues it"),
    "plan": ("runners.sweep", ("--plan",), "say what would run, and what it costs"),
    "status": ("runners.shell.status", (), "where each trial stands, while a sweep runs, too"),
    "logs": ("runners.shell.logs", (), "the log of a trial's workers, followed"),
    "ls": ("runners.shell.ls", (), "all sweeps of a store, and the disk that they use"),
    "rm": ("runners.shell.rm", (), "remove a trial, or a sweep's trials; asks"),
    "ui": ("runners.tracking.ui", (), "MLflow over the sweeps, for this machine alone"),
    "report": ("analysis.report", (), "tables, figures and a page of the finished trials"),
    "inspect": ("runners.inspect", (), "per-class scores and feature maps of finished trials"),
    "train": ("runners.train", (), "one trial in this process, for a debugger"),
    "check": ("scconv.check", (), "test a convolution of your own against the contract"),
    "cost": ("scconv.cost.__main__", (), "a paper's table, built and counted"),
}


def usage() -> str:
    """The commands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {does}" for name, (_, _, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: sweeps COMMAND ...",
            "",
            "Which way of building a network is better, by how much, at what cost, and how sure?",
            "",
            *lines,
            "",
            "`sweeps COMMAND --help` has its options.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """The status of the command; 2: there is no such command."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"scconv-sweeps {metadata.version('scconv-sweeps')}")
        return 0
    if name not in COMMANDS:
        print(f"sweeps: no command is called {name!r}{suggest(name, COMMANDS)}", file=sys.stderr)
        return 2
    module, before, _ = COMMANDS[name]
    if argv is None:
        sys.argv = [f"sweeps {name}", *rest]  # for the usage line
    return importlib.import_module(module).main([*before, *rest])


if __name__ == "__main__":
    sys.exit(main())
