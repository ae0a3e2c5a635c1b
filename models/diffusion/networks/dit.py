"""A diffusion transformer (Peebles & Xie 2023): patches as tokens, conditioned by adaLN-Zero."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import ShapeError
from models.diffusion.networks.embedding import TimeEmbedding


class DiT(nn.Module):
    """Predicts from patches of x_t; starts by predicting zero, every block as the identity."""

    positions: Tensor

    def __init__(
        self,
        data_shape: tuple[int, ...],
        *,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch_size: int = 2,
        num_classes: int = 0,
        num_times: int = 1,
        out_channels: int | None = None,
        augment_dim: int = 0,
    ) -> None:
        """Build the network; the defaults are DiT-S/2's.

        Args:
            data_shape: (C, H, W), sides multiples of patch_size.
            width: of the tokens, a multiple of 4 and of heads.
            depth: number of blocks.
            heads: of the attention.
            patch_size: side of a patch.
            num_classes: K; if positive, the network is told a class in {0, …, K}, K for none.
            num_times: T, timesteps that the network is told of each sample.
            out_channels: channels of the output; None for those of the data.
            augment_dim: number of parameters of an augmentation of the images; 0 for none.

        Raises:
            ValueError: an argument is out of its range or the patches do not fit.
        """
        super().__init__()
        if patch_size < 1 or heads < 1:
            raise ValueError(
                f"DiT: patch_size and heads must be at least 1, got {patch_size} and {heads}"
            )
        if len(data_shape) != 3 or any(side % patch_size for side in data_shape[1:]):
            raise ShapeError(
                f"DiT: data_shape must be (C, H, W) with sides that are multiples of patch_size="
                f"{patch_size}, got {data_shape}: choose another patch_size, or larger images"
            )
        if depth < 1 or width % 4 or width % heads:
            raise ValueError(
                f"DiT: width must be a multiple of 4 and of heads, and depth at least 1, got "
                f"width={width}, heads={heads}, depth={depth}"
            )
        self.patch_size = patch_size
        self.out_channels = out_channels or data_shape[0]
        rows, columns = (side // patch_size for side in data_shape[1:])
        self.register_buffer("positions", grid_embedding(rows, columns, width), persistent=False)
        self.patches = nn.Conv2d(data_shape[0], width, patch_size, stride=patch_size)
        self.time = TimeEmbedding(width, num_times)
        self.classes = nn.Embedding(num_classes + 1, width) if num_classes else None
        self.augmentation = nn.Linear(augment_dim, width, bias=False) if augment_dim else None
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.output = nn.Linear(width, patch_size**2 * self.out_channels)
        self._initialise()

    def forward(
        self, x_t: Tensor, t: Tensor, y: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """Predict the noise in x_t, or whatever it is trained to.

        Args:
            x_t: noisy images, (B, C, H, W).
            t: timesteps, (B,), float or integer; (B, T) if the network is told several.
            y: classes, (B,) int64 in {0, …, K}, if the network has them.
            augmented: parameters of the augmentation of x_t, (B, augment_dim), if the network has
                them; None stands for zeros, images as they are.

        Returns:
            The prediction, (B, out_channels, H, W).
        """
        h = self.patches(x_t)  # (B, width, H / p, W / p)
        rows = h.shape[2]
        h = h.flatten(2).transpose(1, 2) + self.positions  # (B, N, width)
        condition = self.time(t)  # (B, width)
        if self.classes is not None and y is not None:
            condition = condition + self.classes(y)
        if self.augmentation is not None and augmented is not None:
            condition = condition + self.augmentation(augmented)
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)  # each (B, 1, width)
        h = self.output(self.norm(h) * (1 + scale) + shift)  # (B, N, p² out_channels)
        h = h.unflatten(2, (self.patch_size, self.patch_size, -1)).unflatten(1, (rows, -1))
        return h.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (B, out_channels, H, W)

    def _initialise(self) -> None:
        """As the authors: Glorot-uniform, N(0, 0.02) embeddings, zero modulations and output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patches.weight.flatten(1))
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, std=0.02)
        for layer in (self.time.mlp[0], self.time.mlp[2]):
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]
        blocks = [module for module in self.modules() if isinstance(module, Block)]
        for modulation in (self.modulation, *(block.modulation for block in blocks)):
            nn.init.zeros_(modulation[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.output.weight)


class Block(nn.Module):
    """Attention and a perceptron, each shifted, scaled and gated by the condition (Fig. 3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map tokens, (B, N, width), to the same shape; the condition is (B, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(
            6, dim=-1
        )  # each (B, 1, width)
        x = x + gate1 * self.attend(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)

    def attend(self, x: Tensor) -> Tensor:
        """Multi-head self-attention, (B, N, width) to the same shape."""
        qkv = self.to_qkv(x).unflatten(2, (3, self.heads, -1))  # (B, N, 3, heads, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, D)
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(h.transpose(1, 2).flatten(2))  # (B, N, width)


def grid_embedding(rows: int, columns: int, width: int) -> Tensor:
    """Sinusoids of row and column, half of the width each, (rows * columns, width) float32."""
    half = width // 2
    frequencies = torch.exp(
        -math.log(10_000.0) * torch.arange(half // 2, dtype=torch.float64) / (half // 2)
    )

    def embed(n: int) -> Tensor:
        angles = torch.arange(n, dtype=torch.float64)[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)  # (n, half)

    row = embed(rows)[:, None].expand(rows, columns, half)
    column = embed(columns)[None].expand(rows, columns, half)
    return torch.cat([row, column], dim=2).flatten(0, 1).float()
