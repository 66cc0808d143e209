"""The CRU's convolutions around the norms, as few of torch's own operations as will do.

* Both squeezes are matrix products of a slice of the channels each: nothing is split or copied.
* The group-wise and the point-wise convolution of the upper part are linear in the same map: one
  full convolution, with the point-wise weights in its middle, stands for both. It has more
  multiply-adds, which matrix units have to spare, and saves reading and writing whole maps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scconv.kernels.views import channels_last, image, matrix, rows


class Squeeze(torch.autograd.Function):
    """apply(x, up, low) -> the 1x1 convolutions of the first channels of x by `up`, and of the
    others by `low`.

    Shapes: x (n, c1 + c2, h, w) in channels_last; up (u, c1) and low (l, c2), of the type of x;
    the results (n, u, h, w) and (n, l, h, w).
    """

    @staticmethod
    def forward(ctx, x, up, low):  # type: ignore[override]
        ctx.save_for_backward(x, up, low)
        v, upper, size = rows(x), up.shape[1], x.shape[2:]
        parts = (v[..., :upper], up), (v[..., upper:], low)
        made = (torch.mm(matrix(part), weight.t()) for part, weight in parts)
        return tuple(image(m.view(*v.shape[:2], -1), size) for m in made)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_up, d_low):  # type: ignore[override]
        x, up, low = ctx.saved_tensors
        v, upper = rows(channels_last(x)), up.shape[1]
        parts = (d_up, up, slice(0, upper)), (d_low, low, slice(upper, None))
        dx, grads = torch.empty_like(v), []
        # somebody may call backward under autocast, which would change the type of the products
        with torch.autocast(x.device.type, enabled=False):
            for d, weight, of in parts:
                g = matrix(rows(channels_last(d)))
                torch.mm(g, weight, out=matrix(dx[..., of]))
                grads.append(torch.mm(g.t(), matrix(v[..., of])))
        return image(dx, x.shape[2:]), *grads


class Merge(torch.autograd.Function):
    """apply(gwc, pwc, groups, dtype) -> the weight of one convolution that does what a group-wise
    one, (c2, c / groups, k, k), and a point-wise one, (c2, c, 1, 1), of the same map do together;
    (c2, c, k, k), of this type.
    """

    @staticmethod
    def forward(ctx, gwc, pwc, groups, dtype):  # type: ignore[override]
        ctx.groups, ctx.dtype = groups, gwc.dtype
        merged = gwc.new_zeros(*pwc.shape[:2], *gwc.shape[2:], dtype=dtype)
        middle = gwc.shape[2] // 2
        _blocks(merged, groups).copy_(gwc.unflatten(0, (groups, -1)))
        merged[:, :, middle, middle] += pwc[:, :, 0, 0]
        return merged

    @staticmethod
    @once_differentiable
    def backward(ctx, d):  # type: ignore[override]
        middle = d.shape[2] // 2
        d_gwc = _blocks(d, ctx.groups).flatten(0, 1).to(ctx.dtype)
        return d_gwc, d[:, :, middle, middle, None, None].to(ctx.dtype), None, None


def _blocks(merged: Tensor, groups: int) -> Tensor:
    """The weights of a full convolution that a group-wise one has, (groups, c2 / groups, c /
    groups, k, k); a view.
    """
    split = merged.unflatten(1, (groups, -1)).unflatten(0, (groups, -1))
    return split.diagonal(dim1=0, dim2=2).movedim(-1, 0)
