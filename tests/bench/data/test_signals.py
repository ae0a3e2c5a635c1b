"""Signals: reading, scaling and splitting them."""

import importlib.util
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_signals import waves

from bench.data.dataset import Scale, as_stored, from_stored, gather, hold_out, kind_of
from bench.data.samples import read_samples
from bench.data.signals import load_italy_power, load_japanese_vowels, load_signals, read_ts
from models.stored import Stored, StoredSamples

needs_aeon = pytest.mark.skipif(
    importlib.util.find_spec("aeon") is None, reason="needs the extra signals"
)


def written(folder: Path, **arrays: np.ndarray) -> str:
    path = folder / "x.npz"
    np.savez(path, **arrays)
    return str(path)


def load(path: str):
    return load_signals(data_root=Path(), path=path)


def test_scaling_is_by_the_range_of_each_channel_and_reversible():
    x = np.stack([np.linspace(-3, 5, 30), np.linspace(100, 200, 30)])[None]  # (1, 2, 30)
    scale = Scale.of(x)
    unit = scale.to_unit(x)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, np.broadcast_to(np.linspace(-1, 1, 30), (1, 2, 30)), atol=1e-7)
    np.testing.assert_allclose(scale.to_own(unit), x, rtol=1e-6, atol=1e-6)
    assert scale.to_unit(2 * x).max() > 1  # held-out values may lie beyond


def test_signals_that_are_small_beside_their_level_are_not_rounded(tmp_path):
    """One unit at 1e7 is the spacing of float32 there."""
    x = 1e7 + np.random.default_rng(0).uniform(-1, 1, (40, 2, 24))
    dataset = load(written(tmp_path, x=x))
    scale, units = dataset.scale, (dataset.train.images, dataset.test.images)
    assert scale is not None
    own = np.concatenate([scale.to_own(unit) for unit in units])
    np.testing.assert_allclose(in_order(own) - 1e7, in_order(x) - 1e7, rtol=0, atol=1e-6)
    for unit in units:
        assert np.array_equal(scale.to_unit(scale.to_own(unit)), unit)


def in_order(signals: np.ndarray) -> np.ndarray:
    """Signals, (N, C, L), ascending by their first values."""
    return signals[np.argsort(signals[:, 0, 0])]


def test_exported_signals_that_are_small_beside_their_level_come_back_as_they_were(tmp_path):
    x = 1e7 + np.random.default_rng(0).uniform(-1, 1, (40, 2, 24))
    dataset = load(written(tmp_path, x=x))
    assert dataset.scale is not None
    path = tmp_path / "samples.npy"
    np.save(path, dataset.scale.to_own(dataset.test.images))
    model = StoredSamples(dataset.spec(), partial(read_samples, path=str(path)))
    (sampler,) = model.samplers.values()
    found = sampler.generate(len(dataset.test), torch.Generator(), None)
    assert torch.equal(found, torch.tensor(dataset.test.images))


@pytest.mark.parametrize(
    "value", [1e308, 1e300], ids=["beyond float64", "beyond float32 once scaled"]
)
def test_a_channel_whose_range_is_not_finite_is_refused(tmp_path, value):
    x, _ = waves(40)
    x[:, 1] *= 1e-10
    x[hold_out_index(), 1, 3] = value
    if value == 1e308:
        x[:, 1, 4] = -value
    words = r"has 1 channels that cannot be scaled to \[-1, 1\] in finite numbers, first: 1, "
    with pytest.raises(ValueError, match=words):
        load(written(tmp_path, x=x))


def hold_out_index() -> int:
    """The number of the first of 40 signals that is held out."""
    return int(np.flatnonzero(hold_out([f"signal-{k}" for k in range(40)], None, 4))[0])


def test_an_npz_becomes_a_data_set(tmp_path):
    x, labels = waves(100)
    dataset = load(written(tmp_path, x=x.astype(np.float32), y=np.array(["b", "a"])[labels]))
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (90, 10, (2, 24))
    assert kind_of(dataset.shape) == "signals"
    assert dataset.classes == ("a", "b")
    assert dataset.own
    for channel in (0, 1):
        values = dataset.train.images[:, channel]
        assert (values.min(), values.max()) == (-1, 1)
    rows = np.concatenate([dataset.scale.to_own(s.images) for s in (dataset.train, dataset.test)])
    np.testing.assert_allclose(in_order(rows), in_order(x), rtol=0, atol=1e-6)
    assert np.bincount(dataset.test.labels).tolist() == [5, 5]


def test_labels_are_optional_and_one_class_is_none(tmp_path):
    x, _ = waves(40)
    assert load(written(tmp_path, x=x)).num_classes == 0
    assert load(written(tmp_path, x=x, y=np.zeros(40, np.int64))).num_classes == 0


def test_the_split_depends_on_neither_values_nor_order_of_loading(tmp_path):
    x, _ = waves(100)
    first = load(written(tmp_path, x=x))
    second = load(written(tmp_path, x=x + 7))
    np.testing.assert_allclose(first.test.images, second.test.images, atol=1e-6)


def test_signals_stay_as_they_are_on_the_way_to_models_and_back(tmp_path):
    dataset = load(written(tmp_path, x=waves(40)[0]))
    batch = gather(dataset.train.images, np.arange(5))
    assert batch.shape == (5, 2, 24)
    assert torch.equal(from_stored(as_stored(batch)), torch.from_numpy(dataset.train.images[:5]))


def test_stored_samples_are_given_in_the_units_of_the_data(tmp_path):
    dataset = load(written(tmp_path, x=waves(40)[0]))
    own = torch.from_numpy(dataset.scale.to_own(dataset.test.images))
    model = StoredSamples(dataset.spec(), lambda shape: Stored(lambda index: own[index], len(own)))
    (sampler,) = model.samplers.values()
    x = sampler.generate(len(own), torch.Generator(), None)
    torch.testing.assert_close(x, torch.from_numpy(dataset.test.images), rtol=0, atol=1e-5)


def test_ts_files_are_read_by_channel(tmp_path):
    path = tmp_path / "Name_TRAIN.ts"
    path.write_text("#comment\n@problemName Name\n@data\n1,2,3:4,5,6:a\n7,8,9:10,11,12:b\n")
    x, labels = read_ts(path)
    assert x.tolist() == [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    assert labels == ["a", "b"]
    path.write_text("@data\n1,2,3:a\n1,2:b\n")
    with pytest.raises(ValueError, match="is damaged"):
        read_ts(path)


def test_a_package_that_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"italy_power needs .*pip install --no-deps aeon==1\.6"):
        load_italy_power(data_root=Path())


@needs_aeon
def test_japanese_vowels():
    dataset = load_japanese_vowels(data_root=Path())
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (440, 200, (12, 25))
    assert dataset.hash == "341a20a020e723b1"
    counts = [np.bincount(part.labels).tolist() for part in (dataset.train, dataset.test)]
    assert np.sum(counts, 0).tolist() == [61, 65, 118, 74, 59, 54, 70, 80, 59]  # 30 and 31, …


@needs_aeon
def test_italy_power():
    dataset = load_italy_power(data_root=Path())
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (696, 400, (1, 24))
    assert dataset.hash == "f0a54635a7c895ea"
    days = dataset.scale.to_own(dataset.train.images)[:, 0]
    np.testing.assert_allclose(days.mean(1), 0, atol=1e-5)  # standardised by the archive
    np.testing.assert_allclose(days.std(1, ddof=1), 1, atol=1e-5)
