"""Time our Inception extractor against torch-fidelity's network, side by side.

    python scripts/benchmarks/inception.py --threads 1 --clock cpu

Both have the same random weights, never a result, and see the same 299x299 images; ours has its
batch norms and ReLUs fused into the convolutions. They take turns, so that a change in the
machine's load meets both. Prints images per second, the median of the ratios and the largest
difference of features, relative to the largest feature. --device cuda times a GPU.
"""

import argparse
import statistics as stats
from functools import partial
from unittest import mock

import torch
from clocks import add_options, seconds_of, start
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from bench.evaluation.extractors.colour import PictureExtractor
from bench.evaluation.extractors.fidelity_networks import fuse

SIDE = 299


def main() -> None:
    """Print the speed of both and how their features differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    add_options(parser)
    arguments = parser.parse_args()
    clock = start(arguments)
    torch.manual_seed(0)
    theirs = random_inception().to(arguments.device)
    ours = PictureExtractor("inception", random_inception(), "resize", 3, fuse)
    ours.to(arguments.device)
    images = torch.randint(0, 256, (arguments.batch, 3, SIDE, SIDE), dtype=torch.uint8)
    images = images.to(arguments.device)

    with torch.inference_mode():
        difference = _difference(ours(images)[0], theirs(images)[0])  # warms both up
        times = [
            tuple(seconds_of(partial(_call, net, images), clock) for net in (ours, theirs))
            for _ in range(arguments.repeats)
        ]
    ratios = [reference / own for own, reference in times]
    print(
        f"batch {arguments.batch} on {arguments.device}, {torch.get_num_threads()} threads, "
        f"{len(times)} rounds, {arguments.clock} time"
    )
    print(f"relative difference  {difference:.1e}")
    print(f"ours                 {arguments.batch / stats.median(t[0] for t in times):.1f} img/s")
    print(f"torch-fidelity       {arguments.batch / stats.median(t[1] for t in times):.1f} img/s")
    print(f"median of ratios     {stats.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})")


def random_inception() -> nn.Module:
    """torch-fidelity's network with He's initial weights, which keep the signal's size."""
    module = "torch_fidelity.feature_extractor_inceptionv3"
    with (
        mock.patch(f"{module}.load_state_dict_from_url", return_value={}),
        mock.patch(f"{module}.FeatureExtractorInceptionV3.load_state_dict"),
    ):
        network = FeatureExtractorInceptionV3("random", ["2048", "logits_unbiased"])
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias, std=0.2, generator=generator)
    return network


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _call(network: nn.Module, images: Tensor) -> None:
    network(images)
    if images.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
