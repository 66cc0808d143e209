"""Planning, training and reporting import without what Unix alone has."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# as on Windows, as far as Linux can be made to look so
WITHOUT_UNIX = """
import os, sys
sys.modules["fcntl"] = sys.modules["resource"] = None
del os.getuid
import getpass
getpass.getuser = lambda: "me"
"""


def test_without_unix_a_sweep_is_planned_a_trial_trained_and_reported(write_sweep, tmp_path):
    path = write_sweep(base={"epochs": 1}, seeds=1)
    code = WITHOUT_UNIX + (
        "from runners import __main__ as sweeps\n"
        "for command in (['plan'], ['train', '--variant', 'R20'], ['report'], ['status']):\n"
        f"    assert sweeps.main([command[0], {path.name!r}, *command[1:]]) == 0, command\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 trials (2 variants x 1 seeds): 2 new" in done.stdout
    assert "tiny: 1 new, 1 finished" in done.stdout
    assert (tmp_path / "results" / "tiny" / "report.html").is_file()
