"""Fixtures, and the check of every shape that a signature states (jaxtyping with beartype; in tests
only).
"""

import functools
import inspect
import signal
from collections.abc import Callable
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook(["scconv", "runners.data"], "beartype.beartype")

import pytest  # noqa: E402 - after the hook
import torch  # noqa: E402
import yaml  # noqa: E402

torch.set_num_threads(1)
for number in (signal.SIGINT, signal.SIGHUP):
    # started with nohup or in a shell's background, whose programs ignore these, and with them all
    # that they start; tests send them
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# a test that comes to one of these names, itself or by its fixtures and helpers, starts processes
PROCESSES = {"subprocess", "Popen", "ray", "Moto", "NotebookClient"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes `slow`: `make quick` leaves it out, and the others begin with it."""
    for item in items:
        functions = [
            definition[-1].func for definition in item._fixtureinfo.name2fixturedefs.values()
        ]
        # `place` takes its bucket, and with it a server, by its parameter
        served = "[bucket" in item.name
        if served or any(PROCESSES & names_of(f) for f in (item.function, *functions)):
            item.add_marker("slow")
    # the long files come first, so that no process is idle at the end
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@functools.cache
def names_of(function: Callable) -> frozenset[str]:
    """All names that a function uses, and the functions of the tests that it calls."""
    found, functions = set(), [function]
    while functions:
        function = inspect.unwrap(functions.pop())
        codes = [getattr(function, "__code__", None)]
        while codes:
            if (code := codes.pop()) is None:
                continue
            codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
            for name in code.co_names:
                used = function.__globals__.get(name)
                module = getattr(used, "__module__", None) or ""
                if name not in found and module.startswith("tests") and callable(used):
                    functions.append(
                        getattr(used, "__init__", used) if inspect.isclass(used) else used
                    )
                found.add(name)
    return frozenset(found)


@pytest.fixture(autouse=True)
def no_clock(monkeypatch):
    """No plan within this process times a network: only the tests of that do, in their own."""
    from runners.trial import pace

    monkeypatch.setattr(pace, "_measured", lambda *arguments: {})


TINY = {
    "question": "Does it work?",
    "baseline": "R20",
    "base": {
        "backbone": "resnet20",
        "dataset": "synthetic",
        "recipe": "short",
        "epochs": 2,
        "batch_size": 32,
    },
    "variants": {"R20": {"conv": "standard"}, "S+C": {"conv": "scconv"}},
    "seeds": 2,
}


@pytest.fixture
def write_sweep(tmp_path: Path):
    """write_sweep(name, **changes to the tiny sweep) -> path of its file."""

    def write(name: str = "tiny", **changes) -> Path:
        content = {k: v for k, v in (TINY | changes).items() if v is not None}
        content["base"] = TINY["base"] | (changes.get("base") or {})
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        return path

    return write
