"""The passes over maps, as loops.

A map (n, c, h, w) in channels_last is (n, h * w, c) in memory. A loop over few channels is slow, so
that most passes see k positions side by side as one of k c channels: (n, h * w / k, k c). Numbers
per channel are (c,), per image and channel (n, c).

Sums run over 64 rows in the map's own precision, and over these in float64.
"""

from __future__ import annotations

import numpy as np

from scconv.kernels.compiled import compiled, inlined

ROWS = 64


@inlined
def tile(numbers, wide):
    """Writes the numbers per channel for each of the positions side by side."""
    c = len(numbers)
    for first in range(0, len(wide), c):
        for j in range(c):
            wide[first + j] = numbers[j]


@inlined
def fold(wide, numbers):
    """Writes the sums of each channel over the positions side by side."""
    c = len(numbers)
    for j in range(c):
        total = wide[j]
        for first in range(c, len(wide), c):
            total += wide[first + j]
        numbers[j] = total


@inlined
def image_sums(v, centre, part, total, sums):
    """Writes each channel's sum of squared differences from the centre over an image, or, without
    a centre, its sum.
    """
    rows, width = v.shape
    total[:] = 0
    for first in range(0, rows, ROWS):
        part[:] = 0
        for row in range(first, min(first + ROWS, rows)):
            if len(centre):
                for j in range(width):
                    part[j] += (v[row, j] - centre[j]) * (v[row, j] - centre[j])
            else:
                for j in range(width):
                    part[j] += v[row, j]
        total += part
    fold(total, sums)


@compiled
def moments(start, stop, v, mean, squares):
    """Each image's mean of each channel, and the sum of squared differences from it."""
    width, c = v.shape[2], mean.shape[1]
    part, total = np.empty(width, v.dtype), np.empty(width, np.float64)
    sums, centre = np.empty(c, np.float64), np.empty(width, v.dtype)
    count = v.shape[1] * (width // c)
    for n in range(start, stop):
        image_sums(v[n], centre[:0], part, total, sums)
        for j in range(c):
            mean[n, j] = sums[j] / count
        tile(mean[n], centre)
        image_sums(v[n], centre, part, total, sums)
        for j in range(c):
            squares[n, j] = sums[j]


@compiled
def products(start, stop, d, v, mean, of_d, of_both):
    """Each image's sums of d and of d * (v - mean) of each channel."""
    rows, width = v.shape[1], v.shape[2]
    centre = np.empty(width, v.dtype)
    tile(mean, centre)
    part1, part2 = np.empty(width, v.dtype), np.empty(width, v.dtype)
    total1, total2 = np.empty(width, np.float64), np.empty(width, np.float64)
    for n in range(start, stop):
        total1[:] = 0
        total2[:] = 0
        for first in range(0, rows, ROWS):
            part1[:] = 0
            part2[:] = 0
            for row in range(first, min(first + ROWS, rows)):
                for j in range(width):
                    part1[j] += d[n, row, j]
                    part2[j] += d[n, row, j] * (v[n, row, j] - centre[j])
            for j in range(width):
                total1[j] += part1[j]
                total2[j] += part2[j]
        fold(total1, of_d[n])
        fold(total2, of_both[n])


@compiled
def products_of_two(start, stop, d, v1, v2, of_d, of_v1, of_v2):
    """The same with two maps beside d."""
    rows, width = d.shape[1], d.shape[2]
    part, total = np.empty((3, width), d.dtype), np.empty((3, width), np.float64)
    for n in range(start, stop):
        total[:] = 0
        for first in range(0, rows, ROWS):
            part[:] = 0
            for row in range(first, min(first + ROWS, rows)):
                for j in range(width):
                    part[0, j] += d[n, row, j]
                    part[1, j] += d[n, row, j] * v1[n, row, j]
                    part[2, j] += d[n, row, j] * v2[n, row, j]
            total += part
        fold(total[0], of_d[n])
        fold(total[1], of_v1[n])
        fold(total[2], of_v2[n])


@compiled
def scaled(start, stop, v, scale, shift, out):
    """Writes scale * v + shift, with numbers per channel."""
    rows, width = v.shape[1], v.shape[2]
    a, b = np.empty(width, v.dtype), np.empty(width, v.dtype)
    tile(scale, a)
    tile(shift, b)
    for n in range(start, stop):
        for row in range(rows):
            for j in range(width):
                out[n, row, j] = a[j] * v[n, row, j] + b[j]


@compiled
def combined(start, stop, v, of_v, y, of_y, r, out):
    """Writes of_v * v + of_y * y + r, with numbers per image and channel."""
    rows, width = v.shape[1], v.shape[2]
    a, b, d = np.empty(width, v.dtype), np.empty(width, v.dtype), np.empty(width, v.dtype)
    for n in range(start, stop):
        tile(of_v[n], a)
        tile(of_y[n], b)
        tile(r[n], d)
        for row in range(rows):
            for j in range(width):
                out[n, row, j] = a[j] * v[n, row, j] + b[j] * y[n, row, j] + d[j]


@compiled
def combined_twice(start, stop, v, of_v1, y1, of_y1, r1, out1, of_v2, y2, of_y2, r2, out2):
    """The same with two maps y, each with an output of its own."""
    rows, width = v.shape[1], v.shape[2]
    a, b, d = (
        np.empty((2, width), v.dtype),
        np.empty((2, width), v.dtype),
        np.empty((2, width), v.dtype),
    )
    for n in range(start, stop):
        tile(of_v1[n], a[0])
        tile(of_y1[n], b[0])
        tile(r1[n], d[0])
        tile(of_v2[n], a[1])
        tile(of_y2[n], b[1])
        tile(r2[n], d[1])
        for row in range(rows):
            for j in range(width):
                out1[n, row, j] = a[0, j] * v[n, row, j] + b[0, j] * y1[n, row, j] + d[0, j]
                out2[n, row, j] = a[1, j] * v[n, row, j] + b[1, j] * y2[n, row, j] + d[1, j]


@compiled
def combined_in_place(start, stop, v, of_v, y, of_y, r):
    """Writes of_v * v + of_y * y + r in the place of v, with numbers per channel."""
    rows, width = v.shape[1], v.shape[2]
    a, b, d = np.empty(width, v.dtype), np.empty(width, v.dtype), np.empty(width, v.dtype)
    tile(of_v, a)
    tile(of_y, b)
    tile(r, d)
    for n in range(start, stop):
        for row in range(rows):
            for j in range(width):
                v[n, row, j] = a[j] * v[n, row, j] + b[j] * y[n, row, j] + d[j]


@compiled
def moved_in(start, stop, v, mean, first, y):
    """Writes v - mean to the channels of y from `first` on, with a number per channel; v and y are
    seen with one position in a row.
    """
    for n in range(start, stop):
        for row in range(v.shape[1]):
            x, to = v[n, row], y[n, row, first:]
            for j in range(len(mean)):
                to[j] = x[j] - mean[j]


@compiled
def moved_out(start, stop, d, y, first, of_y, out):
    """Writes d + of_y * y of the channels from `first` on, with a number per channel; the maps are
    seen with one position in a row.
    """
    for n in range(start, stop):
        for row in range(d.shape[1]):
            a, b, to = d[n, row, first:], y[n, row, first:], out[n, row]
            for j in range(len(of_y)):
                to[j] = a[j] + of_y[j] * b[j]
