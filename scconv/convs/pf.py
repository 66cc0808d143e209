"""Parameter-free layer: a max-pooling in place of the 3x3 convolution, its BatchNorm and its ReLU.

The "PfLayer R50-max" of the SCConv paper's Table 3: the features are mixed by the 1x1 convolutions
around it alone. Its printed counts (18.00M, 2.90G) are not those of this definition. It takes the
place of convolutions that keep the channels.
"""

from torch import nn

COST = {"params": 0, "macs": 0}


class Pf(nn.MaxPool2d):
    """(n, c, h, w) -> (n, c, ceil(h / stride), ceil(w / stride))."""

    covers = ("norm", "act")


def drop_in(conv: nn.Conv2d) -> nn.Module:
    """Max-pooling with the convolution's kernel, stride and padding.

    Raises:
        ValueError: the convolution changes the number of channels, or has dilation or unusual
            padding.
    """
    if conv.in_channels != conv.out_channels:
        raise ValueError(
            f"`in_channels` (={conv.in_channels}) must equal `out_channels` "
            f"(={conv.out_channels}): pooling makes no new channels"
        )
    if conv.padding_mode != "zeros":
        raise ValueError(
            f"`padding_mode` (={conv.padding_mode}) must be zeros: max-pooling pads with nothing "
            "else; keep this convolution as it is"
        )
    half = tuple(k // 2 for k in conv.kernel_size)
    if conv.padding not in ("same", half) or conv.dilation != (1, 1):
        raise ValueError(
            f"`padding` (={conv.padding}) must be half the kernel and `dilation` "
            f"(={conv.dilation}) 1; keep this convolution as it is"
        )
    return Pf(conv.kernel_size, conv.stride, half)
