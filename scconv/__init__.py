"""Convolutions for ablation studies, in torch: the modules, the surgery that puts them into a
network, and what they cost.

from scconv import SCConv, replace_convs, cost

SCConv(64, 64, alpha=0.5)                        # one module
replace_convs(torchvision.models.resnet18(), "scconv", alpha=0.5)   # a whole network
"""

from scconv.convs.scconv import CRU, SRU, SCConv
from scconv.cost import Cost, cost
from scconv.fusing import fuse_for_inference
from scconv.surgery import Swap, replace_convs

__all__ = ["CRU", "SRU", "Cost", "SCConv", "Swap", "cost", "fuse_for_inference", "replace_convs"]
