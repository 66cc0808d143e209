"""torch.compile: a trial's numbers do not depend on what its process has compiled before."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from runners.plan import Config, Trial
from runners.store import Store
from runners.trial import compiled
from runners.trial.compiled import Compiled

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def shifted(graph, inputs):
    """A backend whose numbers are not those of the uncompiled network; it needs no compiler."""
    return lambda *args: tuple(y * 1.001 for y in graph(*args))


class Net(nn.Module):
    """One `forward` for networks of any width, as a backbone has for all variants."""

    def __init__(self, width: int, pause: bool = False):
        super().__init__()
        self.layer, self.pause = nn.Linear(2, width), pause

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if self.pause:
            torch._dynamo.graph_break()
        return y.exp()  # no output that is zero, and so the same when it is shifted


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", shifted)
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def is_compiled(model: nn.Module, run: Compiled, images: int) -> bool:
    x = torch.randn(images, 2)
    if torch.equal(run(x), model(x)):
        return False
    assert torch.equal(run(x), model(x) * 1.001)
    return True


def test_twenty_networks_of_one_forward_are_all_compiled():
    """Dynamo keeps 8 graphs of a forward."""
    for width in range(1, 21):
        run = Compiled(model := Net(width), 4)
        assert is_compiled(model, run, 4) and run.outcome == "yes"


def test_a_smaller_batch_runs_uncompiled():
    run = Compiled(model := Net(3), 4)
    assert is_compiled(model, run, 4) and not is_compiled(model, run, 3)
    assert run.outcome == "yes"


def test_it_says_that_torch_ran_it_uncompiled(monkeypatch):
    """As torch does, with a warning alone, once it has too many graphs."""
    with torch._dynamo.config.patch(recompile_limit=1):
        assert Compiled(Net(3), 4)(torch.randn(4, 2)).shape == (4, 3)
        monkeypatch.setattr(torch.compiler, "reset", lambda: None)
        run = Compiled(model := Net(5), 4)
        assert not is_compiled(model, run, 4) and run.outcome.startswith("no: ")


def test_it_says_that_a_part_was_not_compiled():
    run = Compiled(Net(3, pause=True), 4)
    run(torch.randn(4, 2))
    assert run.outcome.startswith("in parts: 2 graphs")


@pytest.mark.parametrize(
    "before, ran, outcome",
    [
        ("", False, "unknown"),
        ("yes", False, "yes"),
        ("yes", True, "yes"),
        ("no: a reason", True, "no: a reason"),
        ("unknown", True, "unknown"),
    ],
)
def test_it_speaks_of_all_epochs_also_after_a_restart(before, ran, outcome):
    run = Compiled(Net(3), 4)
    run.before = before
    if ran:
        run(torch.randn(4, 2))
    assert run.outcome == outcome


TRIAL = """
import sys
import torch
from runners.plan import Config, Trial
from runners.store import Store
from runners.trial import compiled
from runners.trial.run import run

compiled.BACKEND = lambda graph, inputs: lambda *args: tuple(y * 1.001 for y in graph(*args))
torch._dynamo.config.recompile_limit = 2
torch.set_num_threads(1)
for conv in sys.argv[2:]:
    config = Config("resnet20", "synthetic", conv, compile=True, epochs=1, batch_size=64)
    list(run(Trial("s", conv, config, 0), Store(sys.argv[1]), device="cpu"))
"""


def test_a_trial_after_other_variants_has_the_losses_of_a_fresh_process(tmp_path):
    """In processes without shape checks, which Dynamo cannot trace."""
    config = Config("resnet20", "synthetic", "group", compile=True, epochs=1, batch_size=64)
    records = []
    for convs in (["group"], ["standard", "tied", "group"]):
        line = [sys.executable, "-c", TRIAL, str(tmp_path / convs[0]), *convs]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        store = Store(tmp_path / convs[0])
        records.append(store.record(Trial("s", "group", config, 0).id))
    alone, after = records
    assert alone.epochs[0].train_loss == after.epochs[0].train_loss
    assert alone.provenance["compiled"] == after.provenance["compiled"] == "yes"
