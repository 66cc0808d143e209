"""SCConv as the most used re-implementation writes it, layer by layer: what users of SCConv are used
to, for the benchmark to compare with.

It differs from the paper in three ways, each of which costs or changes something: the gate keeps its
value below the threshold (a soft gate), one softmax runs over all 2 c channels instead of each pair,
and there is no BatchNorm inside.
"""

import torch
from torch import nn


class PopularSRU(nn.Module):
    """(n, c, h, w) -> (n, c, h, w)."""

    def __init__(self, channels: int, groups: int = 16, threshold: float = 0.5):
        super().__init__()
        self.norm, self.threshold = nn.GroupNorm(groups, channels), threshold

    def forward(self, x):
        normed = self.norm(x)
        share = (self.norm.weight / self.norm.weight.sum()).view(1, -1, 1, 1)
        gate = torch.sigmoid(normed * share)
        w1 = torch.where(gate > self.threshold, torch.ones_like(gate), gate)
        w2 = torch.where(gate > self.threshold, torch.zeros_like(gate), gate)
        x1, x2 = w1 * x, w2 * x
        a1, b1 = torch.split(x1, x1.shape[1] // 2, dim=1)
        a2, b2 = torch.split(x2, x2.shape[1] // 2, dim=1)
        return torch.cat((a1 + b2, b1 + a2), dim=1)


class PopularCRU(nn.Module):
    """(n, c, h, w) -> (n, c, h, w)."""

    def __init__(self, channels: int, alpha: float = 0.5, squeeze: int = 2, groups: int = 2):
        super().__init__()
        self.upper = int(alpha * channels)
        self.lower = channels - self.upper
        up, low = self.upper // squeeze, self.lower // squeeze
        self.squeeze1 = nn.Conv2d(self.upper, up, 1, bias=False)
        self.squeeze2 = nn.Conv2d(self.lower, low, 1, bias=False)
        self.gwc = nn.Conv2d(up, channels, 3, padding=1, groups=groups)
        self.pwc1 = nn.Conv2d(up, channels, 1, bias=False)
        self.pwc2 = nn.Conv2d(low, channels - low, 1, bias=False)
        self.average = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        up, low = torch.split(x, (self.upper, self.lower), dim=1)
        up, low = self.squeeze1(up), self.squeeze2(low)
        y1 = self.gwc(up) + self.pwc1(up)
        y2 = torch.cat((self.pwc2(low), low), dim=1)
        out = torch.cat((y1, y2), dim=1)
        out = torch.softmax(self.average(out), dim=1) * out
        out1, out2 = torch.split(out, out.shape[1] // 2, dim=1)
        return out1 + out2


def popular(channels: int) -> nn.Module:
    return nn.Sequential(PopularSRU(channels), PopularCRU(channels))
