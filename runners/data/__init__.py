"""Data sets by their names, one file each; as bytes in memory or as files on disk, and batches of
them.

A file of this folder, or of the user's, that defines `load(root, *, option=default)` is a data set;
the others read, check and measure what it returns: four arrays (runners/data/arrays.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.data.arrays import Arrays
from runners.data.measuring import measured
from runners.data.source import Source, find, root_of
from runners.plan import Config, Data, Own

if TYPE_CHECKING:
    from runners.data.dataset import Dataset

__all__ = ["by_lists", "held", "images", "load", "measured", "of_trial", "shape"]


def load(
    name: str,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    path: str = "",
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """The data set called `name`, without a validation split.

    Args:
        root: where its files are, or are downloaded to; default: DATA_ROOT, else `data`.
        cache: a folder for the pixels of data sets that are slow to decode.
        path: the file that defines it, for a data set of one's own; with its `options`.

    Raises:
        ValueError: no data set of that name, or it is neither there nor can it be downloaded, or
            cannot be read; says what to do.
    """
    from runners.data.dataset import prepare  # and torch with it

    source = find(name, path, options)
    folder = root_of(root)
    return prepare(source, source.read(folder, Path(cache) if cache else None), source.held(folder))


def of_trial(
    config: Config, own: Own, root: str | Path | None, cache: str | Path | None
) -> Dataset:
    """The data of a trial.

    Raises:
        ValueError: as `load`; or it is not what the trial was planned with.
    """
    from runners.data.dataset import prepare  # and torch with it

    source, found = _of_trial(config, own, root, cache)
    return prepare(source, found, source.held(root_of(root)))


def images(
    config: Config, own: Own, root: str | Path | None, cache: str | Path | None
) -> tuple[int, int]:
    """How many images a trial's data has to train on, of which a part may be held out, and to test.

    Reads all of it, as a trial will; pixels that are slow to decode are then in the cache.

    Raises:
        ValueError: as `of_trial`.
    """
    found = _of_trial(config, own, root, cache)[1]
    return len(found[0]), len(found[2])


def _of_trial(
    config: Config, own: Own, root: str | Path | None, cache: str | Path | None
) -> tuple[Source, Arrays]:
    source = find(config.dataset, own.dataset, config.dataset_options)
    found = source.read(root_of(root), Path(cache) if cache else None)
    digest = source.digests(found)[0]
    if own.data and own.data.digest and digest != own.data.digest:
        raise ValueError(
            f"dataset '{config.dataset}': the data in {root_of(root)} on this machine has digest "
            f"{digest}, the sweep was planned with {own.data.digest}; give every node the "
            "same data, and start the sweep again where it was edited"
        )
    return source, found


def held(config: Config, own: Own, root: str | Path | None) -> int:
    """How many images the data itself holds out for validation."""
    return 0 if own.dataset else find(config.dataset).held(root_of(root))


def by_lists(config: Config, own: Own) -> bool:
    """Whether a data set is a folder of images with lists."""
    return not own.dataset and bool(find(config.dataset).folder)


def shape(name: str, data: Data | None = None) -> tuple[int, tuple[int, int, int]]:
    """(classes, (c, h, w)): as measured, else as the package's own file says.

    Raises:
        ValueError: no data set of that name.
    """
    if data:
        return data.classes, data.image
    source = find(name)
    return source.setting("CLASSES"), source.setting("IMAGE")
