"""The numbers per channel by which the passes multiply maps, and the running statistics.

A norm over the batch makes gain * (y - mean) / deviation + shift of a map y. Statistics of a map's
images are two arrays (n, c): each image's average, and its sum of squared differences from it. A
norm is (4, c): mean, 1 / deviation, gain, shift; its variance is an array of its own.
"""

from __future__ import annotations

import math

import numpy as np

from scconv.kernels.compiled import compiled, inlined


@inlined
def _over_batch(images, hw, mean, variance):
    """Writes each channel's mean and variance over all images, of hw positions each."""
    average, squares = images
    n, c = average.shape
    totals = np.zeros((2, c))
    for i in range(n):
        for j in range(c):
            totals[0, j] += average[i, j]
    for j in range(c):
        totals[0, j] /= n
        mean[j] = totals[0, j]
    for i in range(n):
        for j in range(c):
            apart = average[i, j] - totals[0, j]
            totals[1, j] += squares[i, j] / hw + apart * apart
    for j in range(c):
        variance[j] = totals[1, j] / n


@compiled
def normalised(images, hw, eps, gain, shift, mean, variance, scale, offset):
    """Of a norm over the batch: the statistics, and scale * v + offset, which it makes of v."""
    _over_batch(images, hw, mean, variance)
    for j in range(len(mean)):
        scale[j] = gain[j] / math.sqrt(variance[j] + eps)
        offset[j] = shift[j] - scale[j] * mean[j]


@compiled
def scaled_weight(images, hw, eps, gain, weight, mean, variance, out):
    """The weight (c2, c) behind a norm over the batch that only takes the mean, times the norm's
    scale.
    """
    _over_batch(images, hw, mean, variance)
    for j in range(len(mean)):
        scale = gain[j] / math.sqrt(variance[j] + eps)
        for i in range(len(out)):
            out[i, j] = weight[i, j] * scale


@compiled
def fusion(
    images1,
    images2,
    hw,
    gain1,
    shift1,
    gain2,
    shift2,
    eps1,
    eps2,
    variance_before,
    eps_before,
    gain_before,
    kept,
    variance1,
    variance2,
    norm1,
    norm2,
    p,
    a,
    b,
    d,
):
    """Writes the norms of both maps and their variances, and what `weights` does.

    From the last `kept` channels of the second map a norm before has taken the mean and nothing
    else: what it multiplies by is part of this norm's 1 / deviation.
    """
    _over_batch(images1, hw, norm1[0], variance1)
    _over_batch(images2, hw, norm2[0], variance2)
    c = len(gain1)
    for j in range(c):
        norm1[1, j] = 1 / math.sqrt(variance1[j] + eps1)
        norm2[1, j] = 1 / math.sqrt(variance2[j] + eps2)
        norm1[2, j], norm1[3, j] = gain1[j], shift1[j]
        norm2[2, j], norm2[3, j] = gain2[j], shift2[j]
    for j in range(kept):
        at = c - kept + j
        scale = gain_before[j] / math.sqrt(variance_before[j] + eps_before)
        norm2[1, at] = scale / math.sqrt(scale * scale * variance2[at] + eps2)
    _weights(images1[0], images2[0], norm1, norm2, p, a, b, d)


@inlined
def _weights(average1, average2, norm1, norm2, p, a, b, d):
    for i in range(len(p)):
        for j in range(p.shape[1]):
            k1, k2 = norm1[1, j] * norm1[2, j], norm2[1, j] * norm2[2, j]
            s1 = k1 * (average1[i, j] - norm1[0, j]) + norm1[3, j]
            s2 = k2 * (average2[i, j] - norm2[0, j]) + norm2[3, j]
            # in float64 an overflow makes 0 or 1 of it
            share = 1 / (1 + np.exp(np.float64(s2 - s1)))
            p[i, j] = share
            a[i, j], b[i, j] = share * k1, (1 - share) * k2
            d[i, j] = share * (norm1[3, j] - k1 * norm1[0, j])
            d[i, j] += (1 - share) * (norm2[3, j] - k2 * norm2[0, j])


@compiled
def weights(average1, average2, norm1, norm2, p, a, b, d):
    """Of two maps with these averages over an image, and norms: p, and a y1 + b y2 + d, which is
    the output.
    """
    _weights(average1, average2, norm1, norm2, p, a, b, d)


@compiled
def lines(sums, average1, average2, norm1, norm2, p, hw, of_g, of_y, rest, grads):
    """Of both maps: of_g * g + of_y * y + rest, the gradient for the gradient g of the output, per
    image and channel, (2, n, c) each; and the gradients of the norms' gain and shift, and of the
    gain without its 1 / deviation, (2, 3, c).

    sums: (3, n, c), of g, of g * y1, of g * y2 over each image.
    """
    n, c = p.shape
    k1, k2 = norm1[1] * norm1[2], norm2[1] * norm2[2]
    totals = np.zeros((4, c))  # of the first: shift, gain * deviation; of the second
    for i in range(n):
        for j in range(c):
            g = sums[0, i, j]
            centred1 = sums[1, i, j] - norm1[0, j] * g
            centred2 = sums[2, i, j] - norm2[0, j] * g
            share = p[i, j]
            s = k1[j] * centred1 - k2[j] * centred2 + (norm1[3, j] - norm2[3, j]) * g
            s *= share * (1 - share)
            rest[0, i, j] = s
            totals[0, j] += share * g + s
            totals[1, j] += share * centred1 + s * (average1[i, j] - norm1[0, j])
            totals[2, j] += (1 - share) * g - s
            totals[3, j] += (1 - share) * centred2 - s * (average2[i, j] - norm2[0, j])
    for j in range(c):
        grads[0, 0, j], grads[1, 0, j] = norm1[1, j] * totals[1, j], norm2[1, j] * totals[3, j]
        for i in range(2):
            grads[i, 1, j], grads[i, 2, j] = totals[2 * i, j], totals[2 * i + 1, j]
        for i in range(2):
            totals[2 * i, j] /= n * hw
            totals[2 * i + 1, j] /= n * hw
    for i in range(n):
        for j in range(c):
            s = rest[0, i, j] / hw
            q1 = -k1[j] * norm1[1, j] * norm1[1, j] * totals[1, j]
            q2 = -k2[j] * norm2[1, j] * norm2[1, j] * totals[3, j]
            of_g[0, i, j], of_g[1, i, j] = k1[j] * p[i, j], k2[j] * (1 - p[i, j])
            of_y[0, i, j], of_y[1, i, j] = q1, q2
            rest[0, i, j] = k1[j] * (s - totals[0, j]) - q1 * norm1[0, j]
            rest[1, i, j] = -k2[j] * (s + totals[2, j]) - q2 * norm2[0, j]


@compiled
def through_a_norm(sums, hw, mean, variance, gain, eps, of_d, of_v, rest, grads):
    """of_d * d + of_v * v + rest, the gradient of v for the gradient d of what a norm over the
    batch made of it; and the gradients of the norm's gain and shift, (2, c).

    sums: (2, n, c), of d and of d * (v - mean) over each image.
    """
    n, c = sums.shape[1:]
    totals = np.zeros((2, c))
    for i in range(n):
        for j in range(c):
            totals[0, j] += sums[0, i, j]
            totals[1, j] += sums[1, i, j]
    for j in range(c):
        r = 1 / math.sqrt(variance[j] + eps)
        of_gain = r * totals[1, j]
        grads[0, j], grads[1, j] = of_gain, totals[0, j]
        of_d[j], of_v[j] = gain[j] * r, -gain[j] * r * r * of_gain / (n * hw)
        rest[j] = -gain[j] * r * totals[0, j] / (n * hw) - of_v[j] * mean[j]


@compiled
def through_the_lower(
    by_low,
    weight,
    variance,
    eps,
    gain,
    positions,
    gain2,
    eps2,
    centred2,
    through,
    of_low,
    d_gain,
    d_weight,
):
    """Through the weight (c2, c) behind a norm over the batch, and the norm, by the product (c2, c)
    of the gradient behind both with the norm's input less its mean: the weight that goes to the
    gradient, what adds the input to it, and the gradients of the norm's gain and of the weight.

    Where the norm's output is kept, too, a second norm follows there: it cancels the gain of the
    first one, up to its eps. `gain2` is the second one's gain, `centred2` its gradient without
    1 / deviation, both of the kept channels or empty.
    """
    for j in range(len(gain)):
        r = 1 / math.sqrt(variance[j] + eps)
        scale, of_gain = gain[j] * r, 0.0
        for i in range(len(weight)):
            of_gain += weight[i, j] * by_low[i, j]
            through[i, j], d_weight[i, j] = weight[i, j] * scale, by_low[i, j] * scale
        if len(gain2):
            rho = 1 / math.sqrt(scale * scale * variance[j] + eps2)
            of_gain += gain2[j] * rho * rho * rho * eps2 * centred2[j]
        d_gain[j] = of_gain * r
        of_low[j] = -scale * r * d_gain[j] / positions


@compiled
def with_biases(mean2, variance2, weight, bias, shift, gain, variance, eps, mean, var):
    """The mean and the variance that the norm of the second map would see by the layers: behind the
    weight (c3, c) with its bias, and in the kept channels, there is the output of the norm that
    `gain`, `shift`, `variance` and `eps` are of.
    """
    point = len(weight)
    for i in range(point):
        total = mean2[i] + bias[i]
        for j in range(len(gain)):
            total += weight[i, j] * shift[j]
        mean[i], var[i] = total, variance2[i]
    for j in range(len(mean) - point):
        mean[point + j] = shift[j]
        var[point + j] = variance2[point + j] * gain[j] * gain[j] / (variance[j] + eps)


@compiled
def track(running_mean, running_var, batches, mean, variance, bias, momentum, positions):
    """Move a norm's running statistics by what it saw, with the bias that was left out."""
    for j in range(len(mean)):
        running_mean[j] = momentum * (mean[j] + bias[j]) + (1 - momentum) * running_mean[j]
        # of a batch, the running variance takes the unbiased estimate
        unbiased = variance[j] * positions / (positions - 1)
        running_var[j] = momentum * unbiased + (1 - momentum) * running_var[j]
    batches[()] += 1


@compiled
def thresholds(weight, bias, score, t):
    """Writes t of select.py for a group norm's weight and bias, and the score that is the
    threshold; the sum of the weights.
    """
    total = 0.0
    for j in range(len(weight)):
        total += weight[j]
    for j in range(len(weight)):
        if weight[j] == 0:
            # every score of the channel is 0
            t[j] = -math.inf if score < 0 else math.inf
        else:
            # in float64: the square of a small weight is 0 in float32
            w = np.float64(weight[j])
            t[j] = (score * total - bias[j] * w) / (w * w)
    return total
