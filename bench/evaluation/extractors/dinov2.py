"""DINOv2's vision transformer, built from its published state dict without running its code."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_WIDTH = 64
_LAYER_NORM_EPS = 1e-6
_OFFSET = 0.1
"""Offset added to the new grid size of positions, needed to reproduce the published features."""


class DinoV2(nn.Module):
    """A pre-norm vision transformer (Oquab et al. 2023), built from torch's encoder.

    A residual branch of DINOv2 is multiplied by a learned scale per channel. Here the scale is
    folded into the branch's last layer, so that torch's encoder layer is equivalent. The variant
    with gated feed-forward layers (ViT-g/14) cannot be expressed by torch's encoder.

    Args:
        tensors: the published state dict; width, depth and patch size are read from its shapes.
        side: side of the square input images, in pixels.

    Raises:
        KeyError: a tensor is missing.
        RuntimeError: the shapes of tensors do not match.
    """

    class_token: Tensor
    positions: Tensor

    def __init__(self, tensors: dict[str, Tensor], side: int) -> None:
        super().__init__()
        kernel = tensors["patch_embed.proj.weight"]  # (D, 3, P, P)
        width, _, patch, _ = kernel.shape
        depth = sum(name.endswith(".norm1.weight") for name in tensors)
        self.embed = nn.Conv2d(3, width, patch, patch)
        layer = nn.TransformerEncoderLayer(
            width,
            width // HEAD_WIDTH,
            4 * width,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=_LAYER_NORM_EPS,
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.encoder = nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)
        self.register_buffer("class_token", torch.zeros(1, 1, width))
        self.register_buffer("positions", torch.zeros(1, (side // patch) ** 2, width))
        self.load_state_dict(_converted(tensors, depth, side // patch))

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, side, side) to the class token's features (B, D)."""
        patches = self.embed(images).flatten(2).mT + self.positions  # (B, N, D)
        tokens = torch.cat(
            (self.class_token.expand(len(images), -1, -1), patches), 1
        )  # (B, 1 + N, D)
        return self.encoder(tokens)[:, 0]


def _converted(tensors: dict[str, Tensor], depth: int, grid: int) -> dict[str, Tensor]:
    """Published tensors renamed for `DinoV2`."""
    table = tensors["pos_embed"]  # (1, 1 + M, D)
    renamed = {
        "embed.weight": tensors["patch_embed.proj.weight"],
        "embed.bias": tensors["patch_embed.proj.bias"],
        "class_token": tensors["cls_token"] + table[:, :1],
        "positions": _resized(table[:, 1:], grid),
        "encoder.norm.weight": tensors["norm.weight"],
        "encoder.norm.bias": tensors["norm.bias"],
    }
    for index in range(depth):
        old, new = f"blocks.{index}.", f"encoder.layers.{index}."
        scales = {"attn.proj": tensors[f"{old}ls1.gamma"], "mlp.fc2": tensors[f"{old}ls2.gamma"]}
        for kind in ("weight", "bias"):
            for source, target in (
                ("norm1", f"norm1.{kind}"),
                ("attn.qkv", f"self_attn.in_proj_{kind}"),
                ("attn.proj", f"self_attn.out_proj.{kind}"),
                ("norm2", f"norm2.{kind}"),
                ("mlp.fc1", f"linear1.{kind}"),
                ("mlp.fc2", f"linear2.{kind}"),
            ):
                tensor = tensors[f"{old}{source}.{kind}"]
                scale = scales.get(source)
                if scale is not None:
                    tensor = tensor * (scale[:, None] if kind == "weight" else scale)
                renamed[new + target] = tensor
    return renamed


def _resized(table: Tensor, grid: int) -> Tensor:
    """Positions (1, M, D) of a square grid, for a grid of another side: (1, grid², D)."""
    side = round(table.shape[1] ** 0.5)
    if side == grid:
        return table
    maps = table.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, D, side, side)
    scale = (grid + _OFFSET) / side
    maps = F.interpolate(maps, scale_factor=(scale, scale), mode="bicubic")
    return maps.flatten(2).mT  # (1, grid², D)
