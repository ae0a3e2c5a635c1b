"""Weights saved by diffusers: equal outputs, or a message with the reason."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.diffusion.networks.diffusers_weights import load_diffusers
from models.diffusion.networks.unet import UNet

diffusers = pytest.importorskip("diffusers")

WEIGHTS = "diffusion_pytorch_model.safetensors"
FORMER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""An attention's layers now, and before diffusers 0.15."""


def theirs(**change) -> nn.Module:
    """A small network of DDPM's setting with attention at one level, its weights perturbed."""
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        **{
            "sample_size": 8,
            "in_channels": 3,
            "out_channels": 3,
            "layers_per_block": 1,
            "block_out_channels": (16, 32),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "norm_num_groups": 8,
            "norm_eps": 1e-6,
            "attention_head_dim": None,
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            **change,
        }
    )
    with torch.no_grad():
        for parameter in network.parameters():  # so that norms and biases count as well
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def ours(**change) -> UNet:
    options = {
        "channels": 16,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_levels": (1,),
        "dropout": 0.0,
        "groups": 8,
    }
    return UNet((3, 8, 8), **{**options, **change}).eval()


@pytest.fixture
def folder(tmp_path):
    theirs().save_pretrained(tmp_path)
    return tmp_path


def renamed(folder, change):
    """Write the tensors back under the names, and with the values, that `change` gives them."""
    tensors = load_file(folder / WEIGHTS)
    save_file(dict(filter(None, (change(*item) for item in tensors.items()))), folder / WEIGHTS)


def assert_same(network: UNet) -> None:
    expected, x_t, t = theirs(), torch.randn(2, 3, 8, 8), torch.tensor([3, 700])
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            eps = expected(x_t, t).sample
            assert eps.abs().mean() > 0.1
            assert (network(x_t, t) - eps).norm() < 1e-5 * eps.norm()


def test_the_function_is_the_same(folder):
    network = ours()
    load_diffusers(network, folder)
    assert_same(network)


def test_a_pipelines_folder_and_pickled_weights_are_read(tmp_path):
    theirs().save_pretrained(tmp_path / "unet", safe_serialization=False)
    assert not (tmp_path / "unet" / WEIGHTS).exists()
    network = ours()
    load_diffusers(network, tmp_path)
    assert_same(network)


def test_former_names_of_the_attention_are_read(folder):
    def former(name, tensor):
        for now, before in FORMER.items():
            name = name.replace(f".{now}.", f".{before}.")
        return name, tensor

    renamed(folder, former)
    assert any(".proj_attn." in name for name in load_file(folder / WEIGHTS))
    network = ours()
    load_diffusers(network, folder)
    assert_same(network)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist: name a directory"):
        load_diffusers(ours(), tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=f"holds none of {WEIGHTS}, .*: copy the weights"):
        load_diffusers(ours(), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"\xff\xfe", "config.json is damaged"),
        ("config.json", b"[]", "is not the configuration of a model: copy it again"),
        (WEIGHTS, b"damaged", f"{WEIGHTS} is damaged, copy it again"),
    ],
)
def test_a_damaged_file_is_refused(folder, name, content, sentence):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        load_diffusers(ours(), folder)


def test_damaged_pickled_weights_are_refused(folder):
    (folder / WEIGHTS).unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is damaged, copy it again"):
        load_diffusers(ours(), folder)


@pytest.mark.parametrize(
    ("key", "value"), [("flip_sin_to_cos", True), ("freq_shift", 0), ("norm_eps", 1e-5)]
)
def test_another_function_is_refused(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ValueError, match=f"has {key}={value}, but DDPM's U-Net has"):
        load_diffusers(ours(), folder)


def test_a_setting_that_is_missing_stands_for_diffusers_default(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["downsample_padding"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has downsample_padding=1, but DDPM's U-Net has 0"):
        load_diffusers(ours(), folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"groups": 4}, "has norm_num_groups=8, but groups=4"),
        ({"num_res_blocks": 2}, "the weights are of 8 residual blocks, the network has 12"),
        ({"channels": 32}, "has shape .*, the network's .*: set its sizes as in config.json"),
        ({"attention_levels": (0, 1)}, "lacks .*, which the network has: its attention differs"),
        ({"attention_levels": ()}, "has weights that the network lacks, such as .*attentions"),
    ],
)
def test_other_sizes_are_refused(folder, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_diffusers(ours(**change), folder)


def test_other_networks_are_refused(folder):
    with pytest.raises(ValueError, match="fit the U-Net only, not Linear"):
        load_diffusers(nn.Linear(1, 1), folder)
