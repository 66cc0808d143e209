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

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scconv.kernels import fuse, loops, numbers
from scconv.kernels.form import Form, Seen, Weights
from scconv.kernels.groupwise import convolve, convolve_backward
from scconv.kernels.rows import array, moments, pool, scaled, unpool, wide
from scconv.kernels.views import channels_last, image, matrix, rows

Size = tuple[int, ...]
Array = np.ndarray
Images = tuple[Array, Array]

LEARNED = len(Weights.__dataclass_fields__)


class Reconstruct(torch.autograd.Function):
    """apply(x, form, track, *weights, *cancelled) -> the output (n, c2, h2, w2).

    x: (n, c1, h, w) in channels_last. `track` is called with what the norms saw. `cancelled`: the
    parameters that change nothing.
    """

    @staticmethod
    def forward(ctx, x, form, track, *parameters):  # type: ignore[override]
        w, size = Weights(*parameters[:LEARNED]), tuple(x.shape[2:])
        v = rows(x)
        u = _product(v[..., : form.upper], w.squeeze_up)
        seen_up = np.empty((2, u.shape[2]), form.dtype)
        scale = np.empty_like(seen_up)
        gain, shift = array(w.gain_up), array(w.shift_up)
        numbers.normalised(moments(u), v.shape[1], form.eps[0], gain, shift, *seen_up, *scale)
        up = scaled(u, *scale)
        y1 = convolve(image(up, size), w.gwc, w.pwc1, form)
        small, y1 = tuple(y1.shape[2:]), rows(y1)
        if not form.merges(w.pwc1):
            read = pool(up, size) if form.stride == 2 else up
            matrix(y1).addmm_(matrix(read), _matrix(w.pwc1).t())
        y2, low, seen_low = _lower(v[..., form.upper :], size, w, form)

        fusion, variances = _fusion(moments(y1), moments(y2), y1.shape[1], seen_low[1], w, form)
        out = fuse.output(y1, y2, fusion, small)
        track(Seen(seen_up, seen_low, fusion.norm1[0], fusion.norm2[0], variances))
        ctx.form, ctx.small, low = form, small, None if form.keeps else low
        kept = _tensors(seen_up, seen_low, *fusion[:5])
        ctx.save_for_backward(x, u, up, low, y1, y2, *kept, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, g):  # type: ignore[override]
        # read once: whoever packs saved tensors unpacks them at each reading
        x, u, up, low, y1, y2, *rest = ctx.saved_tensors
        (seen_up, seen_low, *fusion), parameters, form = map(array, rest[:7]), rest[7:], ctx.form
        w, size = Weights(*parameters[:LEARNED]), x.shape[2:]
        # whoever packs saved tensors may return them in another layout
        g, v = rows(channels_last(g)), rows(channels_last(x))
        # y1's gradient is needed as a whole, but only until x's is written: they share memory
        memory = v.new_empty(max(v.numel(), y1.numel()))
        dx, d_y1 = memory[: v.numel()].view_as(v), memory[: y1.numel()].view_as(y1)
        d_y2 = torch.empty_like(y2)
        of_norms = fuse.gradients(g, y1, y2, [*fusion], d_y1, d_y2)
        d_low, d_gain_low, d_pwc2 = _lower_backward(d_y2, y2, low, of_norms[1], seen_low, w, form)
        del d_y2

        d_up, d_gwc, d_pwc1 = _upper_backward(d_y1, ctx.small, up, size, w, form)
        d_gain_up, d_shift_up = _norm_backward(d_up, u, seen_up, array(w.gain_up), form.eps[0])

        to_up, to_low = dx[..., : form.upper], dx[..., form.upper :]
        d_squeeze_up = _product_backward(d_up, v[..., : form.upper], w.squeeze_up, to_up)
        d_squeeze_low = _read_backward(d_low, v[..., form.upper :], size, w, form, to_low)

        of_up = d_squeeze_up, *_tensors(d_gain_up, d_shift_up), d_gwc, d_pwc1
        of_low = d_squeeze_low, *_tensors(d_gain_low, d_pwc2)
        (gain1, shift1, _), (gain2, shift2, _) = of_norms
        of_cancelled = (torch.zeros_like(t) for t in parameters[LEARNED:])
        learned = *of_up, *of_low, *_tensors(gain1, shift1, gain2, shift2)
        return image(dx, size), None, None, *learned, *of_cancelled


def _tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(a) for a in arrays]


def _lower(read: Tensor, size: Size, w: Weights, form: Form):
    """The second map, the squeezed lower part less its mean (of the map, where it is kept), and its
    mean and variance.

    Less its mean, since `pwc2` gets its gradient from it: the mean's part is zero but for rounding,
    which a large mean would multiply.
    """
    if form.stride == 2:
        read = pool(read, size)
    low = _product(read, w.squeeze_low)
    pwc2, seen = array(_matrix(w.pwc2)), np.empty((2, low.shape[2]), form.dtype)
    weight = np.empty_like(pwc2)
    eps, gain = form.eps[1], array(w.gain_low)
    numbers.scaled_weight(moments(low), low.shape[1], eps, gain, pwc2, *seen, weight)
    point = len(weight) if form.keeps else 0
    y = low.new_empty(*low.shape[:2], point + low.shape[2])
    loops.moved_in.over_images(len(low), low.numel(), array(low), seen[0], point, array(y))
    kept = y[..., point:]
    y2 = _product(kept, torch.from_numpy(weight), y[..., :point] if form.keeps else None)
    return (y if form.keeps else y2), kept, seen


def _fusion(
    images1: Images, images2: Images, hw: int, variance_low: Array, w: Weights, form: Form
) -> tuple[fuse.Fusion, Array]:
    """How both maps are fused; and the variances that the norms saw, (2, c)."""
    fusion, (_, _, *eps) = fuse.empty(images1[0], images2[0]), form.eps
    variances = np.empty((2, len(w.gain1)), form.dtype)
    of_norms = map(array, (w.gain1, w.shift1, w.gain2, w.shift2))
    before = variance_low, form.eps[1], array(w.gain_low)
    kept = len(variance_low) if form.keeps else 0
    numbers.fusion(images1, images2, hw, *of_norms, *eps, *before, kept, *variances, *fusion[2:])
    return fusion, variances


def _upper_backward(d_y1: Tensor, small: Size, up: Tensor, size: Size, w: Weights, form: Form):
    """Through the rich transform: the gradients of `up`, `gwc` and `pwc1`."""
    d_up, d_gwc, d_pwc1 = convolve_backward(
        image(d_y1, small), image(up, size), w.gwc, w.pwc1, form
    )
    if d_pwc1 is not None:
        return d_up, d_gwc, d_pwc1
    d, weight = matrix(d_y1), _matrix(w.pwc1)
    if form.stride == 1:
        matrix(d_up).addmm_(d, weight)
    else:
        d_up += unpool((d @ weight).view(*d_y1.shape[:2], -1), size)
        up = pool(up, size)
    return d_up, d_gwc, (d.t() @ matrix(up)).view_as(w.pwc1)


def _norm_backward(d: Tensor, v: Tensor, seen: Array, gain: Array, eps: float) -> Array:
    """Through a norm over the batch: writes the gradient of v (n, hw, c) in the place of d, that of
    the norm's output; the gradients of its gain and its shift, (2, c).
    """
    n, hw, c = d.shape
    sums, line = np.empty((2, n, c), gain.dtype), np.empty((3, c), gain.dtype)
    grads = np.empty((2, c), gain.dtype)
    d_wide, v_wide = wide(d), wide(v)
    loops.products.over_images(n, d_wide.size, d_wide, v_wide, seen[0], *sums)
    numbers.through_a_norm(sums, hw, *seen, gain, eps, *line, grads)
    of_d, of_v, rest = line
    loops.combined_in_place.over_images(n, d_wide.size, d_wide, of_d, v_wide, of_v, rest)
    return grads


def _lower_backward(
    d_y2: Tensor,
    y2: Tensor,
    low: Tensor | None,
    of_norm2: Array,
    seen: Array,
    w: Weights,
    form: Form,
) -> tuple[Tensor, Array, Array]:
    """Through the cheap transform and the lower squeeze's norm: the gradients of what the squeeze's
    convolution made, of the norm's gain and of `pwc2`. The norm's shift has none: the next norm
    cancels it.
    """
    pwc2 = array(_matrix(w.pwc2))
    point = len(pwc2)
    read = y2[..., point:] if low is None else low
    d_z = matrix(d_y2[..., :point])
    by_low = array(torch.mm(d_z.t(), matrix(read)))
    through, d_pwc2 = np.empty((2, *pwc2.shape), form.dtype)
    of_low, d_gain = np.empty((2, pwc2.shape[1]), form.dtype)
    positions = d_y2.shape[0] * d_y2.shape[1]
    norm = seen[1], form.eps[1], array(w.gain_low), positions
    norm2 = array(w.gain2)[point:], form.eps[3], of_norm2[2, point:]
    numbers.through_the_lower(by_low, pwc2, *norm, *norm2, through, of_low, d_gain, d_pwc2)

    if low is None:
        d_low = torch.empty_like(read, memory_format=torch.contiguous_format)
        maps = array(d_y2), array(y2), point, of_low, array(d_low)
        loops.moved_out.over_images(len(y2), d_low.numel(), *maps)
    else:
        d_low = scaled(low, of_low, np.zeros_like(of_low))
    matrix(d_low).addmm_(d_z, torch.from_numpy(through))
    return d_low, d_gain, d_pwc2.reshape(w.pwc2.shape)


def _read_backward(d_low: Tensor, v: Tensor, size: Size, w: Weights, form: Form, d_v: Tensor):
    """Through the lower squeeze's convolution: writes the gradient of the lower part v, and returns
    that of the weight.
    """
    if form.stride == 1:
        return _product_backward(d_low, v, w.squeeze_low, d_v)
    read = pool(v, size)
    d_read = torch.empty_like(read)
    d_weight = _product_backward(d_low, read, w.squeeze_low, d_read)
    d_v.copy_(unpool(d_read, size))
    return d_weight


def _product(v: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """A 1x1 convolution: (n, hw, c) -> (n, hw, c2)."""
    to = None if out is None else matrix(out)
    made = torch.mm(matrix(v), _matrix(weight).t(), out=to)
    return made.view(*v.shape[:2], len(weight))


def _matrix(weight: Tensor) -> Tensor:
    """Of a 1x1 convolution (c2, c, 1, 1), or (c2, c) as it is."""
    return weight.view(weight.shape[:2])


def _product_backward(d: Tensor, read: Tensor, weight: Tensor, d_read: Tensor) -> Tensor:
    """Writes the input's gradient, and returns the weight's."""
    torch.mm(matrix(d), _matrix(weight), out=matrix(d_read))
    return torch.mm(matrix(d).t(), matrix(read)).view_as(weight)
