"""What stands beside a number so that it can be believed: the code, the machine, the packages."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PATCH_BYTES = 1_000_000  # of a larger patch only the digest is kept
PACKAGES = ("scconv", "runners")  # the code that a trial runs
KINDS = ("py", "csv")  # of files that git does not know yet and that are code all the same
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Code:
    """A state of the code: the commit, and what was changed since, as a patch.

    `dirty` is "yes", "no" or "unknown". Files that git does not know yet count as changes, too.
    """

    commit: str = UNKNOWN
    dirty: str = UNKNOWN
    patch: str = ""

    @property
    def digest(self) -> str:
        """Of the patch; empty where there is none."""
        return hashlib.sha256(self.content).hexdigest()[:16] if self.patch else ""

    @property
    def content(self) -> bytes:
        """The patch as a file holds it."""
        return self.patch.encode(errors="surrogateescape")

    def evidence(self) -> dict[str, str]:
        """What a record says of it."""
        said = {"commit": self.commit, "dirty": self.dirty}
        if self.patch:
            said["patch"] = self.digest if self.kept else f"{self.digest} (too large to be kept)"
        return said

    @property
    def kept(self) -> bool:
        """Whether the patch is small enough to be kept in the store."""
        return 0 < len(self.content) <= PATCH_BYTES


def read_code(folder: Path | None = None) -> Code:
    """The code as it is on disk now.

    Outside a checkout: what was written down when the container image was built
    (docker/Dockerfile), else unknown.
    """
    folder = folder or Path(__file__).parent
    try:
        # a package that is installed inside another project's checkout is not that project's code
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit, patch = _head(folder), _patch(folder)
        return Code(commit, "yes" if patch else "no", patch)
    except (OSError, subprocess.SubprocessError):
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Code(**json.loads((folder / "commit.json").read_text()))
        return Code()


def _head(folder: Path) -> str:
    return _git(folder, "rev-parse", "--short=12", "HEAD").strip()


def _patch(folder: Path) -> str:
    """What a trial's code has that its commit does not: changes, and source files that are new."""
    plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv")
    paths = [f":/{package}" for package in PACKAGES]
    changes = [_git(folder, "diff", *plain, "HEAD", "--", *paths)]

    sources = [f":(top,glob){package}/**/*.{kind}" for package in PACKAGES for kind in KINDS]
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", *sources)
    top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    for name in filter(None, new.split("\0")):
        # git answers 1 where two files differ
        changes.append(_git(top, "diff", *plain, "--no-index", "/dev/null", name, accept=(0, 1)))
    return "".join(changes)


def _git(folder: Path, *args: str, accept: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, timeout=20)
    if done.returncode not in accept:
        raise subprocess.SubprocessError(done.stderr)
    return done.stdout.decode(errors="surrogateescape")


# read when this module is imported, together with the rest of the code: at a trial's end another
# commit may be checked out
CODE = read_code()


def moved() -> dict[str, str]:
    """The commit that is checked out now, where it is no longer the one that this process runs."""
    if CODE.commit == UNKNOWN:
        return {}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        now = _head(Path(__file__).parent)
        return {"commit_at_end": now} if now != CODE.commit else {}
    return {}


def machine(cuda: Any = None) -> dict[str, str]:
    """Where the trial ran, and the versions of the packages that make its numbers.

    Args:
        cuda: torch, where the trial ran on a GPU of CUDA.
    """
    said = {"host": platform.node(), "python": platform.python_version()}
    for package in ("torchvision", "numpy", "numba"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            said[package] = metadata.version(package)
    for package in ("ray", "timm"):
        if module := sys.modules.get(package):
            said[package] = str(module.__version__)
    if cuda:
        said["cuda"] = str(cuda.version.cuda)
        said["cudnn"] = str(cuda.backends.cudnn.version())
        said["driver"] = driver()
    return said


@functools.cache
def cpu(file: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name and its widest instructions, such as Intel(R) Xeon(R), AVX512.

    PyTorch chooses its sums' order by both: another processor gives other last digits.
    """
    from torch.backends.cpu import get_cpu_capability

    return f"{processor(file)}, {get_cpu_capability()}"


def processor(file: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, such as AMD EPYC (family 25, model 17); needs no torch.

    Rented machines hide the generation in the name, and generations add in different orders.
    """
    with contextlib.suppress(OSError):
        text = file.read_text()
        said = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
        if name := " ".join(said.get("model name", "").split()):
            numbers = [said.get("cpu family"), said.get("model")]
            return f"{name} (family {numbers[0]}, model {numbers[1]})" if all(numbers) else name
    return platform.processor() or platform.machine()


@functools.cache
def driver(file: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of NVIDIA's driver, such as 550.54.15."""
    with contextlib.suppress(OSError):
        if found := re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", file.read_text()):
            return found[1]
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.split()[0] if done.stdout.strip() else UNKNOWN
    return UNKNOWN


if __name__ == "__main__":
    print(json.dumps(asdict(CODE)))
