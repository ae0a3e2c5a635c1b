"""One side of extractors.py: extracts and times with the checkout that PYTHONPATH names.

It runs with the code of earlier commits too, whose modules have other names.
"""

import importlib
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

import bench

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def module(name: str) -> Any:
    """A module of the extractors, wherever this checkout has it.

    Whether it is there is not asked by importing: an installed bench would answer for a checkout.
    """
    moved = (Path(bench.__file__).parent / "evaluation").is_dir()
    return importlib.import_module(f"bench.{'evaluation.' * moved}extractors.{name}")


def build(name: str) -> nn.Module:
    """An extractor of colour images, as this checkout makes it."""
    if name == "efficientnet-lite0":
        data = SimpleNamespace(name="benchmark", shape=(3, 32, 32))
        return module("imagenet").build_efficientnet(name, data, "cpu", Path(), None)
    if name == "domain":
        domain = module("domain")
        classifier, _ = module("classifier").load_classifier(domain.SHIPPED / "cifar10.safetensors")
        return domain.DomainExtractor(classifier)
    networks = module("fidelity_networks")
    more = [networks.fuse] if hasattr(networks, "fuse") else []
    network = {"inception": inception, "vgg16": vgg16}.get(name, dinov2)(networks)
    return module("colour").PictureExtractor(name, network, "resize", 3, *more)


def _he(network: nn.Module) -> nn.Module:
    """He's initial weights, which keep the signal's size."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias, std=0.2, generator=generator)
    return network


def inception(networks: Any) -> nn.Module:
    """torch-fidelity's Inception with random weights."""
    place = "torch_fidelity.feature_extractor_inceptionv3"
    kind = networks.FeatureExtractorInceptionV3
    with (
        mock.patch(f"{place}.load_state_dict_from_url", return_value={}),
        mock.patch.object(kind, "load_state_dict"),
    ):
        return _he(kind("random", networks.layers_of(kind)))


def vgg16(networks: Any) -> nn.Module:
    """torch-fidelity's VGG16 with random weights."""
    import torchvision

    torch.manual_seed(0)
    place = "torch_fidelity.feature_extractor_vgg16.torchvision_load_pretrained_vgg16"
    kind = networks.FeatureExtractorVGG16
    with mock.patch(place, return_value=torchvision.models.vgg16(weights=None)):
        return _he(kind("random", networks.layers_of(kind)))


def dinov2(networks: Any) -> nn.Module:
    """DINOv2 ViT-S/14 with random weights."""
    generator, width, depth = torch.Generator().manual_seed(0), 384, 12

    def random(*shape: int) -> torch.Tensor:
        return 0.02 * torch.randn(*shape, generator=generator)

    tensors = {
        "pos_embed": random(1, 1370, width),
        "cls_token": random(1, 1, width),
        "patch_embed.proj.weight": random(width, 3, 14, 14),
        "patch_embed.proj.bias": random(width),
    }
    shapes = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    norms = ["norm", *(f"blocks.{k}.norm{i}" for k in range(depth) for i in (1, 2))]
    for norm in norms:
        tensors |= {f"{norm}.weight": torch.ones(width), f"{norm}.bias": random(width)}
    for block in range(depth):
        for layer, (rows, columns) in shapes.items():
            place = f"blocks.{block}.{layer}"
            tensors[f"{place}.weight"] = random(rows * width, columns * width)
            tensors[f"{place}.bias"] = random(rows * width)
        tensors |= {f"blocks.{block}.ls{i}.gamma": torch.ones(width) for i in (1, 2)}
    return networks._DinoV2OfTensors(tensors)


def main() -> None:
    """Answer commands, one a line: features NAME IN OUT, or time NAME IN COUNT."""
    torch.set_num_threads(int(sys.argv[1]))
    clock = CLOCKS[sys.argv[2]]
    extract = module("base").extract
    built: dict[str, nn.Module] = {}
    for line in sys.stdin:
        command, name, pictures, argument = line.rstrip("\n").split("\t")
        images = torch.from_numpy(np.load(pictures))
        if name not in built:
            built[name] = build(name)
        if command == "features":
            np.save(argument, extract(built[name], [images]).features.numpy())
            print("done", flush=True)
        else:
            images = images[: int(argument)]
            started = clock()
            extract(built[name], [images])
            print(clock() - started, flush=True)


if __name__ == "__main__":
    main()
