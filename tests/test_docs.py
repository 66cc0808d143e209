"""The pages keep what they promise: links lead somewhere, commands and examples are valid."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from runners.__main__ import COMMANDS
from runners.plan import load

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*/README.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


class Parsed(Exception):
    """Raised in place of the command's work, once its options are read."""


def blocks(kind: str) -> list[tuple[str, str]]:
    """(page:line, text) of every fenced block of a kind."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            if match[1] == kind:
                line = text[: match.start()].count("\n") + 1
                found.append((f"{page.relative_to(ROOT)}:{line}", match[2]))
    return found


def commands() -> list[tuple[str, str]]:
    """(module, arguments) of every `python -m` and `sweeps` on the pages, inline or in a block."""
    text = "\n".join(page.read_text() for page in PAGES)
    lines = [
        *re.findall(r"^python -m (.*)$", text, re.M),
        *re.findall(r"`python -m ([^`]*)`", text),
    ]
    # `sweeps NAME` is the module of that name
    for start, name, arguments in re.findall(r"(^|`)sweeps (\w+)( [^`\n]+)", text, re.M):
        if start or name in COMMANDS:  # else it is a line of prose
            module, before, _ = COMMANDS[name]
            lines.append(" ".join([module, *before]) + arguments)
    found = dict.fromkeys(line.split("  ")[0].split(" #")[0].strip() for line in lines)
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("module, arguments", commands(), ids=[f"{m} {a}" for m, a in commands()])
def test_a_command_has_valid_options_and_files(module, arguments, monkeypatch):
    if module.startswith("tests.") or module == "pytest":
        assert module == "pytest" or (ROOT / f"{module.replace('.', '/')}.py").is_file()
        return
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *args, **kwargs):
        raise Parsed(parse(self, *args, **kwargs))

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    argv = shlex.split(arguments)
    argv = [name for a in argv for name in (sorted(map(str, Path().glob(a))) if "*" in a else [a])]
    name = (
        module
        if importlib.util.find_spec(module).submodule_search_locations is None
        else f"{module}.__main__"
    )
    monkeypatch.setattr(sys, "argv", [module, *argv])
    with pytest.raises(Parsed) as parsed:
        importlib.import_module(name).main(argv)
    options = vars(parsed.value.args[0])
    files = options.get("sweep") or options.get("sweeps") or []
    for file in [files] if isinstance(files, str) else files:
        load(file, options.get("set") or (), options.get("seeds"), options.get("only") or ())


@pytest.mark.parametrize("place, text", blocks("yaml"), ids=[p for p, _ in blocks("yaml")])
def test_a_sweep_file_on_a_page_can_be_planned(place, text, tmp_path):
    head = "question: q\nbaseline: R20\nbase: {backbone: resnet20, dataset: digits, conv: scconv}\n"
    if "question:" not in text:  # a part of a file
        text = f"{head}variants: {{R20: {{conv: standard}}}}\n{text}"
    (tmp_path / "page.yaml").write_text(text)
    assert load(tmp_path / "page.yaml").variants


@pytest.mark.parametrize("place, text", blocks("python"), ids=[p for p, _ in blocks("python")])
def test_an_example_runs_as_pasted(place, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(text, place, "exec"), {"__name__": "pasted"})  # noqa: S102 - our own pages
