"""The CRU (equations 5 to 9) in training as one function, from the split to the fused sum.

It computes what its layers do, with fewer passes over the maps:

* Both norms of the outputs, the averages, the softmax and the sum are one pass (fuse.py).
* The norm of the squeezed lower part is never written: its scale goes into the weights of the
  point-wise convolution behind it, and into the norm behind the kept part.
* Biases in front of a norm, and that norm's shift, are cancelled by the next norm. They are left
  out of the maps, and their gradient is exactly zero. The running means get them, so that the
  layers in eval mode and a state_dict see what they always saw.
* The lower part is completed in the place of the second map: nothing is concatenated.

Kept for the backward are the squeezed upper part before and after its norm, and the two maps that
are fused.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scconv.kernels import fuse
from scconv.kernels.form import Form, Seen, Weights
from scconv.kernels.groupwise import convolve, convolve_backward
from scconv.kernels.rows import (
    blocks,
    channels_last,
    image,
    matrix,
    pool,
    rows,
    scaled,
    side_by_side,
    statistics,
    tile,
    unpool,
    widen,
)

Size = tuple[int, ...]

LEARNED = len(Weights.__dataclass_fields__)
SEEN = tuple(Seen.__dataclass_fields__)


class Reconstruct(torch.autograd.Function):
    """apply(x, form, *weights, *cancelled) -> the output (n, c2, h2, w2), and the fields of `Seen`.

    x: (n, c1, h, w) in channels_last. `cancelled`: the parameters that change nothing.
    """

    @staticmethod
    def forward(ctx, x, form, *parameters):  # type: ignore[override]
        w, size = Weights(*parameters[:LEARNED]), tuple(x.shape[2:])
        v = rows(x)
        u = _product(v[..., : form.upper], w.squeeze_up)
        of_up = statistics(u)
        scale = w.gain_up * (of_up[1] + form.eps[0]).rsqrt()
        up = scaled(u, scale, w.shift_up - scale * of_up[0])
        y1 = convolve(image(up, size), w.gwc, w.pwc1, form)
        small, y1 = tuple(y1.shape[2:]), rows(y1)
        if not form.merges(w.pwc1):
            read = pool(up, size) if form.stride == 2 else up
            matrix(y1).addmm_(matrix(read), w.pwc1.flatten(1).t())
        y2, low, of_low = _lower(v[..., form.upper :], size, w, form)
        of_1, of_2 = statistics(y1), statistics(y2)

        seen = Seen(*of_up, *of_low, *of_1, *of_2)
        norms = _norms(w, form, seen)
        averages = y1.mean(1, keepdim=True), y2.mean(1, keepdim=True)
        s1, s2 = (norm.average(of) for norm, of in zip(norms, averages, strict=True))
        p = (s1 - s2).sigmoid()
        out = fuse.output(y1, y2, p, *norms)

        ctx.form, ctx.small = form, small
        values = [getattr(seen, name) for name in SEEN]
        kept = None if form.keeps else low
        ctx.save_for_backward(x, u, up, kept, y1, y2, p, *averages, *values, *parameters)
        ctx.mark_non_differentiable(*values)
        return image(out, small), *values

    @staticmethod
    @once_differentiable
    def backward(ctx, g, *_):  # type: ignore[override]
        x, u, up, low, y1, y2, p, average1, average2, *rest = ctx.saved_tensors
        form, seen, parameters = ctx.form, Seen(*rest[: len(SEEN)]), rest[len(SEEN) :]
        w, g, v, size = Weights(*parameters[:LEARNED]), rows(channels_last(g)), rows(x), x.shape[2:]
        low = y2[..., -w.squeeze_low.shape[0] :] if form.keeps else low
        norms = _norms(w, form, seen)
        first, second = fuse.gradients(g, (y1, y2), (average1, average2), p, norms)

        # y1's gradient is needed as a whole, but only until x's is written: they share memory
        memory = v.new_empty(max(v.numel(), y1.numel()))
        dx, d_y1 = memory[: v.numel()].view_as(v), memory[: y1.numel()].view_as(y1)
        by_low = torch.zeros_like(w.pwc2.flatten(1))
        for i in blocks(g):
            first.along(i, g, y1, out=d_y1[i])
            d_z = second.along(i, g, y2)[..., : len(by_low)]
            by_low.addmm_(matrix(d_z).t(), matrix(low[i]))

        d_up, d_gwc, d_pwc1 = _upper_backward(d_y1, ctx.small, up, size, w, form)
        upper = _norm_backward(d_up, u, seen.mean_up, seen.var_up, w.gain_up, form.eps[0])
        lower, d_gain_low, d_pwc2 = _lower_backward(by_low, second, seen, w, form)
        d_squeeze_up, d_squeeze_low = _squeeze_backward(
            dx, v, size, (upper, d_up, u), (lower, second, g, y2, low), w, form
        )

        grads = (d_squeeze_up, upper.centred, upper.shift, d_gwc, d_pwc1, d_squeeze_low, d_gain_low)
        of_norms = (
            norms[0].r * first.centred,
            first.shift,
            norms[1].r * second.centred,
            second.shift,
        )
        of_cancelled = (torch.zeros_like(t) for t in parameters[LEARNED:])
        return image(dx, size), None, *grads, d_pwc2, *of_norms, *of_cancelled


def _lower(read: Tensor, size: Size, w: Weights, form: Form):
    """The second map, the squeezed lower part less its mean (of the map, where it is kept), and its
    mean and variance.

    Less its mean, since `pwc2` gets its gradient from it: the mean's part is zero but for rounding,
    which a large mean would multiply.
    """
    if form.stride == 2:
        read = pool(read, size)
    low = _product(read, w.squeeze_low)
    mean, var = statistics(low)
    weight = w.pwc2.flatten(1) * _scale_low(w, var, form)
    if not form.keeps:
        low -= mean
        return _product(low, weight), low, (mean, var)
    point = len(weight)
    y2 = low.new_empty(*low.shape[:2], point + low.shape[2])
    kept = torch.sub(low, mean, out=y2[..., point:])
    _product(kept, weight, y2[..., :point])
    return y2, kept, (mean, var)


def _scale_low(w: Weights, var_low: Tensor, form: Form) -> Tensor:
    return w.gain_low * (var_low + form.eps[1]).rsqrt()


def _norms(w: Weights, form: Form, seen: Seen) -> tuple[fuse.Norm, fuse.Norm]:
    """Those of both outputs. Of the kept channels, their squeeze's norm has only taken the mean, so
    what it multiplies by is part of the second.
    """
    r2 = (seen.var2 + form.eps[3]).rsqrt()
    if form.keeps:
        scale = _scale_low(w, seen.var_low, form)
        point = len(r2) - len(scale)
        r_kept = (scale.square() * seen.var2[point:] + form.eps[3]).rsqrt() * scale
        r2 = torch.cat((r2[:point], r_kept))
    norm1 = fuse.Norm(seen.mean1, (seen.var1 + form.eps[2]).rsqrt(), w.gain1, w.shift1)
    return norm1, fuse.Norm(seen.mean2, r2, w.gain2, w.shift2)


def _upper_backward(d_y1: Tensor, small: Size, up: Tensor, size: Size, w: Weights, form: Form):
    """Through the rich transform: the gradients of `up`, `gwc` and `pwc1`."""
    d_up, d_gwc, d_pwc1 = convolve_backward(
        image(d_y1, small), image(up, size), w.gwc, w.pwc1, form
    )
    if d_pwc1 is not None:
        return d_up, d_gwc, d_pwc1
    d, weight = matrix(d_y1), w.pwc1.flatten(1)
    if form.stride == 1:
        matrix(d_up).addmm_(d, weight)
    else:
        d_up += unpool((d @ weight).view(*d_y1.shape[:2], -1), size)
        up = pool(up, size)
    return d_up, d_gwc, (d.t() @ matrix(up)).view_as(w.pwc1)


@dataclass(frozen=True)
class _Squeezed:
    """The gradient of a squeeze's output v, p * d + q * v + r for the gradient d of its norm's; per
    channel.
    """

    p: Tensor
    q: Tensor
    r: Tensor
    centred: Tensor  # the gain's gradient
    shift: Tensor

    def along(self, d: Tensor, v: Tensor) -> None:
        """Writes it in the place of d."""
        k = side_by_side(v)
        p, q, r = (tile(numbers, k) for numbers in (self.p, self.q, self.r))
        d, v = widen(d, k), widen(v, k)
        for i in blocks(v):
            torch.addcmul(r, d[i], p, out=d[i]).addcmul_(v[i], q)


def _norm_backward(d: Tensor, v: Tensor, mean: Tensor, var: Tensor, gain: Tensor, eps: float):
    """Through a norm over the batch, for the gradient d (n, hw, c) of its output."""
    r, m, k = (var + eps).rsqrt(), d.shape[0] * d.shape[1], side_by_side(v)
    d, v = widen(d, k), widen(v, k)
    both = d.new_zeros(2, d.shape[2])
    for i in blocks(d):
        both[0] += d[i].sum((0, 1))
        both[1] += (d[i] * v[i]).sum((0, 1))
    shift, by_v = both.view(2, k, -1).sum(1)
    of_gain = r * (by_v - mean * shift)
    p, q = gain * r, -gain * r.square() * of_gain / m
    return _Squeezed(p, q, -p * shift / m - q * mean, of_gain, shift)


def _lower_backward(by_low: Tensor, line: fuse.Line, seen: Seen, w: Weights, form: Form):
    """Through the lower squeeze's norm, from `by_low`, the product of the gradient of the second
    map's point-wise part with `low`. The norm's shift has no gradient: the next norm cancels it.
    """
    r, positions = (seen.var_low + form.eps[1]).rsqrt(), line.positions
    scale, pwc2 = w.gain_low * r, w.pwc2.flatten(1)
    of_gain = (pwc2 * by_low).sum(0)
    if form.keeps:
        # of the kept part, two norms in a row: the second cancels the first one's gain, up to eps
        kept = slice(len(pwc2), None)
        rho = (scale.square() * seen.var_low + form.eps[3]).rsqrt()
        of_gain += w.gain2[kept] * rho**3 * form.eps[3] * line.centred[kept]
    of_gain = of_gain * r
    q = -scale * r * of_gain / positions
    return (pwc2 * scale, q), of_gain, (by_low * scale).view_as(w.pwc2)


def _squeeze_backward(dx: Tensor, v: Tensor, size: Size, upper, lower, w: Weights, form: Form):
    """Through both squeezes: writes dx, and returns the gradients of both weights."""
    line_up, d_up, u = upper
    (through, q), line, g, y2, low = lower
    point = len(through)
    line_up.along(d_up, u)
    if form.keeps:
        line = line.steeper(point, q)
    d_low = low.new_empty(low.shape)
    for i in blocks(y2):
        d_y2 = line.along(i, g, y2)
        kept = d_y2[..., point:] if form.keeps else low[i] * q
        torch.addmm(matrix(kept), matrix(d_y2[..., :point]), through, out=matrix(d_low[i]))

    to_up, to_low = dx[..., : form.upper], dx[..., form.upper :]
    d_squeeze_up = _product_backward(d_up, v[..., : form.upper], w.squeeze_up, to_up)
    read = v[..., form.upper :]
    if form.stride == 1:
        return d_squeeze_up, _product_backward(d_low, read, w.squeeze_low, to_low)
    read = pool(read, size)
    d_small = torch.empty_like(read)
    d_squeeze_low = _product_backward(d_low, read, w.squeeze_low, d_small)
    to_low.copy_(unpool(d_small, size))
    return d_squeeze_up, d_squeeze_low


def _product(v: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """A 1x1 convolution: (n, hw, c) -> (n, hw, c2)."""
    to = None if out is None else matrix(out)
    return torch.mm(matrix(v), weight.flatten(1).t(), out=to).unflatten(0, v.shape[:2])


def _product_backward(d: Tensor, read: Tensor, weight: Tensor, d_read: Tensor) -> Tensor:
    """Writes the input's gradient, and returns the weight's."""
    torch.mm(matrix(d), weight.flatten(1), out=matrix(d_read))
    return (matrix(d).t() @ matrix(read)).view_as(weight)
