import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from bench.data.dataset import Dataset, Split, content_hash
from bench.data.sources import load_digits
from bench.metrics import extractors as extractors_module
from bench.metrics import features as features_module
from bench.metrics.classifier import DomainClassifier, save_classifier
from bench.metrics.extractors import DomainExtractor, build_extractor
from bench.metrics.features import cached_features, extract


def tiny_dataset(classes=("a", "b"), name="tiny", channels=1, labelled=True) -> Dataset:
    generator = np.random.default_rng(0)
    parts = []
    for n in (48, 16):
        labels = np.arange(n, dtype=np.int64) % max(len(classes), 1)
        images = generator.integers(0, 100, (n, channels, 8, 8), dtype=np.uint8)
        images += (100 * labels[:, None, None, None]).astype(np.uint8)
        parts.append(Split(images, labels if labelled else None))
    return Dataset(name, *parts, classes, False, content_hash(*parts))


@pytest.fixture(scope="module")
def digits():
    return load_digits(data_root=None)


@pytest.fixture
def extractor():
    torch.manual_seed(0)
    return DomainExtractor(DomainClassifier((1, 8, 8), 2, width=4).eval())


def images_of(split: Split) -> torch.Tensor:
    return torch.tensor(split.images)


def test_extract_does_not_depend_on_the_batch_size(extractor):
    images = images_of(tiny_dataset().train)
    whole = extract(extractor, [images])
    for size in (1, 7, 48):
        parts = extract(extractor, images.split(size))
        torch.testing.assert_close(parts.features, whole.features, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(parts.logits, whole.logits, rtol=1e-4, atol=1e-5)
    assert whole.features.dtype == torch.float32
    assert whole.features.shape == (48, 64)
    assert len(whole) == 48


def test_extract_is_float32_under_autocast(extractor):
    images = images_of(tiny_dataset().train)
    with torch.autocast("cpu", torch.bfloat16):
        inside = extract(extractor, [images])
    assert torch.equal(inside.features, extract(extractor, [images]).features)


def test_extract_needs_images(extractor):
    with pytest.raises(ValueError, match="empty"):
        extract(extractor, [])


def test_cached_features_are_extracted_once(extractor, tmp_path, monkeypatch):
    data = tiny_dataset()
    where = {"data_hash": data.hash, "split_name": "train", "device": "cpu", "cache_dir": tmp_path}
    first = cached_features(extractor, data.train, **where)
    other = cached_features(extractor, data.train, **where, n=10)
    monkeypatch.setattr(features_module, "extract", None)
    again = cached_features(extractor, data.train, **where)
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.logits, again.logits)
    assert len(other) == 10
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert not list(tmp_path.rglob("*.partial"))
    with pytest.raises(TypeError):  # other data is another key
        cached_features(extractor, data.train, **where | {"data_hash": "0"})
    with pytest.raises(ValueError, match=r"1\.\.48"):
        cached_features(extractor, data.train, **where, n=49)


def test_the_hash_names_the_weights(extractor):
    other = DomainClassifier((1, 8, 8), 2, width=4)
    assert len(extractor.hash) == 16
    assert DomainExtractor(other).hash != extractor.hash


def test_domain_uses_the_shipped_weights(digits, tmp_path):
    built = build_extractor("domain", digits, device="cpu", cache_dir=tmp_path)
    assert built.name == "domain"
    assert not list(tmp_path.iterdir())


def test_domain_of_another_dataset_is_trained_once(tmp_path, monkeypatch):
    data = tiny_dataset(name="digits")  # the name of a shipped one, with other classes
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = build_extractor("domain", data, device="cpu", cache_dir=tmp_path)
    monkeypatch.setattr(extractors_module, "train_classifier", None)
    again = build_extractor("domain", data, device="cpu", cache_dir=tmp_path)
    assert first.hash == again.hash
    assert torch.equal(torch.get_rng_state(), before)
    names = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert names == [f"digits-{data.hash}.lock", f"digits-{data.hash}.safetensors"]


def test_domain_from_a_local_path(digits, tmp_path):
    path = extractors_module.SHIPPED / "digits.safetensors"
    built = build_extractor("domain", digits, device="cpu", cache_dir=tmp_path, weights=path)
    shipped = build_extractor("domain", digits, device="cpu", cache_dir=tmp_path)
    assert built.hash == shipped.hash
    with pytest.raises(ValueError, match="not a classifier"):
        build_extractor("domain", tiny_dataset(), device="cpu", cache_dir=tmp_path, weights=path)


def test_domain_needs_labels(tmp_path):
    data = tiny_dataset(classes=(), labelled=False)
    with pytest.raises(ValueError, match=r"evaluator\.extractor=inception"):
        build_extractor("domain", data, device="cpu", cache_dir=tmp_path)


def test_unknown_extractor(digits, tmp_path):
    with pytest.raises(ValueError, match=r"'domain', 'inception'"):
        build_extractor("clip", digits, device="cpu", cache_dir=tmp_path)


def test_missing_weights(digits, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"evaluator\.weights\.domain"):
        build_extractor(
            "domain", digits, device="cpu", cache_dir=tmp_path, weights=tmp_path / "none"
        )


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    """Random weights in the format of torch-fidelity's published file."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *_, **__: {},
        )
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save(FeatureExtractorInceptionV3("random", ["2048"]).state_dict(), path)
    return path


def test_inception(digits, inception_weights, tmp_path):
    state = torch.get_rng_state()
    built = build_extractor(
        "inception", digits, device="cpu", cache_dir=tmp_path, weights=inception_weights
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert "grey repeated" in built.preprocessing
    images = images_of(digits.test)[:2]
    seen = extract(built, [images])
    layers = ["2048", "logits_unbiased"]
    theirs = FeatureExtractorInceptionV3("reference", layers, str(inception_weights))
    features, logits = theirs(images.repeat(1, 3, 1, 1))
    torch.testing.assert_close(seen.features, features)
    torch.testing.assert_close(seen.logits, logits)
    assert seen.features.shape == (2, 2048)
    assert seen.logits.shape == (2, 1008)


def test_inception_that_cannot_be_downloaded(digits, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", offline
    )
    with pytest.raises(FileNotFoundError, match=r"https://.*evaluator\.weights\.inception"):
        build_extractor("inception", digits, device="cpu", cache_dir=tmp_path)


def test_inception_from_a_file_of_something_else(digits, tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="state dict"):
        build_extractor("inception", digits, device="cpu", cache_dir=tmp_path, weights=path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="state dict"):
        build_extractor("inception", digits, device="cpu", cache_dir=tmp_path, weights=path)


def test_inception_takes_grey_or_colour(tmp_path):
    with pytest.raises(ValueError, match="2 channels"):
        build_extractor("inception", tiny_dataset(channels=2), device="cpu", cache_dir=tmp_path)


def test_a_classifier_file_without_classes_does_not_fit(digits, tmp_path):
    path = tmp_path / "anonymous.safetensors"
    save_classifier(path, DomainClassifier((1, 8, 8), 10, width=4), {})
    with pytest.raises(ValueError, match="not a classifier"):
        build_extractor("domain", digits, device="cpu", cache_dir=tmp_path, weights=path)
