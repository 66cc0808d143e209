"""The part of a trial's identity that is its data's, and the shape that its network must have.

Data with published checksums adds nothing to an identity: its name says it all. Of all other data,
the identity has the digest of every pixel and label; of image files, of every training file's
bytes, and of the names and labels of the test files. So a damaged test image can be replaced
without training again; that the test images are not the same any more is said by the digest of
everything, which a record has.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runners.data import arrays, faults, image_check
from runners.data.arrays import Arrays
from runners.data.source import Source, find, root_of
from runners.plan import Data


def measured(
    name: str,
    root: str | Path | None,
    cache: Path | None,
    path: str = "",
    options: Mapping[str, Any] | None = None,
    *,
    check: bool = True,
) -> Data | None:
    """What there is to know of a data set before anything is trained; needs no torch.

    Args:
        root: the folder with its files; cache: where what was measured is remembered.
        path: the user's file, for a data set of one's own.
        check: refuse image files that cannot be read.

    Returns:
        None where it need not be measured: its checksums are published, or its files are not there
        and the name says its shape.

    Raises:
        ValueError: it is not there, or cannot be read; says which file, and the way out.
    """
    source, folder = find(name, path, options), root_of(root)
    files = source.files(folder)
    if source.checked(folder) and not files:
        return None
    stamp = f"measured-{source.name}-{source.stamp(files)}.json" if cache and files else ""
    if cache and stamp and (known := _remembered(cache / stamp)):
        return known
    found = _measure(source, folder, cache, check)
    if cache and stamp:
        _remember(cache / stamp, found)
    return found


def _measure(source: Source, root: Path, cache: Path | None, check: bool) -> Data:
    found = source.read(root, cache)
    if found[0].ndim == 1:
        return _of_files(source, found, cache, check, source.held(root))
    digest = identity = source.digests(found)[0]
    # which images are held out is the data's as well
    if held := source.held(root):
        identity = hashlib.sha256(f"{digest} {held}".encode()).hexdigest()[:16]
    content = getattr(source.module, "CONTENT", "")
    # the published images in another order are the same data set
    same = source.checked(root) or (bool(content) and arrays.in_any_order(found) == content)
    h, w = found[0].shape[1:3]
    return Data(_classes(source, found), (3, h, w), "" if same else identity, digest, digest)


def _of_files(source: Source, found: Arrays, cache: Path | None, check: bool, held: int) -> Data:
    train, train_labels, test, test_labels = found
    paths = [*train.tolist(), *test.tolist()]
    opened = image_check.open_all(paths, cache)
    if check and opened.problems:
        said = faults.several(opened.problems, len(paths))
        raise ValueError(f"dataset '{source.name}': {said}")
    root = image_check.common_folder(paths)
    identity, contents = hashlib.sha256(f"{held or ''}".encode()), hashlib.sha256()
    labels = [*train_labels.tolist(), *test_labels.tolist()]
    for i, (path, label, digest) in enumerate(zip(paths, labels, opened.digests, strict=True)):
        entry = f"{os.path.relpath(path, root)} {label}"
        identity.update(os.fsencode(f"{entry} {digest if i < len(train) else ''}\n"))
        contents.update(os.fsencode(f"{entry} {digest}\n"))
    side = source.setting("SIZE")
    return Data(
        classes=_classes(source, found),
        image=(3, side, side),
        identity=identity.hexdigest()[:16],
        digest=source.digests(found)[0],
        contents=contents.hexdigest()[:16],
    )


def _classes(source: Source, found: Arrays) -> int:
    return source.setting("CLASSES") or int(found[1].max()) + 1


def _remembered(path: Path) -> Data | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Data(**raw | {"image": tuple(raw["image"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remember(path: Path, found: Data) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(vars(found)), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        pass  # a full disk: it is measured again next time
