"""The documents' two denoisers, `simple_unet` and `staged`, and the embedding that fixes them."""

import pytest
import torch

from models.diffusion.networks.embedding import TimeEmbedding
from models.diffusion.networks.simple_unet import SimpleUNet
from models.diffusion.networks.staged import StagedDiffusion

NETWORKS = pytest.mark.parametrize("network", [SimpleUNet, StagedDiffusion])


@NETWORKS
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 9, 15)])
def test_shapes(network, shape):
    x_t = torch.randn(2, *shape)
    assert network(shape)(x_t, torch.tensor([0.0, 999.0])).shape == x_t.shape


@NETWORKS
def test_the_output_depends_on_time_and_not_on_the_rest_of_the_batch(network):
    torch.manual_seed(0)
    model = network((1, 8, 8)).eval()
    x, t = torch.randn(1, 1, 8, 8).repeat(3, 1, 1, 1), torch.tensor([5, 900, 5])
    x[2] += 1
    with torch.no_grad():
        output = model(x, t)
        assert (output[0] - output[1]).abs().max() > 1e-4
        torch.testing.assert_close(model(x[:1], t[:1]), output[:1], rtol=1e-5, atol=1e-6)


@NETWORKS
def test_every_parameter_is_reached(network):
    model = network((3, 16, 16))
    model(torch.randn(2, 3, 16, 16), torch.tensor([3, 700])).square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_the_simple_unet_has_the_documents_layers():
    model = SimpleUNet((3, 32, 32))
    sizes = [tuple(p.shape) for p in model.parameters() if p.dim() == 4]
    down = [(64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4)]
    assert sizes == [*down, *reversed(down)]  # transposed convolutions have (in, out, 4, 4)


def test_the_staged_network_has_the_documents_stages():
    model = StagedDiffusion((3, 32, 32))
    assert len(model.stages) == 10
    widths = [layer.out_channels for layer in model.stages[0] if hasattr(layer, "out_channels")]
    assert widths == [32, 16, 64]
    assert len(StagedDiffusion((3, 32, 32), stages=2).stages) == 2


@NETWORKS
@pytest.mark.parametrize("shape", [(2,), (1, 7, 8)])
def test_other_data_is_refused(network, shape):
    with pytest.raises(ValueError, match=r"data_shape must be \(C, H, W\) with sides >= 8"):
        network(shape)


def test_no_stage_at_all_is_refused():
    with pytest.raises(ValueError, match="stages must be at least 1, got 0"):
        StagedDiffusion((1, 8, 8), stages=0)


def test_the_embedding_is_diffusers_before_its_layers():
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    t = torch.tensor([0.0, 1.0, 37.5, 999.0])
    embedding = TimeEmbedding(32)
    embedding.mlp = torch.nn.Identity()
    theirs = embeddings.get_timestep_embedding(t, 32, downscale_freq_shift=1)
    torch.testing.assert_close(embedding(t), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("width", [2, 5])
def test_an_embedding_needs_an_even_width(width):
    with pytest.raises(ValueError, match="must be even and at least 4"):
        TimeEmbedding(width)
