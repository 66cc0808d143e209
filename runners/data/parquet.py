"""Images in Parquet files, as the Hugging Face hub has them; nothing in them is unpickled."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runners.data import faults


def read(files: Sequence[Path], image: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, bytes (n, h, w, 3), and labels (n,) of the columns of these names.

    Raises:
        ValueError: a file is missing, cannot be read, or has other columns; names it.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError(
            "reading Parquet files needs pyarrow, which is not installed: pip install pyarrow"
        ) from None
    _check_parts(files)
    schemas = []
    for file in files:
        try:
            schemas.append({*pq.read_schema(file).names})
        except (OSError, ValueError) as error:
            schemas.append(faults.reason(file, error, "a Parquet file"))
    if problems := [found for found in schemas if isinstance(found, str)]:
        raise ValueError(faults.several(problems, len(files)))
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for file, columns in zip(files, schemas, strict=True):
        if missing := {image, label} - {*columns}:
            raise ValueError(
                f"{file}: has no column {' and '.join(sorted(missing))}; "
                "CIFAR-100 as the Hugging Face hub has it is expected"
            )
        try:
            table = pq.read_table(file, columns=[image, label])
        except (OSError, ValueError) as error:
            raise ValueError(faults.reason(file, error, "a Parquet file")) from None
        labels.append(table[label].to_numpy())
        images += _decoded(file, table[image].to_pylist())
    return np.stack(images), np.concatenate(labels).astype(np.int64)


def _decoded(file: Path, rows: Sequence[Any]) -> list[np.ndarray]:
    from PIL import Image

    images: list[np.ndarray] = []
    for i, row in enumerate(rows):
        try:
            pixels = np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB"))
        except Exception as error:  # a damaged image fails in many ways
            raise ValueError(
                f"{file}: row {i} cannot be read as an image ({faults.said(error)}); fetch the "
                "file again"
            ) from None
        if images and pixels.shape != images[0].shape:
            raise ValueError(
                f"{file}: row {i} is an image of {pixels.shape}, those before it of "
                f"{images[0].shape}; all must have one size"
            )
        images.append(pixels)
    return images


def _check_parts(files: Sequence[Path]) -> None:
    """A file `train-00000-of-00003.parquet` says how many there are: a third is not the data
    set.
    """
    for file in files:
        if match := re.fullmatch(r"(.+)-(\d+)-of-(\d+)\.parquet", file.name):
            stem, width, parts = match[1], len(match[2]), int(match[3])
            there = {f.name for f in files}
            every = [f"{stem}-{i:0{width}}-of-{match[3]}.parquet" for i in range(parts)]
            if missing := [name for name in every if name not in there]:
                raise ValueError(
                    f"{file.parent}: {', '.join(missing[: faults.MOST_NAMED])} "
                    f"of {parts} files is missing; download the rest"
                )
