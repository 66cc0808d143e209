"""The 1,797 handwritten digits that ship inside scikit-learn (Alpaydin and Kaynak 1998).

Grey in three channels; every fifth is for testing.
"""

from pathlib import Path

import numpy as np

from runners.data import packaged
from runners.data.arrays import Arrays

CLASSES, IMAGE, PAD = 10, (3, 8, 8), 1


def checked(root: Path) -> bool:
    return True  # pip compares scikit-learn's checksum


def load(root: Path) -> Arrays:
    """
    Raises:
        ValueError: scikit-learn is not installed.
    """
    file = packaged.find("sklearn", "datasets/data/digits.csv.gz")
    if file is None:
        raise ValueError(
            "dataset 'digits' ships inside scikit-learn, which is not installed: "
            "pip install scikit-learn"
        )
    rows = np.loadtxt(file, delimiter=",")  # 64 pixels of 0..16 and the class
    pixels, target = rows[:, :-1], rows[:, -1]
    grey = (pixels.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=-1)
    labels = target.astype(np.int64)
    test = np.arange(len(labels)) % 5 == 4
    return images[~test], labels[~test], images[test], labels[test]
