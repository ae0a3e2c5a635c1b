"""Weights of diffusers' `UNet2DModel` in DDPM's setting: read into our U-Net, or made of one."""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.diffusion.networks.unet import Downsample, Stage, UNet
from models.exports import NoCounterpartError

FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")

SETTING = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "center_input_sample": False,
    "class_embed_type": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-6,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
}
"""What DDPM's networks have in config.json; others compute another function."""

DEFAULTS = {
    "act_fn": "silu",
    "attention_head_dim": 8,
    "center_input_sample": False,
    "class_embed_type": None,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
}
"""What a config.json that lacks a key stands for."""

ATTENTION = ("group_norm", "to_q", "to_k", "to_v", "to_out.0")
FORMER_ATTENTION = ("group_norm", "query", "key", "value", "proj_attn")
"""Names of an attention's layers, now and before diffusers 0.15."""


def load_diffusers(network: nn.Module, directory: str | Path) -> None:
    """Give a U-Net the weights that diffusers saved.

    Args:
        network: our U-Net, of the same sizes.
        directory: holds config.json and the weights, itself or in its sub-folder `unet`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the network is no U-Net, the weights are damaged, or they are of another setting
            or size; the message says which.
    """
    if not isinstance(network, UNet):
        raise ValueError(f"pretrained weights fit the U-Net only, not {type(network).__name__}")
    folder = Path(directory)
    folder = folder / "unet" if (folder / "unet").is_dir() else folder
    config = _read_config(folder / "config.json")
    tensors = _read_tensors(folder)
    for key, expected in SETTING.items():
        found = config.get(key, DEFAULTS[key])
        if found != expected:
            raise ValueError(f"{folder} has {key}={found!r}, but DDPM's U-Net has {expected!r}")
    if (groups := config.get("norm_num_groups", 32)) != network.norm_out.num_groups:
        raise ValueError(
            f"{folder} has norm_num_groups={groups}, but groups={network.norm_out.num_groups}"
        )
    left = set(tensors)
    levels = len(config.get("block_out_channels", (224, 448, 672, 896)))
    blocks = config.get("layers_per_block", 2)
    with torch.no_grad():
        for ours, names in _pairs(network, levels, blocks, tensors):
            _copy(ours, names, tensors, folder)
            left -= set(names)
    if left:
        raise ValueError(f"{folder} has weights that the network lacks, such as {min(left)}")


def to_diffusers(
    network: nn.Module, data_shape: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A `UNet2DModel` that computes what a U-Net does, without an augmentation's parameters.

    Args:
        network: our U-Net.
        data_shape: of its samples.

    Returns:
        The arguments of `UNet2DModel`, and its state dict.

    Raises:
        NoCounterpartError: there is none.
    """
    if not isinstance(network, UNet):
        raise NoCounterpartError(f"diffusers has no pipeline for its {type(network).__name__}")
    levels = 1 + sum(isinstance(module, Downsample) for module in network.down)
    stages = [module for module in network.down if isinstance(module, Stage)]
    blocks = len(stages) // levels
    last = stages[blocks - 1 :: blocks]  # of every level
    widths = [stage.block.conv1.out_channels for stage in last]
    _require_counterpart(network, data_shape, widths)
    attention = ["Attn" if stage.attention is not None else "" for stage in last]
    height, breadth = data_shape[1:]
    config = {
        **SETTING,
        "sample_size": height if height == breadth else [height, breadth],
        "in_channels": data_shape[0],
        "out_channels": network.conv_out.out_channels,
        "block_out_channels": widths,
        "layers_per_block": blocks,
        "down_block_types": [f"{kind}DownBlock2D" for kind in attention],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(attention)],
        "dropout": stages[0].block.dropout.p,
        "norm_num_groups": network.norm_out.num_groups,
    }
    weights = {}
    for ours, names in _pairs(network, levels, blocks, {}):
        weights |= dict(zip(names, _parts(network, ours.detach(), len(names)), strict=True))
    return config, {name: part.contiguous() for name, part in weights.items()}


def _parts(network: UNet, ours: Tensor, count: int) -> Sequence[Tensor]:
    """A parameter as the tensors that it stands for, which lie one below the other in it."""
    if count == len(network.block_widths):  # more blocks than an attention has matrices
        return ours.split(network.block_widths)
    return ours.chunk(count)


def _require_counterpart(network: UNet, data_shape: tuple[int, ...], widths: list[int]) -> None:
    """Raise NoCounterpartError on what our U-Net has and `UNet2DModel` has not."""
    if len(data_shape) != 3:
        raise NoCounterpartError("its samples are signals, and diffusers' UNet2DModel takes images")
    if network.patch_size > 1:
        raise NoCounterpartError(
            f"its U-Net has patch_size={network.patch_size}, and diffusers' UNet2DModel takes "
            "single pixels only"
        )
    if network.classes is not None or network.latent_mlp is not None:
        raise NoCounterpartError(
            "its U-Net has an input of classes or latents, which diffusers' UNet2DModel adds "
            "elsewhere or not at all"
        )
    inputs, channels = network.time_mlp[0].in_features, network.conv_in.out_channels  # pyright: ignore
    if inputs != channels or channels != widths[0]:
        raise NoCounterpartError(
            "its U-Net has several times or a first level that is wider than its first "
            "convolution, and diffusers' UNet2DModel has neither"
        )
    if any(side % 2 ** (len(widths) - 1) for side in data_shape[1:]):
        raise NoCounterpartError(
            f"its images of {data_shape[1]}x{data_shape[2]} have an odd side at one of the "
            f"{len(widths)} levels of its U-Net, which diffusers' UNet2DModel halves in another way"
        )


def _pairs(
    network: UNet, levels: int, blocks: int, tensors: Mapping[str, Tensor]
) -> Iterator[tuple[Tensor, list[str]]]:
    """Our parameters, each with the names of the tensors that make it, one below the other.

    Args:
        network: our U-Net.
        levels: of theirs.
        blocks: residual blocks of a level on their way down.
        tensors: theirs, if they have former names.
    """

    def layer(ours: nn.Module, *names: str) -> Iterator[tuple[Tensor, list[str]]]:
        for kind, parameter in ours.named_parameters():
            yield parameter, [f"{name}.{kind}" for name in names]

    down = [f"down_blocks.{level}" for level in range(levels)]
    up = [f"up_blocks.{level}" for level in range(levels)]
    resnets = [f"{level}.resnets.{k}" for level in down for k in range(blocks)]
    resnets += [f"mid_block.resnets.{k}" for k in range(2)]
    resnets += [f"{level}.resnets.{k}" for level in up for k in range(blocks + 1)]
    stages = [module for module in network.modules() if isinstance(module, Stage)]
    if len(resnets) != len(stages):
        raise ValueError(
            f"the weights are of {len(resnets)} residual blocks, the network has {len(stages)}: "
            "set channel_mult and num_res_blocks as in their config.json"
        )
    for stage, name in zip(stages, resnets, strict=True):
        for part in ("norm1", "conv1", "norm2", "conv2"):
            yield from layer(getattr(stage.block, part), f"{name}.{part}")
        if stage.block.shortcut is not None:
            yield from layer(stage.block.shortcut, f"{name}.conv_shortcut")
        if stage.attention is not None:
            attention = name.replace("resnets", "attentions")
            former = f"{attention}.query.weight" in tensors
            norm, q, k, v, out = FORMER_ATTENTION if former else ATTENTION
            yield from layer(stage.attention.norm, f"{attention}.{norm}")
            yield from layer(stage.attention.to_qkv, *(f"{attention}.{n}" for n in (q, k, v)))
            yield from layer(stage.attention.to_out, f"{attention}.{out}")
    yield from layer(network.time_projections, *(f"{name}.time_emb_proj" for name in resnets))
    scalers = [m for m in (*network.down, *network.up) if not isinstance(m, Stage)]
    names = [f"{level}.downsamplers.0" for level in down[:-1]]
    names += [f"{level}.upsamplers.0" for level in up[:-1]]
    for scaler, name in zip(scalers, names, strict=True):
        yield from layer(scaler, name)
    yield from layer(network.time_mlp[0], "time_embedding.linear_1")
    yield from layer(network.time_mlp[2], "time_embedding.linear_2")
    yield from layer(network.conv_in, "conv_in")
    yield from layer(network.norm_out, "conv_norm_out")
    yield from layer(network.conv_out, "conv_out")


def _copy(ours: Tensor, names: list[str], tensors: dict[str, Tensor], folder: Path) -> None:
    """Fill a parameter from named tensors; ValueError if one is missing or of another shape."""
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValueError(
            f"{folder} lacks {missing[0]}, which the network has: its attention differs"
        )
    theirs = torch.cat([tensors[name] for name in names]) if len(names) > 1 else tensors[names[0]]
    if theirs.numel() != ours.numel() or theirs.shape[0] != ours.shape[0]:
        raise ValueError(
            f"{folder}: {names[0]} has shape {tuple(theirs.shape)}, the network's "
            f"{tuple(ours.shape)}: set its sizes as in config.json"
        )
    ours.copy_(theirs.view(ours.shape))


def _read_config(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: name a directory that diffusers' save_pretrained wrote"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not the configuration of a model: copy it again")
    return config


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of the first of `FILES` that exists; no code in them is run."""
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{folder} holds none of {', '.join(FILES)}: copy the weights there"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged, copy it again ({error})") from error
