"""Surgery on the networks of others: what SCConv takes the place of, or why it does not, as a table.

    python -m tests.networks --out results/surgery

torchvision's classification, segmentation and detection networks, and those of timm and
segmentation_models_pytorch where they are installed; on the meta device, so nothing is computed.
Which layers make a network's output is read from autograd's graph of one forward, and not from
their names, as surgery does it: none of them may be replaced.
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scconv import replace_convs

FIELDS = "library", "network", "replaced", "outputs", "outputs_replaced", "reason"
# one network of each of timm's common families, and those whose blocks differ most
TIMM = """resnet50 resnet50d seresnet50 resnetaa50 resnext50_32x4d res2net50_26w_4s resnest50d
wide_resnet50_2 resnetv2_50 resnetv2_50x1_bit ecaresnet50t gcresnet50t skresnet50 cspresnet50
cspdarknet53 darknet53 dla34 dpn68 densenet121 vgg16 repvgg_a2 regnetx_032 regnety_032 nfnet_f0
efficientnet_b0 efficientnetv2_rw_s mobilenetv3_large_100 mnasnet_100 ghostnet_100 hrnet_w18
selecsls42b vovnet39a ese_vovnet39b xception41 inception_v4 inception_resnet_v2 convnext_tiny
convnextv2_tiny focalnet_tiny_srf poolformer_s12 edgenext_small fastvit_t8 mobileone_s0 rexnet_100
vit_tiny_patch16_224 swin_tiny_patch4_window7_224 maxvit_tiny_tf_224 coatnet_0_rw_224 levit_128
efficientformer_l1 tresnet_m hardcorenas_a lcnet_100 tinynet_a visformer_tiny"""
SMP = """Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus UPerNet Segformer"""
# what autograd calls the steps that change no value's meaning: only they are behind an output layer
THROUGH = tuple(
    """Add Sub Mul Div View Reshape Permute Transpose Cat Upsample Slice Select Squeeze
Unsqueeze Copy Clone Stack Alias Mean Split Unbind ToCopy Unsafe Pixel Roll Expand AsStrided""".split()  # noqa: SIM905 - shorter to read
)
WEIGHTED = "Convolution", "Addmm", "Mm", "Addbmm", "Baddbmm", "Bmm"


def output_layers(model: nn.Module, made: Any) -> set[str]:
    """The paths of the layers between which and the output there is no other one, nor a function."""
    parameters: set[int] = set()
    todo = [t.grad_fn for t in _tensors(made) if t.grad_fn is not None]
    seen = set(todo)
    while todo:
        step = todo.pop()
        before = [node for node, _ in step.next_functions if node is not None]
        if step.name().startswith(WEIGHTED):
            parameters |= {id(node.variable) for node in _own(before)}
        elif step.name().startswith(THROUGH):
            todo += [node for node in before if node not in seen]
            seen |= {*before}
    return {
        path
        for path, module in model.named_modules()
        if any(id(p) in parameters for p in module.parameters(recurse=False))
    }


def _own(nodes: list[Any]) -> Iterator[Any]:
    """The parameters that a layer is given, also by way of a transposition or a view of them."""
    for node in nodes:
        if hasattr(node, "variable"):
            yield node
        elif node.name().startswith(("T", "View", "Reshape", "Permute")):
            yield from _own([n for n, _ in node.next_functions if n is not None])


def _tensors(made: Any) -> Iterator[torch.Tensor]:
    if isinstance(made, torch.Tensor):
        yield made
    elif isinstance(made, dict | list | tuple):
        for part in made.values() if isinstance(made, dict) else made:
            yield from _tensors(part)


def forward(model: nn.Module, image: torch.Tensor) -> Any:
    """What a network makes; of a detector, what its heads do, before boxes are picked by value."""
    if hasattr(model, "backbone") and hasattr(model, "rpn"):
        maps, heads = [*model.backbone(image).values()], model.roi_heads
        made = [model.rpn.head(maps)]
        made.append(heads.box_predictor(heads.box_head(torch.zeros(2, 256, 7, 7))))
        for kind in ("mask", "keypoint"):
            if getattr(heads, f"{kind}_predictor", None) is not None:
                head, last = (getattr(heads, f"{kind}_{part}") for part in ("head", "predictor"))
                made.append(last(head(torch.zeros(2, 256, 14, 14))))
        return made
    if hasattr(model, "backbone") and hasattr(model, "anchor_generator"):
        return model.head([*model.backbone(image).values()])
    return model(image)


def tried(library: str, name: str, build: Callable[[], nn.Module], size: int) -> dict[str, Any]:
    """One row of the table."""
    row = dict.fromkeys(FIELDS, "") | {"library": library, "network": name}
    with torch.device("meta"):
        model = _built(build)
        image = torch.zeros(2, 3, size, size)
        outputs = {
            path: model.get_submodule(path) for path in output_layers(model, forward(model, image))
        }
        try:
            row["replaced"] = len(replace_convs(model, "scconv"))
        except ValueError as error:
            row["replaced"], row["reason"] = 0, " ".join(str(error).split())
        else:
            forward(model, image)
    changed = [path for path, module in outputs.items() if model.get_submodule(path) is not module]
    row["outputs"] = " ".join(sorted(outputs))
    row["outputs_replaced"] = " ".join(changed)
    return row


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        return build()
    except NotImplementedError:  # its constructor reads numbers from tensors, as RegNet's does
        with torch.device("cpu"):
            return build().to("meta")


def torchvision_networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    from torchvision.models import detection, get_model, list_models, quantization, segmentation

    no_weights = {"weights": None, "weights_backbone": None}
    skipped = {*list_models(quantization), "raft_large", "raft_small"}
    for name in list_models():
        video = any(part in name for part in ("r3d", "mc3", "r2plus1d", "s3d", "mvit", "swin3d"))
        if name in skipped or video:
            continue
        inner = name in {*list_models(detection), *list_models(segmentation)}
        arguments = no_weights if inner else {}
        size = 299 if name == "inception_v3" else 224 if not inner else 320
        yield name, lambda n=name, a=arguments: get_model(n, **a), size


def timm_networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    try:
        import timm
    except ImportError:
        return
    for name in TIMM.split():
        yield name, lambda n=name: timm.create_model(n), 224


def smp_networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        return
    for decoder in SMP.split():
        for encoder in ("resnet34", "efficientnet-b0"):
            make = getattr(smp, decoder)
            yield (
                f"{decoder} {encoder}",
                lambda m=make, e=encoder: m(e, encoder_weights=None, classes=5),
                256,
            )


def main() -> int:
    """1: an output layer was replaced."""
    parser = argparse.ArgumentParser(prog="python -m tests.networks")
    parser.add_argument("--out", type=Path, default=Path("results/surgery"))
    parser.add_argument("--only", default="", help="part of a network's name")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for library, networks in (
        ("torchvision", torchvision_networks()),
        ("timm", timm_networks()),
        ("segmentation_models_pytorch", smp_networks()),
    ):
        for name, build, size in networks:
            if args.only not in name:
                continue
            try:
                rows.append(tried(library, name, build, size))
            except Exception as error:
                reason = f"NOT TRIED: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
                rows.append(
                    dict.fromkeys(FIELDS, "")
                    | {"library": library, "network": name, "reason": reason}
                )
            print(*rows[-1].values(), sep=" | ", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "networks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 1 if any(row["outputs_replaced"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
