"""A finished trial's weights.pt: written with the record that names its SHA-256, checked when
read.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

from runners.errors import SweepError


def check(content: bytes, sha256: str, path: str) -> None:
    """Weights that can be used; `path` names them in the error.

    Raises:
        SweepError: they are damaged; says the way out.
    """
    try:
        _check_intact(content, sha256)
    except ValueError as error:
        raise SweepError(
            f"{path}: these weights are damaged: {error}; restore them from a backup, or move the"
            " trial's folder away and the same command trains it again"
        ) from None


def _check_intact(content: bytes, sha256: str) -> None:
    """The file is as it was written; without `sha256`, as an older record, by torch's own CRC-32.

    Raises:
        ValueError: it is damaged; says how that was found.
    """
    if sha256:
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its checksum is not the one in record.json")
        return
    # torch writes a zip archive, and does not check its sums when it reads
    try:
        damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if damaged:
        raise ValueError(f"the checksum of {damaged} in it is wrong")


def packed(state: dict[str, Any]) -> memoryview:
    """Tensors and plain values as torch writes them."""
    import torch

    content = io.BytesIO()
    torch.save(state, content)
    return content.getbuffer()


def unpacked(content: bytes | memoryview) -> dict[str, Any]:
    """What `packed` wrote, on the CPU; nothing is unpickled but tensors and plain values."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
