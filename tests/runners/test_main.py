"""`sweeps`: one command in front of the modules."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from runners import __main__ as sweeps

ROOT = Path(__file__).parents[2]


def test_the_console_script_is_this_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["sweeps"].partition(":")
    assert getattr(importlib.import_module(module), function) is sweeps.main


@pytest.mark.parametrize("name", sweeps.COMMANDS)
def test_each_command_has_help_under_its_own_name(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/sweeps", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        sweeps.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: sweeps {name} ")


def test_without_a_command_all_are_listed(capsys):
    assert sweeps.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in sweeps.COMMANDS)
    assert sweeps.main(["--version"]) == 0 and capsys.readouterr().out.startswith("scconv-sweeps ")


def test_a_mistyped_command_gets_its_nearest(capsys):
    assert sweeps.main(["stats"]) == 2
    assert capsys.readouterr().err == (
        "sweeps: no command is called 'stats': did you mean 'status'?\n"
    )
