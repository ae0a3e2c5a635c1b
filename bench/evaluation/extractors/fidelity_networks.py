"""torch-fidelity's networks by name, and where their weights are published; slow to import."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_clip import (
    MODEL_METADATA,
    MODEL_URLS,
    Bottleneck,
    FeatureExtractorCLIP,
    ModifiedResNet,
    build_model,
)
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    BasicConv2d,
    FeatureExtractorInceptionV3,
)
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

from bench.evaluation.extractors.dinov2 import DinoV2
from bench.evaluation.extractors.downloads import file_sha256, read_tensors
from bench.evaluation.extractors.fused import FusedConvolution, fuse_sequences

_VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
_DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"


@dataclass(frozen=True)
class Published:
    """A network of torch-fidelity and its weights.

    Attributes:
        url: where the weights are published.
        filename: their name in torch's download cache, as in torch-fidelity.
        sha256: first hex digits of the file's SHA-256; empty if its publisher gives none.
        dimensions: D of the features.
        load: builds the network from the path of the weights; also returns its input side in
            pixels.
    """

    url: str
    filename: str
    sha256: str
    dimensions: int
    load: Callable[[Path], tuple[nn.Module, int]]


class _ClipOfTensors(FeatureExtractorCLIP):
    """CLIP from tensors; the original loads a TorchScript archive, which may contain code."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        FeatureExtractorBase.__init__(self, "clip", layers_of(FeatureExtractorCLIP))
        self.feature_extractor_internal_dtype = torch.float32
        self.model = build_model(tensors, torch.float32)
        self.resolution = self.model.visual.input_resolution


class _DinoV2OfTensors(FeatureExtractorDinoV2):
    """DINOv2 from tensors; the original downloads code from GitHub and executes it."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        FeatureExtractorBase.__init__(self, "dinov2", layers_of(FeatureExtractorDinoV2))
        self.feature_extractor_internal_dtype = torch.float32
        self.model = DinoV2(tensors, self.INPUT_IMAGE_SIZE)


def layers_of(extractor: type[FeatureExtractorBase]) -> list[str]:
    """Layers of torch-fidelity's FID and IS; only one if they coincide, which is not logits."""
    default = extractor.get_default_feature_layer_for_metric
    return list(dict.fromkeys((default("fid"), default("isc"))))


def fuse(network: nn.Module) -> None:
    """Join the convolutions of torch-fidelity's networks with their ReLUs, in place.

    Inception's blocks of a convolution, a batch norm and a ReLU become one layer; in CLIP's ResNets
    every convolution but the last of a block is followed by a ReLU. VGG16 is an `nn.Sequential`.
    """
    fuse_sequences(network)
    for module in list(network.modules()):
        for name, block in list(module.named_children()):
            if isinstance(block, BasicConv2d):
                setattr(module, name, FusedConvolution(block.conv, "relu"))
        if isinstance(module, (Bottleneck, ModifiedResNet)):
            for k in ("1", "2", "3") if isinstance(module, ModifiedResNet) else ("1", "2"):
                setattr(module, f"conv{k}", FusedConvolution(getattr(module, f"conv{k}"), "relu"))
                setattr(module, f"relu{k}", nn.Identity())


def _inception(path: Path) -> tuple[nn.Module, int]:
    read_tensors(path)  # torch-fidelity unpickles anything: check first that it contains tensors
    layers = layers_of(FeatureExtractorInceptionV3)
    network = FeatureExtractorInceptionV3("inception-v3-compat", layers, str(path))
    return network, network.INPUT_IMAGE_SIZE


def _vgg16(path: Path) -> tuple[nn.Module, int]:
    read_tensors(path)
    network = FeatureExtractorVGG16("vgg16", layers_of(FeatureExtractorVGG16), str(path))
    return network, network.INPUT_IMAGE_SIZE


def _dinov2(path: Path) -> tuple[nn.Module, int]:
    network = _DinoV2OfTensors(read_tensors(path))
    return network, network.INPUT_IMAGE_SIZE


def _clip(path: Path, sha256: str) -> tuple[nn.Module, int]:
    if file_sha256(path) == sha256:  # OpenAI's own archive
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of torch.jit
            tensors = dict(torch.jit.load(path, map_location="cpu").state_dict())
    else:
        tensors = read_tensors(path)
    network = _ClipOfTensors(tensors)
    return network, network.resolution


def _published_clip(name: str, dimensions: int) -> Published:
    sha256 = MODEL_METADATA[name]["hash"]
    filename = f"{name}-{sha256}.pt"
    return Published(
        MODEL_URLS[name], filename, sha256, dimensions, lambda path: _clip(path, sha256)
    )


def _published_dinov2(letter: str, dimensions: int) -> Published:
    url = _DINOV2_URL.format(f"dinov2_vit{letter}14")
    return Published(url, Path(url).name, "", dimensions, _dinov2)


NETWORKS = {
    "inception": Published(
        URL_INCEPTION_V3, Path(URL_INCEPTION_V3).name, "6726825d", 2048, _inception
    ),
    "vgg16": Published(_VGG16_URL, Path(_VGG16_URL).name, "397923af", 4096, _vgg16),
    "dinov2-vit-s-14": _published_dinov2("s", 384),
    "dinov2-vit-b-14": _published_dinov2("b", 768),
    "dinov2-vit-l-14": _published_dinov2("l", 1024),
    "clip-vit-b-32": _published_clip("clip-vit-b-32", 512),
    "clip-vit-b-16": _published_clip("clip-vit-b-16", 512),
    "clip-vit-l-14": _published_clip("clip-vit-l-14", 768),
    "clip-vit-l-14-336px": _published_clip("clip-vit-l-14-336px", 768),
    "clip-rn50": _published_clip("clip-rn50", 1024),
    "clip-rn101": _published_clip("clip-rn101", 512),
    "clip-rn50x4": _published_clip("clip-rn50x4", 640),
    "clip-rn50x16": _published_clip("clip-rn50x16", 768),
    "clip-rn50x64": _published_clip("clip-rn50x64", 1024),
}
