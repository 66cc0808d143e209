"""Images too many for memory: a tree of files, decoded and cropped in worker processes while the network trains.

The crops are those of K. He et al. 2016 as torchvision's recipes have them: a random crop of 8 to 100 per cent of the area, resized, and a
flip, for training; the centre of the image resized to 8/7 of the size for everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

SIZE = 224


@dataclass(frozen=True)
class Files:
    """Images by their paths, and their class numbers. What is read comes as bytes (n, 224, 224, 3) on `device`."""

    paths: np.ndarray  # of str
    labels: Tensor
    device: torch.device | str = "cpu"

    size = (SIZE, SIZE)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Files:
        return replace(self, device=device)

    def subset(self, rows: Tensor) -> Files:
        return replace(self, paths=self.paths[rows.numpy()], labels=self.labels[rows])

    def read(
        self, rows: Tensor, batch_size: int, seeds: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of these images in this order: bytes (n, 224, 224, 3) and classes; cropped at random by their `seeds`, else at the centre.

        There are as many worker processes as torch has threads. What they make does not depend on how many they are.

        Raises:
            ValueError: a file is not an image; names it.
        """
        items = [
            *zip(
                rows.tolist(),
                seeds.tolist() if seeds is not None else [-1] * len(rows),
                strict=True,
            )
        ]
        plan = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        pinned = torch.device(self.device).type == "cuda"
        workers = torch.get_num_threads()
        loader = DataLoader(
            _Decoder(self.paths), batch_sampler=plan, num_workers=workers, pin_memory=pinned
        )  # type: ignore[arg-type]
        try:
            for images, index in loader:
                yield images.to(self.device, non_blocking=True), self.labels[index].to(self.device)
        except ValueError as error:  # the worker's whole traceback; its last line is the message
            raise ValueError(
                str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
            ) from None


class _Decoder(TorchDataset):
    """(index, seed) -> the image's bytes (224, 224, 3) and its index; a negative seed takes the centre."""

    def __init__(self, paths: np.ndarray):
        self.paths = paths
        self.random = transforms.Compose(
            [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
        )
        self.centre = transforms.Compose(
            [transforms.Resize(SIZE * 8 // 7), transforms.CenterCrop(SIZE)]
        )

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        from PIL import Image

        index, seed = item
        try:
            with Image.open(self.paths[index]) as file:
                image = file.convert("RGB")
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:  # a damaged file fails in many ways
            raise ValueError(
                f"{self.paths[index]} cannot be read as an image ({error}); remove or replace it"
            ) from None
        if seed < 0:
            image = self.centre(image)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                image = self.random(image)
        return torch.from_numpy(np.array(image)), index


def find(root: Path) -> tuple[Files, Files, str]:
    """Training files, test files and the digest of a tree that has train/CLASS/ and val/CLASS/, at `root` or `root`/imagenet.

    The digest is over every file's name and size: hashing 150 GB of pixels at each start would take longer than a screening.

    Raises:
        ValueError: there is no such tree, or its two halves have different classes.
    """
    tree = next(
        (t for t in (root, root / "imagenet") if (t / "train").is_dir() and (t / "val").is_dir()),
        None,
    )
    if tree is None:
        raise ValueError(
            f"dataset 'imagenet' is not in {root}: train/CLASS/*.JPEG and val/CLASS/*.JPEG are expected there or in {root / 'imagenet'}; "
            "it cannot be downloaded without an account; name another folder by --data or DATA_ROOT"
        )
    try:
        train, val = (ImageFolder(str(tree / half)) for half in ("train", "val"))
    except FileNotFoundError as error:
        raise ValueError(
            f"dataset 'imagenet': {' '.join(str(error).split())}; each class is a folder of images"
        ) from None
    if train.classes != val.classes or len(train.classes) > 1000:
        odd = ", ".join(sorted({*train.classes} ^ {*val.classes})[:3])
        seen = f"they differ in {odd}" if odd else f"there are {len(train.classes)}"
        raise ValueError(
            f"dataset 'imagenet': {tree}/train and {tree}/val must have the same classes, at most 1000; {seen}"
        )
    digest = hashlib.sha256()
    for path, _ in train.samples + val.samples:
        digest.update(f"{Path(path).relative_to(tree)} {Path(path).stat().st_size}\n".encode())
    files = [
        Files(np.array([p for p, _ in half.samples]), torch.tensor([c for _, c in half.samples]))
        for half in (train, val)
    ]
    return files[0], files[1], digest.hexdigest()[:16]
