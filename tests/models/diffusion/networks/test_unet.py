import pytest
import torch

from models.diffusion.networks.unet import (
    ResidualBlock,
    Stage,
    UNet,
    from_patches,
    to_patches,
)

SMALL = {
    "channels": 32,
    "channel_mult": (1, 2, 2),
    "num_res_blocks": 1,
    "attention_levels": (1,),
    "dropout": 0.0,
    "groups": 8,
}


def diffusers_unet(channels, channel_mult, num_res_blocks, attention_levels, dropout, groups):
    """The same network from diffusers, configured as google/ddpm-cifar10-32."""
    diffusers = pytest.importorskip("diffusers")
    attention = [level in attention_levels for level in range(len(channel_mult))]
    return diffusers.UNet2DModel(
        in_channels=3,
        out_channels=3,
        block_out_channels=tuple(channels * mult for mult in channel_mult),
        layers_per_block=num_res_blocks,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        norm_num_groups=groups,
        dropout=dropout,
    )


def copy_weights(theirs, ours):
    """Copy diffusers' weights: both lists of blocks run in the same order."""

    def put(source, target):
        with torch.no_grad():
            target.weight.copy_(source.weight.view(target.weight.shape))
            target.bias.copy_(source.bias)

    def put_fused(sources, target):
        with torch.no_grad():
            target.weight.copy_(torch.cat([source.weight for source in sources]))
            target.bias.copy_(torch.cat([source.bias for source in sources]))

    groups = [*theirs.down_blocks, theirs.mid_block, *theirs.up_blocks]
    resnets = [resnet for group in groups for resnet in group.resnets]
    attentions = [a for group in groups for a in getattr(group, "attentions", [])]
    scalers = [
        scaler.conv
        for group in groups
        for name in ("downsamplers", "upsamplers")
        for scaler in getattr(group, name, None) or []
    ]
    stages = [m for m in ours.modules() if isinstance(m, Stage)]
    blocks = [m for m in ours.modules() if isinstance(m, ResidualBlock)]
    for source, target in zip(resnets, blocks, strict=True):
        for name in ("norm1", "conv1", "norm2", "conv2"):
            put(getattr(source, name), getattr(target, name))
        if source.conv_shortcut is not None:
            put(source.conv_shortcut, target.shortcut)
    put_fused([resnet.time_emb_proj for resnet in resnets], ours.time_projections)
    targets = [stage.attention for stage in stages if stage.attention is not None]
    for source, target in zip(attentions, targets, strict=True):
        put(source.group_norm, target.norm)
        put_fused([source.to_q, source.to_k, source.to_v], target.to_qkv)
        put(source.to_out[0], target.to_out)
    targets = [m.conv for m in (*ours.down, *ours.up) if not isinstance(m, Stage)]
    for source, target in zip(scalers, targets, strict=True):
        put(source, target)
    put(theirs.conv_in, ours.conv_in)
    put(theirs.time_embedding.linear_1, ours.time_mlp[0])
    put(theirs.time_embedding.linear_2, ours.time_mlp[2])
    put(theirs.conv_norm_out, ours.norm_out)
    put(theirs.conv_out, ours.conv_out)


def test_matches_diffusers_output_and_gradient():
    torch.manual_seed(0)
    theirs, ours = diffusers_unet(**SMALL), UNet((3, 32, 32), **SMALL)
    with torch.no_grad():
        for parameter in theirs.parameters():  # so that norms and biases count as well
            parameter.add_(0.05 * torch.randn_like(parameter))
    copy_weights(theirs, ours)
    x, t = torch.randn(3, 3, 32, 32), torch.tensor([0, 421, 999])
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    eps_ours, eps_theirs = ours(x_ours, t), theirs(x_theirs, t).sample
    torch.testing.assert_close(eps_ours, eps_theirs, rtol=0, atol=1e-5)
    direction = torch.randn_like(x)
    (eps_ours * direction).sum().backward()
    (eps_theirs * direction).sum().backward()
    torch.testing.assert_close(x_ours.grad, x_theirs.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        ours.conv_in.weight.grad, theirs.conv_in.weight.grad, rtol=1e-3, atol=1e-3
    )


def test_parameters_of_the_papers_cifar10_model():
    """35.7 M, exactly those of google/ddpm-cifar10-32."""
    with torch.device("meta"):
        ours = UNet((3, 32, 32))
        theirs = diffusers_unet(128, (1, 2, 2, 2), 2, (1,), 0.1, 32)
    count = sum(p.numel() for p in ours.parameters())
    assert count == 35_746_307
    assert count == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (9, 13), (28, 28), (31, 32), (32, 32)])
def test_any_size_keeps_its_shape(size):
    torch.manual_seed(0)
    network = UNet((1, *size), **SMALL)
    x = torch.randn(2, 1, *size)
    eps = network(x, torch.tensor([3, 700]))
    assert eps.shape == x.shape
    assert eps.dtype == torch.float32
    eps.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("patch_size", "size"), [(1, (7, 7)), (2, (28, 8)), (2, (7, 9)), (3, (8, 7))]
)
def test_patches_become_images_again_exactly(patch_size, size):
    x = torch.randn(2, 3, *size)
    patches = to_patches(x, patch_size)
    rows, columns = (-(-side // patch_size) for side in size)
    assert patches.shape == (2, 3 * patch_size**2, rows, columns)
    assert torch.equal(from_patches(patches, patch_size, size), x)


def test_a_patch_is_one_pixel_with_its_values_as_channels():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    patches = to_patches(x, 2)
    assert patches[0, :, 0, 1].tolist() == [2.0, 3.0, 6.0, 7.0]
    assert patches[0, :, 1, 0].tolist() == [8.0, 9.0, 12.0, 13.0]


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (9, 13), (28, 28)])
def test_a_network_on_patches_keeps_the_shape_and_uses_every_pixel(size):
    torch.manual_seed(0)
    network = UNet((1, *size), **SMALL, patch_size=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x = torch.randn(2, 1, *size, requires_grad=True)
    eps = network(x, torch.tensor([3, 700]))
    assert eps.shape == x.shape
    eps.square().sum().backward()
    assert (x.grad != 0).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_starts_near_zero_so_that_the_first_loss_is_one():
    network = UNet((3, 32, 32), **SMALL)
    eps = network(torch.randn(2, 3, 32, 32), torch.tensor([0, 999]))
    assert eps.abs().max() < 0.01


def test_output_depends_on_the_timestep_and_not_on_the_rest_of_the_batch():
    torch.manual_seed(0)
    network = UNet((3, 16, 16), **SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        x = torch.randn(2, 3, 16, 16)
        both = network(x, torch.tensor([10, 500]))
        alone = network(x[:1], torch.tensor([10]))
        other = network(x[:1], torch.tensor([500]))
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-5)
    assert (other - alone).abs().max() > 1e-3


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    network = UNet((3, 16, 16), **{**SMALL, "dropout": 0.5})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([10])
    assert not torch.equal(network(x, t), network(x, t))
    network.eval()
    assert torch.equal(network(x, t), network(x, t))


def test_bf16_autocast_stays_close_to_fp32():
    torch.manual_seed(0)
    network = UNet((3, 16, 16), **SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    x, t = torch.randn(4, 3, 16, 16), torch.tensor([0, 10, 500, 999])
    exact = network(x, t)
    exact.square().mean().backward()
    gradients = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x, t).float()
    assert (rounded - exact).norm() < 0.03 * exact.norm()
    rounded.square().mean().backward()
    for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
        difference = (parameter.grad - gradient).norm()
        assert difference < 0.1 * gradient.norm() + 1e-4, name


@pytest.mark.parametrize(
    ("data_shape", "change"),
    [
        ((2,), {}),
        ((3, 3, 3), {}),
        ((3, 32, 32), {"channels": 33}),
        ((3, 32, 32), {"groups": 12}),
        ((3, 32, 32), {"attention_levels": (3,)}),
        ((3, 32, 32), {"channel_mult": ()}),
        ((3, 32, 32), {"patch_size": 0}),
        ((3, 6, 32), {"patch_size": 2}),
    ],
)
def test_bad_arguments_are_refused(data_shape, change):
    with pytest.raises(ValueError, match="must"):
        UNet(data_shape, **{**SMALL, **change})


@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_a_wide_network_is_the_same_function_where_nothing_is_trained(size):
    torch.manual_seed(0)
    network = UNet((3, *size), **{**SMALL, "channels": 96})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    x, t = torch.randn(16, 3, *size), torch.tensor([3, 700]).repeat(8)
    expected = network(x, t).detach()
    with torch.no_grad():
        sampled = network(x, t)
    assert expected.abs().max() > 0.1
    assert (sampled - expected).norm() < 1e-5 * expected.norm()


def test_a_network_is_told_several_times_of_a_sample_and_where_each_of_them_is():
    torch.manual_seed(0)
    network = UNet((3, 8, 8), **SMALL, num_times=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        x = torch.randn(1, 3, 8, 8).repeat(4, 1, 1, 1)
        t = torch.tensor([[3.0, 5.0], [5.0, 3.0], [3.0, 9.0], [9.0, 5.0]])
        output = network(x, t)
    for k in range(4):
        for other in range(k):
            assert (output[k] - output[other]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({"num_classes": 3}, ({"y": torch.tensor([0])}, {"y": torch.tensor([3])})),
        ({"latent_dim": 5}, ({"z": torch.zeros(1, 5)}, {"z": torch.ones(1, 5)})),
    ],
    ids=["class", "latent"],
)
def test_further_inputs_change_the_output(options, inputs):
    torch.manual_seed(0)
    network = UNet((3, 8, 8), **SMALL, **options, out_channels=6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        x, t = torch.randn(1, 3, 8, 8), torch.tensor([3])
        first, second = (network(x, t, **given) for given in inputs)
    assert first.shape == (1, 6, 8, 8)
    assert (first - second).abs().max() > 1e-3


def test_residual_branches_and_the_output_start_near_zero():
    """Ho et al. 2020, App. B: a fresh network is nearly its shortcuts."""
    unet = UNet((3, 8, 8), **SMALL)
    last = [block.conv2.weight for block in unet.modules() if isinstance(block, ResidualBlock)]
    assert last
    assert all(0 < weight.abs().max() < 1e-4 for weight in (*last, unet.conv_out.weight))


@pytest.mark.parametrize("options", [{"groups": 0}, {"num_res_blocks": 0}])
def test_parts_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match="groups and num_res_blocks must be at least 1"):
        UNet((3, 8, 8), **{**SMALL, **options})
