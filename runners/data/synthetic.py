"""A fixed pattern per class under noise, for tests: 320 images to train on and 160 to test on."""

from pathlib import Path

import numpy as np

from runners.data.arrays import Arrays

CLASSES, IMAGE, PAD = 10, (3, 8, 8), 1


def checked(root: Path) -> bool:
    return True  # made here


def load(root: Path) -> Arrays:
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (10, 8, 8, 3))
    labels = np.tile(np.arange(10), 48)
    noise = random.integers(0, 256, (480, 8, 8, 3))
    images = (0.5 * patterns[labels] + 0.5 * noise).astype(np.uint8)
    return images[:320], labels[:320], images[320:], labels[320:]
