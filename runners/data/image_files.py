"""Images too many for memory: files, decoded and cropped in worker processes while training goes
on.

The crops are those of K. He et al. 2016 as torchvision's recipes have them: a random crop of 8 to
100 per cent of the area, resized, and a flip, for training; the centre of the image resized to 8/7
of the size for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from runners.data import faults


@dataclass(frozen=True)
class Files:
    """Images by their paths, and their class numbers.

    A batch comes as bytes (n, side, side, 3) on `device`.
    """

    paths: np.ndarray  # of str
    labels: Tensor
    side: int
    device: torch.device | str = "cpu"

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)"""
        return self.side, self.side

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Files:
        return replace(self, device=device)

    def subset(self, rows: Tensor) -> Files:
        return replace(self, paths=self.paths[rows.numpy()], labels=self.labels[rows])

    def read(
        self, rows: Tensor, batch_size: int, seeds: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of these images in this order: bytes (n, side, side, 3) and classes.

        They are cropped at random by their `seeds`, else at the centre. There are as many worker
        processes as torch has threads; the batches do not depend on their number.

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
            _Decoder(self.paths, self.side),
            batch_sampler=plan,
            num_workers=workers,
            pin_memory=pinned,
        )  # type: ignore[arg-type]
        try:
            for images, index in loader:
                yield images.to(self.device, non_blocking=True), self.labels[index].to(self.device)
        except ValueError as error:  # the worker's whole traceback; its last line is the message
            raise ValueError(
                str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
            ) from None


class _Decoder(TorchDataset):
    """(index, seed) -> the image's bytes (side, side, 3) and its index.

    A negative seed takes the centre.
    """

    def __init__(self, paths: np.ndarray, side: int):
        # its import takes long, and most data sets are in memory
        from torchvision import transforms

        self.paths = paths
        self.random = transforms.Compose(
            [transforms.RandomResizedCrop(side), transforms.RandomHorizontalFlip()]
        )
        self.centre = transforms.Compose(
            [transforms.Resize(side * 8 // 7), transforms.CenterCrop(side)]
        )

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        from PIL import Image

        index, seed = item
        try:
            with Image.open(self.paths[index]) as file:
                image = file.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            # every file was opened before the training began, and this one has changed since
            raise ValueError(faults.reason(self.paths[index], error)) from None
        if seed < 0:
            image = self.centre(image)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                image = self.random(image)
        return torch.from_numpy(np.array(image)), index
