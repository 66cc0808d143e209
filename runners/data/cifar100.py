"""CIFAR-100 (Krizhevsky 2009): Parquet files as the Hugging Face hub has them, else torchvision."""

from pathlib import Path

from runners.data import archives, parquet
from runners.data.arrays import Arrays

CLASSES, IMAGE, PAD, FLIP = 100, (3, 32, 32), 4, True
# of the published images and labels in any order: Parquet files with this content are the data set
CONTENT = "0dc6d63221d5d486"
COLUMNS = ("img", "fine_label")


def files(root: Path) -> list[Path]:
    """The Parquet files in `root` or in the folder cifar100 in it; else torchvision's, unpacked."""
    train, test = _halves(root)
    unpacked = [root / "cifar-100-python" / name for name in ("train", "test")]
    return train + test or (unpacked if all(file.is_file() for file in unpacked) else [])


def checked(root: Path) -> bool:
    return not _halves(root)[0]  # torchvision compares the checksum of every file


def load(root: Path) -> Arrays:
    """
    Raises:
        ValueError: a file cannot be read; or it is neither there nor can it be downloaded.
    """
    train, test = _halves(root)
    if train:
        return (*parquet.read(train, *COLUMNS), *parquet.read(test, *COLUMNS))
    from torchvision.datasets import CIFAR100

    also = " or the Parquet files of the Hugging Face hub"
    return archives.read(CIFAR100, "cifar100", root, also)


def _halves(root: Path) -> tuple[list[Path], list[Path]]:
    for place in (root, root / "cifar100"):
        train, test = sorted(place.glob("train-*.parquet")), sorted(place.glob("test-*.parquet"))
        if train and test:
            return train, test
    return [], []
