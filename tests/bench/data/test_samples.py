"""Samples of other systems: what is read, in which order, and what is refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.dataset import to_float
from bench.data.samples import read_samples
from models.stored import Stored

RGB, GREY, POINT = (3, 5, 6), (1, 5, 6), (2,)
N = 12


def draw_images(channels: int = 3, n: int = N) -> np.ndarray:
    """(N, H, W, C) uint8."""
    return np.random.default_rng(0).integers(0, 256, (n, 5, 6, channels), np.uint8)


def draw_points() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (N, 2)).astype(np.float32)


def png(image: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(data, "PNG")
    return data.getvalue()


def save_folder(path: Path, images: np.ndarray) -> Path:
    """PNGs in subfolders, whose names are not in the order of their numbers' sizes."""
    path.mkdir()
    for i, image in enumerate(images):
        file = path / ("a" if i < len(images) // 2 else "b") / f"{i:03}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png(image))
    return path


def save_zip(path: Path, images: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i, image in reversed(list(enumerate(images))):
            archive.writestr(f"{i:03}.png", png(image))
    return path


def drawn(stored: Stored) -> torch.Tensor:
    return stored.gather(torch.arange(stored.size))


def expected(images: np.ndarray) -> torch.Tensor:
    return to_float(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def test_every_kind_of_file_gives_the_same_samples(tmp_path):
    images = draw_images()
    np.savez(tmp_path / "adm.npz", images, np.arange(N))  # arr_1 are ADM's labels
    np.savez_compressed(tmp_path / "named.npz", pixels=images, labels=np.arange(N))
    np.save(tmp_path / "last.npy", images)
    np.save(tmp_path / "first.npy", images.transpose(0, 3, 1, 2))
    paths = [save_folder(tmp_path / "folder", images), save_zip(tmp_path / "flat.zip", images)]
    paths += [tmp_path / name for name in ("adm.npz", "named.npz", "last.npy", "first.npy")]
    hashes = set()
    for path in paths:
        stored = read_samples(RGB, path=str(path))
        assert torch.equal(drawn(stored), expected(images)), path
        hashes.add(stored.hash)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 16


def test_grey_arrays_with_and_without_their_channel(tmp_path):
    images = draw_images(1)
    for name, array in (("with", images), ("without", images[..., 0])):
        np.save(tmp_path / f"{name}.npy", array)
        stored = read_samples(GREY, path=str(tmp_path / f"{name}.npy"))
        assert torch.equal(drawn(stored), expected(images))


def test_files_of_grey_samples_may_be_saved_in_colour(tmp_path):
    images = draw_images(1)
    path = save_folder(tmp_path / "grey", images.repeat(3, axis=3))
    assert torch.equal(drawn(read_samples(GREY, path=str(path))), expected(images))


def test_16_bit_and_cmyk_files_are_decoded_as_data_is(tmp_path):
    level = np.full((5, 6), 77, np.uint8)
    Image.fromarray(level.astype(np.uint16) * 257).save(tmp_path / "0.png")
    Image.fromarray(level).convert("RGB").convert("CMYK").save(tmp_path / "1.tif")
    stored = read_samples(GREY, path=str(tmp_path))
    assert torch.equal(drawn(stored), to_float(np.full((2, 1, 5, 6), 77, np.uint8)))


def test_the_order_is_that_of_torch_fidelity(tmp_path):
    from torch_fidelity.utils import glob_samples_paths

    images = draw_images()
    for i, image in enumerate(images):  # 10.png comes before 2.png, upper case before lower
        file = tmp_path / ("B" if i % 3 else "a") / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png(image))
    theirs = glob_samples_paths(str(tmp_path), True, "png", verbose=False)
    pixels = np.stack([np.asarray(Image.open(path)) for path in theirs])
    assert torch.equal(drawn(read_samples(RGB, path=str(tmp_path))), expected(pixels))


def test_points_are_read_as_stored(tmp_path):
    points = draw_points()
    np.save(tmp_path / "points.npy", points)
    np.savez(tmp_path / "points.npz", points.astype(np.float64))
    for name in ("points.npy", "points.npz"):
        samples = drawn(read_samples(POINT, path=str(tmp_path / name)))
        assert samples.dtype == torch.float32
        assert torch.equal(samples, torch.from_numpy(points))


ARRAYS = {
    "float images": (RGB, draw_images() / 255, "float64 values: save images as uint8"),
    "NaN images": (RGB, np.full((N, 5, 6, 3), np.nan, np.float32), "float32 values: save images"),
    "integers": (RGB, draw_images().astype(np.int64), "int64 values: save images as uint8"),
    "other size": (RGB, draw_images()[:, :4], r"\(12, 4, 6, 3\), .* \(N, 5, 6, 3\) or \(N, 3, 5"),
    "grey for colour": (RGB, draw_images(1), r"\(12, 5, 6, 1\), the data set needs \(N, 5, 6, 3"),
    "colour for grey": (GREY, draw_images(3), r"\(12, 5, 6, 3\), the data set needs \(N, 5, 6, 1"),
    "a single image": (RGB, draw_images()[0], r"\(5, 6, 3\), the data set needs"),
    "a number": (RGB, np.uint8(3), r"is of shape \(\), the data set needs"),
    "no images": (RGB, draw_images()[:0], r"holds no samples: its shape is \(0, 5, 6, 3\)"),
    "points for images": (RGB, draw_points(), "float32 values: save images as uint8"),
    "images for points": (POINT, draw_images(), "uint8 values: save points as float32"),
    "integer points": (POINT, draw_points().astype(int), "int64 values: save points as float32"),
    "infinite points": (POINT, np.full((N, 2), np.inf), "points that are not finite: remove them"),
    "other dimensions": (POINT, draw_points()[:, :1], r"\(12, 1\), the data set needs \(N, 2\)"),
}


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("save", [np.save, np.savez], ids=["npy", "npz"])
def test_arrays_of_something_else_are_refused(tmp_path, case, save):
    shape, array, sentence = ARRAYS[case]
    path = tmp_path / ("file.npy" if save is np.save else "file.npz")
    save(path, array)
    refused(shape, path, sentence)


def refused(shape: tuple[int, ...], path: Path, sentence: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as error:
        read_samples(shape, path=str(path))
    assert str(error.value).startswith(f"model.path={path}")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_truncated_arrays_are_refused(tmp_path, suffix, kept):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    (np.save if suffix == ".npy" else np.savez)(whole, draw_images())
    data = whole.read_bytes()
    cut.write_bytes(data[: int(kept * len(data))])
    refused(RGB, cut, "is not a whole file of plain arrays")


@pytest.mark.parametrize("save", [np.save, np.savez], ids=["npy", "npz"])
def test_pickled_objects_are_refused_and_not_run(tmp_path, save):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / ("trap.npy" if save is np.save else "trap.npz")
    save(path, np.array([Trap()], dtype=object))
    refused(RGB, path, "is not a whole file of plain arrays")
    assert not (tmp_path / "sprung").exists()


def test_a_damaged_member_is_found(tmp_path):
    path = tmp_path / "damaged.npz"
    np.savez(path, draw_images())
    data = bytearray(path.read_bytes())
    data[600] ^= 255  # within the pixels: the zip's checksum tells
    path.write_bytes(data)
    refused(RGB, path, "is not a whole file of plain arrays .*CRC")


def test_an_npz_without_one_array_of_images_is_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=draw_images(), b=draw_images(), c=np.arange(3))
    refused(RGB, tmp_path / "two.npz", r"holds 2 arrays .*\['a', 'b', 'c'\]: name the one.*arr_0")
    np.savez(tmp_path / "none.npz", labels=np.arange(3))
    refused(RGB, tmp_path / "none.npz", "holds 0 arrays of samples of shape")


def test_files_of_another_size_are_refused(tmp_path):
    path = save_folder(tmp_path / "folder", draw_images())
    Image.new("RGB", (7, 5)).save(path / "wide.png")
    refused(RGB, path, "1 images are not 6x5 pixels, first: wide.png .7x5.: save them in that size")


def test_unreadable_trees_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(RGB, tmp_path / "empty", "holds no images: give a folder or zip")
    refused(RGB, tmp_path / "gone", "does not exist: give a folder")
    refused(RGB, tmp_path / "gone.npz", "there is no such file")
    refused(POINT, tmp_path / "empty", "holds points, not images: give an .npz or .npy")
    whole = save_zip(tmp_path / "whole.zip", draw_images())
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-40])
    refused(RGB, tmp_path / "cut.zip", "is not a whole zip file")
    with zipfile.ZipFile(tmp_path / "trap.zip", "w") as archive:
        archive.writestr("../../evil.png", png(draw_images()[0]))
    refused(RGB, tmp_path / "trap.zip", "points outside the archive")
    save_folder(tmp_path / "damaged", draw_images())
    (tmp_path / "damaged" / "x.png").write_bytes(b"not an image")
    refused(RGB, tmp_path / "damaged", "1 images cannot be read, first: x.png")


def jpeg(image: np.ndarray, quality: int, subsampling: int = 2) -> bytes:
    data = io.BytesIO()
    colour = image.shape[2] == 3
    picture = Image.fromarray(image if colour else image.squeeze(2))
    picture.save(data, "JPEG", quality=quality, **({"subsampling": subsampling} if colour else {}))
    return data.getvalue()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_jpegs_are_warned_of_once_whatever_their_names_end_in(tmp_path, caplog, kind):
    images = draw_images()
    encoded = [png(image) for image in images[:4]]
    encoded += [jpeg(image, quality=75) for image in images[4:]]
    names = [f"{i:03}.{'jpg' if i == 0 else 'png'}" for i in range(N)]  # each at odds with the file
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
        for name, data in zip(names, encoded, strict=True):
            (path / name).write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in zip(names, encoded, strict=True):
                archive.writestr(name, data)
    with caplog.at_level("WARNING"):
        read_samples(RGB, path=str(path))
    (words,) = said(caplog)
    assert words.startswith(
        f"model.path={path}: 8 of 12 images are JPEGs (the first of quality about 75, chroma at "
        "half resolution): "
    )


@pytest.mark.parametrize(
    ("channels", "quality", "subsampling", "expected"),
    [
        (1, 30, 0, "(the first of quality about 30):"),
        (1, 95, 0, "(the first of quality about 95):"),
        (3, 90, 0, "(the first of quality about 90):"),
        (3, 50, 1, "(the first of quality about 50, chroma at half resolution):"),
    ],
)
def test_how_a_jpeg_was_compressed(tmp_path, caplog, channels, quality, subsampling, expected):
    (tmp_path / "0.jpg").write_bytes(jpeg(draw_images(channels)[0], quality, subsampling))
    with caplog.at_level("WARNING"):
        read_samples((channels, 5, 6), path=str(tmp_path))
    assert expected in said(caplog)[0]


def test_nothing_is_said_of_files_without_loss(tmp_path, caplog):
    images = draw_images()
    with caplog.at_level("WARNING"):
        read_samples(RGB, path=str(save_folder(tmp_path / "folder", images)))
        read_samples(RGB, path=str(save_zip(tmp_path / "zip.zip", images)))
    assert said(caplog) == []
