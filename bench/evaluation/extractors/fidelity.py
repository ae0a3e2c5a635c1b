"""The extractors of torch-fidelity: its networks, preprocessing and layers, with equal results."""

from pathlib import Path

import torch
from torch import nn

from bench.data.dataset import Dataset
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.colour import PictureExtractor, checked_channels
from bench.evaluation.extractors.downloads import published_file, reason

NAMES = (
    "inception",
    "dinov2-vit-s-14",
    "dinov2-vit-b-14",
    "dinov2-vit-l-14",
    "clip-vit-b-32",
    "clip-vit-b-16",
    "clip-vit-l-14",
    "clip-vit-l-14-336px",
    "clip-rn50",
    "clip-rn101",
    "clip-rn50x4",
    "clip-rn50x16",
    "clip-rn50x64",
    "vgg16",
)
"""Its names, except for inception-v3-compat; those of `fidelity_networks`, which is slow to import.
Its fifteenth, dinov2-vit-g-14, has 1.1 billion weights and runs only code that GitHub serves."""


def build_fidelity(
    name: str, dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    """Build an extractor of torch-fidelity, with the layers of its FID and, if any, its IS.

    Inception (Szegedy et al. 2016; layers '2048' and 'logits_unbiased'), DINOv2 (Oquab et al.
    2023), CLIP (Radford et al. 2021), VGG16 (Simonyan & Zisserman 2015). Downloads are in torch's
    cache, shared with torch-fidelity; weights are the local path of the published file, for CLIP
    also of a plain state dict.

    Raises:
        ValueError: images with neither 1 nor 3 channels, or unsuitable weights.
        FileNotFoundError: the weights are not available; the message says how to get them.
    """
    del device, cache_dir
    channels = checked_channels(dataset, name)
    network, side = _network(name, weights)
    # Imported here: it takes seconds, and runs with other extractors do not need it.
    from bench.evaluation.extractors.fidelity_networks import fuse

    return PictureExtractor(name, network, f"TF1 bilinear to {side}x{side}", channels, fuse)


def _network(name: str, weights: Path | None) -> tuple[nn.Module, int]:
    from bench.evaluation.extractors.fidelity_networks import NETWORKS  # slow, see above

    source = NETWORKS[name]
    try:
        path = weights or published_file(source.url, source.filename, source.sha256)
    except OSError as error:
        raise FileNotFoundError(
            f"the weights of {name} cannot be downloaded ({error}): fetch {source.url} on a "
            f"machine that can, and give its path as evaluator.weights.{name}=<path>"
        ) from error
    try:
        with torch.random.fork_rng(devices=[]):  # its layers sample initial weights
            network, side = source.load(path)
        dimensions = _dimensions(network)
        if dimensions != source.dimensions:
            raise ValueError(f"it gives {dimensions} features, not {source.dimensions}")
    except (ValueError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"evaluator.weights.{name}: {path} is not the state dict of torch-fidelity's {name} "
            f"({reason(error)}); it is published at {source.url}"
        ) from error
    return network, side


@torch.inference_mode()
def _dimensions(network: nn.Module) -> int:
    """D of the features, measured with a test image."""
    features, *_ = network.eval()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    return features.shape[1]
