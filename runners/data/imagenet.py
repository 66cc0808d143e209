"""A folder train/CLASS/, val/CLASS/ of image files; its val/ is the test set.

ImageNet (J. Deng et al., CVPR 2009), or a subset of its classes, which keeps the head of 1000.
"""

from pathlib import Path

import numpy as np

from runners.data import class_folders

CLASSES, IMAGE, FLIP = 1000, (3, 224, 224), True
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Paths and class numbers, (n,) each, to train on and to test on.

    Raises:
        ValueError: there is no such folder, or its two halves have different classes.
    """
    return class_folders.read(class_folders.find(root, "imagenet"), "imagenet", CLASSES)
