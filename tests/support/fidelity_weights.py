"""Random weights in the formats of the published files, never a result."""

import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


def enlivened(network: nn.Module) -> nn.Module:
    """Give a network weights that keep the signal's size, and batch norms that do something."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                for tensor in (module.running_mean, module.bias):
                    nn.init.normal_(tensor, std=0.2)
    return network


def inception() -> dict[str, Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *_, **__: {},
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        return enlivened(FeatureExtractorInceptionV3("random", ["2048"])).state_dict()


def clip(features: int = 512) -> dict[str, Tensor]:
    """A ViT-B/32 of two narrow layers; torch-fidelity reads sizes from shapes."""
    state = CLIPVisual(features, 64, 2, 128, 32).state_dict()
    return dict(state) | {
        "text_projection": torch.zeros(4, features),
        "logit_scale": torch.zeros(()),
        "transformer.resblocks.0.ln_1.weight": torch.zeros(4),
    }


def dinov2(width: int = 384, depth: int = 2, side: int = 37) -> dict[str, Tensor]:
    """A ViT-S/14 of two layers, with positions for 518 pixels, as published."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + side**2, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for index in range(depth):
        block = {
            "norm1": (width,),
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "norm2": (width,),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width, 4 * width),
        }
        for name, shape in block.items():
            shapes[f"blocks.{index}.{name}.weight"] = shape
            shapes[f"blocks.{index}.{name}.bias"] = shape[:1]
        shapes[f"blocks.{index}.ls1.gamma"] = shapes[f"blocks.{index}.ls2.gamma"] = (width,)
    return {name: torch.randn(shape) * 0.1 for name, shape in shapes.items()}


class SmallVgg16(nn.Module):
    """VGG16's last layers behind a single convolution: the original has 138 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 32, 32), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Linear(4 * 49, 8),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(8, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))
