"""A fused network computes what the trained one does in eval mode, and can be exported."""

import pytest
import torch
from torch import nn

from scconv import CRU, backbones, fuse_for_inference, replace_convs


def trained(**options) -> CRU:
    torch.manual_seed(0)
    cru = CRU(32, 32, **options).double()
    with torch.no_grad():
        for parameter in cru.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
        for _ in range(5):
            cru(torch.randn(4, 32, 8, 8, dtype=torch.float64))
    return cru.eval()


@pytest.mark.parametrize("lower", ["paper", "eq11", "eq11-full"])
@pytest.mark.parametrize("stride, pool", [(1, "before"), (2, "before"), (2, "after")])
def test_the_output_is_the_same(lower, stride, pool):
    cru = trained(lower=lower, stride=stride, lower_pool=pool)
    x = torch.randn(2, 32, 7, 7, dtype=torch.float64)
    before = {name: value.clone() for name, value in cru.state_dict().items()}
    fused = fuse_for_inference(cru)
    torch.testing.assert_close(fused(x), cru(x).detach(), rtol=1e-10, atol=1e-10)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert all(torch.equal(value, before[name]) for name, value in cru.state_dict().items())


def test_a_whole_network_and_its_export():
    torch.manual_seed(0)
    model = backbones.build("resnet20", 10)
    swaps = replace_convs(model, "scconv")
    x = torch.randn(2, 3, 16, 16)
    model(x)
    fused = fuse_for_inference(model)
    norms = [n for n, m in fused.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(n.startswith(tuple(f"{s.path}.cru" for s in swaps)) for n in norms)
    assert model.training and not fused.training
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model.eval()(x), rtol=1e-3, atol=1e-4)
        program = torch.export.export(fused, (x,))
        torch.testing.assert_close(program.module()(x), fused(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dynamo", [True, False], ids=["exported", "traced"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "as trained"])
@pytest.mark.filterwarnings("ignore")
def test_a_network_runs_as_onnx(dynamo, fused, tmp_path):
    """As both of torch's exporters write it; it runs without torch."""
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxscript onnxruntime")
    torch.manual_seed(0)
    model = backbones.build("resnet20", 10)
    replace_convs(model, "scconv")
    x = torch.randn(4, 3, 32, 32)
    for _ in range(3):  # so that the running statistics are some
        model(x)
    model = fuse_for_inference(model) if fused else model.eval()
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (x,), path, input_names=["x"], dynamo=dynamo, verbose=False)
    (found,) = runtime.InferenceSession(path).run(None, {"x": x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=1e-3, atol=1e-4)


def test_nothing_to_fuse_is_refused():
    with pytest.raises(ValueError, match="Conv2d has no CRU to fuse; call it on a network with"):
        fuse_for_inference(nn.Conv2d(3, 3, 1))
    cru = CRU(32, 32)
    cru.norm_up = nn.BatchNorm2d(32, track_running_stats=False)
    with pytest.raises(ValueError, match="`track_running_stats` of a norm in the CRU must be True"):
        fuse_for_inference(cru)
