import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stub_extractor import StubExtractor
from tiny_datasets import tiny_dataset, tiny_points

from bench.data.dataset import Split
from bench.evaluation.extractors import base as features_module
from bench.evaluation.extractors.base import (
    IdentityExtractor,
    Part,
    cached_features,
    extract,
    read_tensors,
)
from bench.evaluation.extractors.classifier import DomainClassifier
from bench.evaluation.extractors.domain import DomainExtractor

TEN = Part({"train": np.arange(10)})


@pytest.fixture
def extractor():
    torch.manual_seed(0)
    return DomainExtractor(DomainClassifier((1, 8, 8), 2, width=4).eval())


def images_of(split: Split) -> torch.Tensor:
    return torch.tensor(split.images)


def where(data, cache_dir):
    return {
        "data_hash": data.hash,
        "split_name": "train",
        "device": "cpu",
        "cache_dir": cache_dir,
    }


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


def test_an_extractor_never_sees_more_than_its_batch_size(extractor, monkeypatch):
    seen = []
    forward = extractor.forward
    monkeypatch.setattr(extractor, "batch_size", 20)
    monkeypatch.setattr(extractor, "forward", lambda x: (seen.append(len(x)), forward(x))[1])
    assert len(extract(extractor, [images_of(tiny_dataset().train)])) == 48
    assert seen == [20, 20, 8]


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
    at = where(data, tmp_path)
    first = cached_features(extractor, data.train, **at)
    other = cached_features(extractor, data.train, **at, part=TEN)
    monkeypatch.setattr(features_module, "extract", None)
    again = cached_features(extractor, data.train, **at)
    assert torch.equal(first.features, again.features)
    assert first.logits is again.logits is None  # no metric asks for those of a reference
    assert len(other) == 10
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert not list(tmp_path.rglob("*.tmp"))
    with pytest.raises(TypeError):  # other data is another key
        cached_features(extractor, data.train, **at | {"data_hash": "0"})


@pytest.mark.parametrize("kept", [0, 5, 1000])
def test_a_damaged_cache_is_computed_again(extractor, tmp_path, caplog, kept):
    data = tiny_dataset()
    first = cached_features(extractor, data.train, **where(data, tmp_path))
    (path,) = tmp_path.rglob("*.safetensors")
    whole, tensors = path.read_bytes(), read_tensors(path)[0]
    path.write_bytes(whole[:kept])
    with caplog.at_level(logging.WARNING):
        again = cached_features(extractor, data.train, **where(data, tmp_path))
    assert f"{path} is damaged" in caplog.text
    assert torch.equal(first.features, again.features)
    assert torch.equal(read_tensors(path)[0]["features"], tensors["features"])


def test_a_bit_that_turned_is_never_trusted(extractor, tmp_path, caplog):
    """Flipped bits in cached features turned FID 36 into 117."""
    data = tiny_dataset()
    first = cached_features(extractor, data.train, **where(data, tmp_path))
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for at in (*range(0, 400, 31), len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        caplog.clear()
        again = cached_features(extractor, data.train, **where(data, tmp_path))
        assert torch.equal(first.features, again.features), at
        assert caplog.text.count("is damaged") == 1, at


def test_a_file_of_other_tensors_is_not_taken(extractor, tmp_path, caplog):
    data = tiny_dataset()
    at = where(data, tmp_path)
    first = cached_features(extractor, data.train, **at)
    (path,) = tmp_path.rglob("*.safetensors")
    cached_features(extractor, data.train, **at, part=TEN)
    (other,) = (file for file in tmp_path.rglob("*.safetensors") if file != path)
    path.write_bytes(other.read_bytes())
    assert torch.equal(cached_features(extractor, data.train, **at).features, first.features)
    assert f"{path} is damaged (it holds something else)" in caplog.text


def test_features_without_a_checksum_are_not_taken(extractor, tmp_path, caplog):
    data = tiny_dataset()
    cached_features(extractor, data.train, **where(data, tmp_path))
    (path,) = tmp_path.rglob("*.safetensors")
    save_file({"features": torch.zeros(48, 64)}, path)
    again = cached_features(extractor, data.train, **where(data, tmp_path))
    assert again.features.abs().sum() > 0
    assert "its checksum is not that" in caplog.text


def test_what_killed_processes_left_beside_features_is_removed(extractor, tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    left = [folder / f".1.safetensors.bench-{end}" for end in ("lock", "partial")]
    former, recent = folder / ".2.safetensors.77.tmp", folder / ".3.safetensors.77.tmp"
    for path in (*left, former, recent):
        path.write_bytes(b"half")
    os.utime(former, (0, 0))
    data = tiny_dataset()
    cached_features(extractor, data.train, **where(data, tmp_path))
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == [recent]


def test_the_hash_names_the_weights(extractor):
    other = DomainClassifier((1, 8, 8), 2, width=4)
    assert len(extractor.hash) == 16
    assert DomainExtractor(other).hash != extractor.hash


def test_points_are_their_own_features(tmp_path):
    data = tiny_points()
    seen = cached_features(IdentityExtractor(), data.train, **where(data, tmp_path), part=TEN)
    assert torch.equal(seen.features, images_of(data.train)[:10])
    assert seen.features.dtype == torch.float32
    assert seen.logits is None
    assert not list(tmp_path.iterdir())  # they are the data: there is nothing to keep


@pytest.mark.parametrize(
    "samples", [torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.float64)]
)
def test_identity_takes_points_alone(samples):
    with pytest.raises(ValueError, match="identity takes points"):
        extract(IdentityExtractor(), [samples])


def test_the_stub_has_the_shape_of_inception():
    images = images_of(tiny_dataset(channels=3).train)
    seen = extract(StubExtractor(8, 8), [images])
    assert seen.features.shape == (48, 2048)
    assert seen.logits.shape == (48, 1008)
    assert StubExtractor(8, 8).hash == StubExtractor(8, 8).hash
    assert torch.equal(seen.features, extract(StubExtractor(8, 8), [images]).features)


def test_a_file_of_another_user_is_not_called_damaged(extractor, tmp_path, monkeypatch, caplog):
    data = tiny_dataset()
    at = where(data, tmp_path)
    cached_features(extractor, data.train, **at)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        with pytest.raises(PermissionError) as refused:
            cached_features(extractor, data.train, **at)
    assert str(refused.value) == (
        f"{path} cannot be read (permission denied): have its owner make it readable, or set "
        "cache_root (or BENCH_CACHE) to a folder of your own"
    )
    assert not caplog.records
    assert path.read_bytes() == whole
