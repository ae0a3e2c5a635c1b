"""The transformer: its blocks against diffusers', its start, its inputs."""

import pytest
import torch
from torch import nn

from models.diffusion.networks.dit import Block, DiT, grid_embedding

SMALL = {"width": 24, "depth": 2, "heads": 3}


class Given(nn.Module):
    """Stands for the embedding that every block of diffusers' has of its own."""

    def __init__(self, condition: torch.Tensor) -> None:
        super().__init__()
        self.condition = condition

    def forward(self, *_, **__) -> torch.Tensor:
        return self.condition


def awake(network: nn.Module) -> nn.Module:
    """Perturb all weights: as built, modulations and output are zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def make(*shape: int, **options) -> DiT:
    torch.manual_seed(0)
    return DiT(shape, **{**SMALL, **options})


def test_a_block_is_diffusers_block():
    blocks = pytest.importorskip("diffusers.models.attention")
    torch.manual_seed(0)
    ours = awake(Block(24, heads=3))
    theirs = blocks.BasicTransformerBlock(
        24,
        3,
        8,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=2,
        attention_bias=True,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    ).eval()
    attention = theirs.attn1
    layers = (attention.to_q, attention.to_k, attention.to_v)
    weights, biases = ours.to_qkv.weight.chunk(3), ours.to_qkv.bias.chunk(3)
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    attention.to_out[0].load_state_dict(ours.to_out.state_dict())
    theirs.ff.net[0].proj.load_state_dict(ours.mlp[0].state_dict())
    theirs.ff.net[2].load_state_dict(ours.mlp[2].state_dict())
    theirs.norm1.linear.load_state_dict(ours.modulation[1].state_dict())
    x, condition = torch.randn(2, 7, 24), torch.randn(2, 24)
    theirs.norm1.emb = Given(condition)
    expected = theirs(x, timestep=torch.tensor([0, 1]), class_labels=torch.tensor([0, 1]))
    torch.testing.assert_close(ours(x, condition), expected, rtol=1e-5, atol=1e-5)


def test_positions_are_those_of_the_authors_with_rows_first():
    """Their grid has columns first, which is ours transposed."""
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    theirs = embeddings.get_2d_sincos_pos_embed(16, 5, base_size=5, output_type="pt").float()
    ours = grid_embedding(5, 5, 16).view(5, 5, 16)
    torch.testing.assert_close(ours, theirs.view(5, 5, 16).transpose(0, 1), rtol=0, atol=1e-5)


def test_the_published_network_has_the_published_size():
    """DiT-S/2 on latents of 4 x 32 x 32 with 1000 classes: 33 M (Peebles & Xie 2023, Table 1)."""
    with torch.device("meta"):
        network = DiT((4, 32, 32), num_classes=1000, out_channels=8)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(33e6, rel=0.02)


@pytest.mark.parametrize(("shape", "patch"), [((1, 28, 28), 4), ((3, 8, 12), 2), ((1, 4, 4), 1)])
def test_shapes(shape, patch):
    network = awake(make(*shape, patch_size=patch, out_channels=5))
    x = torch.randn(2, *shape)
    assert network(x, torch.tensor([0, 999])).shape == (2, 5, *shape[1:])


def test_blocks_start_as_the_identity_and_the_network_at_zero():
    network = make(1, 8, 8)
    x = torch.randn(2, 5, 24)
    assert torch.equal(network.blocks[0](x, torch.randn(2, 24)), x)
    assert not network(torch.randn(2, 1, 8, 8), torch.tensor([0, 999])).any()


def test_every_patch_keeps_its_place():
    """The network that returns its input: patches are cut and put together in the same order."""
    network = make(1, 8, 12, width=4, heads=1, patch_size=2)
    with torch.no_grad():
        network.positions.zero_()
        network.patches.weight.copy_(torch.eye(4).view(4, 1, 2, 2))
        network.output.weight.copy_(torch.eye(4))
    network.norm = nn.Identity()
    x = torch.randn(3, 1, 8, 12)
    torch.testing.assert_close(network(x, torch.tensor([1, 2, 3])), x)


def test_the_output_depends_on_time_class_and_place_and_not_on_the_rest_of_the_batch():
    network = awake(make(1, 8, 8, num_classes=3))
    x, t, y = torch.randn(1, 1, 8, 8).repeat(4, 1, 1, 1), torch.tensor([5, 5, 9, 5]), [0, 1, 0, 3]
    with torch.no_grad():
        output = network(x, t, torch.tensor(y))
        for other in (1, 2, 3):
            assert not torch.allclose(output[0], output[other], atol=1e-3)
        alone = network(x[:1], t[:1], torch.tensor(y[:1]))
        torch.testing.assert_close(alone, output[:1], rtol=1e-5, atol=1e-5)
        moved = network(x[:1].roll(2, dims=2), t[:1], torch.tensor(y[:1]))
        assert not torch.allclose(moved, alone.roll(2, dims=2), atol=1e-3)


def test_several_times_of_a_sample_are_told_apart():
    network = awake(make(1, 8, 8, num_times=2))
    x, t = torch.randn(1, 1, 8, 8).repeat(3, 1, 1, 1), [[3.0, 5.0], [5.0, 3.0], [3.0, 9.0]]
    with torch.no_grad():
        output = network(x, torch.tensor(t))
    for other in (1, 2):
        assert not torch.allclose(output[0], output[other], atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "change", "sentence"),
    [
        ((2,), {}, r"data_shape must be .* got \(2,\): choose"),
        ((1, 7, 8), {}, "multiples of patch_size=2"),
        ((1, 8, 8), {"width": 26}, "width must be a multiple of 4 and of heads"),
        ((1, 8, 8), {"heads": 5}, "width must be a multiple of 4 and of heads"),
        ((1, 8, 8), {"depth": 0}, "depth at least 1"),
    ],
)
def test_bad_arguments_are_refused(shape, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(*shape, **change)


@pytest.mark.parametrize("options", [{"heads": 0}, {"patch_size": 0}])
def test_sizes_of_nothing_are_refused(options):
    with pytest.raises(ValueError, match="patch_size and heads must be at least 1"):
        DiT((1, 8, 8), **options)
