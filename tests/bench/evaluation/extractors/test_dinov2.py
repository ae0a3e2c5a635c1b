import fidelity_weights
import pytest
import torch
from torch.nn import functional as F

from bench.evaluation.extractors.dinov2 import DinoV2, _resized


def by_hand(tensors, images):
    """The transformer as the paper has it: heads of 64 channels, scaled residual branches."""

    def linear(name, x):
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name, x):
        return F.layer_norm(
            x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6
        )

    kernel, bias = tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]
    patches = F.conv2d(images, kernel, bias, stride=14).flatten(2).mT
    x = torch.cat((tensors["cls_token"].expand(len(images), -1, -1), patches), 1)
    x = x + tensors["pos_embed"]
    for index in range(2):
        block = f"blocks.{index}"
        qkv = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x))
        q, k, v = qkv.unflatten(2, (3, -1, 64)).permute(2, 0, 3, 1, 4)  # (B, heads, N, 64)
        mixed = ((q @ k.mT / 8).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + tensors[f"{block}.ls1.gamma"] * linear(f"{block}.attn.proj", mixed)
        hidden = F.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x)))
        x = x + tensors[f"{block}.ls2.gamma"] * linear(f"{block}.mlp.fc2", hidden)
    return norm("norm", x)[:, 0]


def test_the_encoder_computes_the_published_network():
    torch.manual_seed(0)
    tensors = fidelity_weights.dinov2(width=128, side=3)
    images = torch.randn(4, 3, 42, 42)
    network = DinoV2(tensors, 42).eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(images), by_hand(tensors, images), rtol=1e-4, atol=1e-5)


def test_positions_are_resized():
    ramp = torch.arange(8.0).expand(8, 8)  # the column of each patch
    table = torch.stack((torch.full((8, 8), 3.0), ramp), 2).reshape(1, 64, 2)
    assert _resized(table, 8) is table
    resized = _resized(table, 4).unflatten(1, (4, 4))  # (1, 4, 4, 2)
    torch.testing.assert_close(resized[..., 0], torch.full((1, 4, 4), 3.0))
    # Bicubic interpolation nearly reproduces lines: centres of the new columns, off the edge. The
    # offset moves the last of them by 0.12.
    centres = (torch.arange(4) + 0.5) * 8 / 4.1 - 0.5
    torch.testing.assert_close(resized[0, 0, 1:3, 1], centres[1:3], rtol=0, atol=0.05)


def test_a_state_dict_of_something_else():
    with pytest.raises(KeyError, match=r"patch_embed\.proj\.weight"):
        DinoV2({}, 224)
    tensors = fidelity_weights.dinov2(width=128)
    tensors["blocks.1.mlp.fc1.bias"] = torch.zeros(3)
    with pytest.raises(RuntimeError, match=r"linear1\.bias"):
        DinoV2(tensors, 224)
