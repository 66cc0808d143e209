"""The passes of the SRU's hard gate over a map, as loops (loops.py says how a map is seen).

A comparison decides which values stay in their channel, and which go to its partner, half of the
channels away. A loop over half of the channels of one position is slow where these are few. There
k positions are seen side by side, and a value's partner stands half of the channels after it in the
row, or before it. Both ways make the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from scconv.kernels.compiled import compiled, inlined
from scconv.kernels.loops import image_sums, tile

# Up to so many channels positions are seen side by side: in the forward, and in the backward, which
# needs no memory beside the row and so gains by it for longer.
NARROW, NARROW_BACKWARD = 16, 32


@inlined
def _of_first_half(width, c):
    """Which values of a row of positions side by side are of the first half of the channels."""
    first = np.empty(width, np.bool_)
    for i in range(width):
        first[i] = i % c < c // 2
    return first


@inlined
def _recombine(v, level, out):
    """Writes the halves of v (rows, c), crosswise: what is above the level of one half, and not
    above that of the other.
    """
    half, zero, one = v.shape[1] // 2, v.dtype.type(0), v.dtype.type(1)
    level1, level2 = level[:half].copy(), level[half:].copy()
    for row in range(v.shape[0]):
        x, to = v[row], out[row]
        for j in range(half):
            a, b = x[j], x[j + half]
            # multiplied, so that what is not finite spreads as it does in the layers
            mask1 = one if a > level1[j] else zero
            mask2 = one if b > level2[j] else zero
            to[j] = mask1 * a + (one - mask2) * b
            to[j + half] = mask2 * b + (one - mask1) * a


@inlined
def _recombine_wide(v, level, first, half, out):
    """`_recombine` with positions side by side: the partner of a value stands `half` after it in
    the row where `first` says that it is of the first half of the channels, else `half` before it.
    """
    width, zero, one = v.shape[1], v.dtype.type(0), v.dtype.type(1)
    above, padded = np.empty(width, v.dtype), np.zeros(width + 2 * half, v.dtype)
    # at i: what the value itself gives away, the one `half` after it, the one `half` before it
    rest, after, before = padded[half : half + width], padded[2 * half :], padded[:width]
    for row in range(v.shape[0]):
        x, to = v[row], out[row]
        for i in range(width):
            mask = one if x[i] > level[i] else zero
            above[i], rest[i] = mask * x[i], (one - mask) * x[i]
        for i in range(width):
            to[i] = above[i] + (after[i] if first[i] else before[i])


@inlined
def _exchange(g, v, level, out):
    """Writes, of the halves of g (rows, c), one where v is above the level, and the other where
    not.
    """
    half, zero, one = v.shape[1] // 2, v.dtype.type(0), v.dtype.type(1)
    level1, level2 = level[:half].copy(), level[half:].copy()
    for row in range(v.shape[0]):
        x, d, to = v[row], g[row], out[row]
        for j in range(half):
            a, b = d[j], d[j + half]
            mask1 = one if x[j] > level1[j] else zero
            mask2 = one if x[j + half] > level2[j] else zero
            to[j] = mask1 * a + (one - mask1) * b
            to[j + half] = mask2 * b + (one - mask2) * a


@inlined
def _exchange_wide(g, v, level, first, half, out):
    """`_exchange` with positions side by side, as `_recombine_wide`."""
    width, zero, one = v.shape[1], v.dtype.type(0), v.dtype.type(1)
    end, inner = width - half, width - 2 * half
    for row in range(v.shape[0]):
        x, d, to = v[row], g[row], out[row]
        # the row's first values have none before them, its last ones none after them
        for j in range(half):
            mask = one if x[j] > level[j] else zero
            to[j] = mask * d[j] + (one - mask) * d[j + half]
        own, after, before = d[half:end], d[2 * half :], d[:inner]
        xs, levels, firsts, tos = x[half:end], level[half:end], first[half:end], to[half:end]
        for i in range(inner):
            mask = one if xs[i] > levels[i] else zero
            other = after[i] if firsts[i] else before[i]
            tos[i] = mask * own[i] + (one - mask) * other
        for j in range(end, width):
            mask = one if x[j] > level[j] else zero
            to[j] = mask * d[j] + (one - mask) * d[j - half]


@compiled
def gated(start, stop, v, groups, t, eps, level, out):
    """Writes mean + deviation * t of each image's groups of channels, for each channel, and
    `_recombine` of it and the image.
    """
    width, c = v.shape[2], level.shape[1]
    part, total = np.empty(width, v.dtype), np.empty(width, np.float64)
    sums, centre = np.empty(c, np.float64), np.empty(width, v.dtype)
    first = _of_first_half(width, c)
    deep = c // groups
    count = v.shape[1] * (width // c) * deep
    spread = np.any(t)
    for n in range(start, stop):
        image_sums(v[n], centre[:0], part, total, sums)
        for j in range(0, c, deep):
            mean = np.sum(sums[j : j + deep]) / count
            # above infinity is nothing, and above minus infinity neither: GroupNorm's value is NaN
            level[n, j : j + deep] = mean if math.isfinite(mean) else math.nan
        if spread:
            tile(level[n], centre)
            image_sums(v[n], centre, part, total, sums)
            for j in range(0, c, deep):
                deviation = math.sqrt(np.sum(sums[j : j + deep]) / count + eps)
                for i in range(j, j + deep):
                    level[n, i] += deviation * t[i]
        if c <= NARROW:
            tile(level[n], centre)
            _recombine_wide(v[n], centre, first, c // 2, out[n])
        else:
            _recombine(v[n].reshape(-1, c), level[n], out[n].reshape(-1, c))


@compiled
def gated_backward(start, stop, g, v, level, out):
    """Writes the gradient of v for that of what `gated` wrote."""
    width, c = v.shape[2], level.shape[1]
    wide, first = np.empty(width, v.dtype), _of_first_half(width, c)
    for n in range(start, stop):
        if c <= NARROW_BACKWARD:
            tile(level[n], wide)
            _exchange_wide(g[n], v[n], wide, first, c // 2, out[n])
        else:
            maps = g[n].reshape(-1, c), v[n].reshape(-1, c)
            _exchange(*maps, level[n], out[n].reshape(-1, c))
