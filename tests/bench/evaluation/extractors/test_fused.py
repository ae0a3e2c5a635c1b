import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.evaluation.extractors import fused
from bench.evaluation.extractors.fused import FusedConvolution, fold_batch_norms, fuse_sequences

X = 4 * torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[True, False], ids=["onednn", "plain"])
def operator(request, monkeypatch):
    if request.param and not fused._has_operator():
        pytest.skip("this torch has no fused convolution")
    monkeypatch.setattr(fused, "_has_operator", lambda: request.param)


def frozen(convolution: nn.Conv2d) -> nn.Conv2d:
    return convolution.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("none", lambda y: y), ("relu", F.relu), ("relu6", F.relu6)],
)
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.usefixtures("operator")
def test_it_is_the_convolution_and_its_activation(activation, function, groups):
    layer = frozen(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups))
    joined = FusedConvolution(layer, activation)
    for x in (X, X[:1], X[:, :, :, :7]):  # weights reordered for one size serve every other
        torch.testing.assert_close(joined(x), function(layer(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("zeros", [(0, 1), (1, 2), (2, 2)])
@pytest.mark.usefixtures("operator")
def test_more_zeros_at_the_end_than_at_the_start(kernel, zeros):
    layer = frozen(nn.Conv2d(4, 4, kernel, stride=2, groups=4))
    y = layer(F.pad(X, zeros * 2)).relu()
    torch.testing.assert_close(
        FusedConvolution(layer, "relu", zeros * 2)(X), y, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("zeros", [(1, 0, 1, 0), (1, 1, 0, 0)])
def test_padding_that_cannot_be_expressed_is_refused(zeros):
    with pytest.raises(ValueError, match="pad"):
        FusedConvolution(frozen(nn.Conv2d(4, 4, 3)), "none", zeros)


def test_another_kind_of_padding_is_refused():
    with pytest.raises(ValueError, match="zero padding"):
        FusedConvolution(frozen(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), "none")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Conv2d(4, 4, 1)
        self.relu = nn.ReLU()  # of the sum: registered after a convolution that it does not follow

    def forward(self, x):
        return self.relu(x + self.last(self.body(x)))


@pytest.mark.usefixtures("operator")
def test_a_network_gives_the_same_with_its_sequences_fused():
    network = nn.Sequential(Residual(), nn.Conv2d(4, 2, 1), nn.Sigmoid()).eval()
    norm = network[0].body[1]
    norm.running_mean.normal_(), norm.running_var.uniform_(1, 2)
    network.requires_grad_(False)
    y = network(X)
    fuse_sequences(fold_batch_norms(network))
    torch.testing.assert_close(network(X), y, rtol=1e-5, atol=1e-5)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(FusedConvolution) == 1
    assert kinds.count(nn.ReLU) == 1
    assert nn.BatchNorm2d not in kinds


def test_the_operator_is_used_where_this_torch_has_it():
    assert fused._has_operator() == hasattr(torch.ops.mkldnn, "_convolution_pointwise")
