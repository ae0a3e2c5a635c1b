"""Limits of decoding: pixels per file, pixels in parallel, bytes per file, sides of images."""

import io
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import archive as tree_module
from bench.data import decode as decode_module
from bench.data import samples as samples_module
from bench.data.decode import (
    MAX_PIXELS,
    Format,
    PixelBudget,
    check_channels,
    check_image_size,
    check_pixels,
    decode_image,
)
from bench.data.folder import load_folder
from bench.data.samples import read_samples
from bench.data.sources import load_mnist
from bench.runtime import memory


def header(width: int, height: int) -> bytes:
    """A PPM of which there is nothing but what it says of its size."""
    return f"P6 {width} {height} 255\n".encode()


def folder(root: Path, files: dict[str, bytes]) -> Path:
    root.mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


def png(side: int = 8, seed: int = 0) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def load(root: Path, **options):
    return load_folder(
        data_root=root, cache_root=root.parent / "c", path=str(root), **{"image_size": 8, **options}
    )


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (13000, 13000, r"13000x13000 pixels, 169 million, and the limit is 134 million"),
        (40000, 40000, r"1600000000 pixels, 1600 million, and the limit is 134 million"),
        (1, 1 << 28, r"268435456 pixels, 268 million|1x268435456 pixels, 268 million"),
    ],
)
@pytest.mark.parametrize("size", [8, None])
def test_a_picture_that_unpacks_to_too_much_is_refused_by_its_header(
    tmp_path, recwarn, width, height, said, size
):
    root = folder(tmp_path / "x", {"a.png": png(), "b.ppm": header(width, height)})
    with pytest.raises(ValueError, match=rf"1 images cannot be read, first: b.ppm \({said}"):
        load(root, image_size=size)
    assert not recwarn.list


def test_the_free_memory_bounds_a_picture_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(decode_module, "available_bytes", lambda: 84_000_000)  # 28 bytes a pixel
    root = folder(tmp_path / "x", {"a.png": png(), "b.ppm": header(2000, 1000)})
    with pytest.raises(ValueError, match=r"2 million, and the limit is 2 million by the free mem"):
        load(root)


def test_pixels_in_flight_stay_within_the_budget():
    budget = PixelBudget(100)
    now, most = [0], [0]
    guard = threading.Lock()

    def one(width: int) -> None:
        for _ in range(20):
            with budget.place() as admit:
                admit(Image.new("L", (width, 1)))
                with guard:
                    now[0] += width
                    most[0] = max(most[0], now[0])
                time.sleep(0.0005)
                with guard:
                    now[0] -= width

    threads = [threading.Thread(target=one, args=(w,)) for w in (10, 30, 40, 60, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert 40 < most[0] <= 100


def test_what_an_image_becomes_counts_and_never_waits_for_more_than_there_is():
    budget = PixelBudget(100)
    with budget.place(result=1000) as admit:
        admit(Image.new("L", (1, 1)))
        assert budget._free == 0
    with budget.place(result=60) as admit:
        admit(Image.new("L", (1, 1)))
        assert budget._free == 40
    assert budget._free == 100


def test_an_image_that_fails_gives_its_pixels_back():
    budget = PixelBudget(100)
    for _ in range(5):
        with pytest.raises(OSError, match="truncated"), budget.place() as admit:
            decode_image(header(10, 10), Format(3, 8), admit)
        with pytest.raises(ValueError, match="limit"), budget.place() as admit:
            decode_image(header(11, 10), Format(3, 8), admit)
    with budget.place() as admit:
        admit(Image.new("L", (100, 1)))


def test_cameras_are_within_the_limit():
    check_pixels(Image.open(io.BytesIO(header(12000, 9000))))
    assert 2 * (Image.MAX_IMAGE_PIXELS or 0) > MAX_PIXELS  # beyond which Pillow refuses


def test_a_huge_file_in_a_folder_is_refused_as_one_in_a_zip_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tree_module, "MAX_FILE_BYTES", 1 << 20)
    root = folder(tmp_path / "x", {"a.png": png(), "b.png": bytes(3 << 20)})
    with pytest.raises(ValueError, match=r"b.png \(3 MiB, the limit is 1 MiB a file\)"):
        load(root)


def test_a_zip_that_understates_its_sizes_unpacks_no_more_than_it_says(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", png())
        archive.writestr("b.png", png() + bytes(1 << 22))
    size, small = ((len(png()) + extra).to_bytes(4, "little") for extra in (1 << 22, 5))
    (tmp_path / "x.zip").write_bytes(data.getvalue().replace(size, small))
    with pytest.raises(ValueError, match=r"1 images cannot be read, first: b.png \(Bad CRC-32"):
        load(tmp_path / "x.zip")


@pytest.mark.parametrize("value", [100000, 4097, 0, -1, 1.5, 8.0, "x", "8", True, [8], {}])
def test_a_size_that_is_none_is_refused_before_any_work(tmp_path, value):
    said = r"must be a whole number from 1 to 4096, or null"
    with pytest.raises(ValueError, match=said):
        check_image_size(value)
    for load_one in (load_folder, load_mnist):
        with pytest.raises(ValueError, match=said):
            load_one(data_root=tmp_path, path="nowhere", image_size=value)
    for good in (1, 4096, None):
        check_image_size(good)


@pytest.mark.parametrize("value", [0, 2, 4, True, False, 1.0, 3.0, "3", "x", [3]])
def test_channels_that_are_none_are_refused(value):
    with pytest.raises(
        ValueError, match=r"dataset.channels=.* must be 1 \(grey\), 3 \(RGB\), or null"
    ):
        check_channels(value)


def test_true_is_not_one_channel(tmp_path):
    with pytest.raises(ValueError, match=r"dataset.channels=True must be 1 for mnist"):
        load_mnist(data_root=tmp_path, channels=True)


def test_native_sizes_are_bounded_too(tmp_path):
    data = io.BytesIO()
    Image.new("L", (5000, 10)).save(data, "PNG")
    root = folder(tmp_path / "x", {"a.png": data.getvalue(), "b.png": data.getvalue()})
    with pytest.raises(ValueError, match=r"images of 5000x10 pixels, first: a.png, and dataset.im"):
        load(root, image_size=None)


def test_samples_that_the_memory_cannot_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(samples_module, "available_bytes", lambda: 1000)
    root = folder(tmp_path / "x", {f"{i}.png": png(seed=i) for i in range(6)})
    np.savez_compressed(tmp_path / "a.npz", arr_0=np.zeros((6, 8, 8, 3), np.uint8))
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((6, 8, 8, 3), np.uint8))
    for path in (root, tmp_path / "a.npz", tmp_path / "b.npz"):
        with pytest.raises(ValueError, match=r"holds samples of 0.0 MiB and .* give fewer, or"):
            read_samples((3, 8, 8), path=str(path))
    np.save(tmp_path / "a.npy", np.zeros((6, 8, 8, 3), np.uint8))
    assert read_samples((3, 8, 8), path=str(tmp_path / "a.npy")).size == 6


def test_a_control_group_bounds_the_free_memory(tmp_path, monkeypatch):
    """Version 2 as systemd and containers write it; page cache counts as free."""
    own = tmp_path / "slice" / "job"
    own.mkdir(parents=True)
    for folder_, limit, used in ((own, "max", 500), (own.parent, "1000", 600)):
        (folder_ / "memory.max").write_text(f"{limit}\n")
        (folder_ / "memory.current").write_text(f"{used}\n")
        (folder_ / "memory.stat").write_text("anon 1\ninactive_file 30\nactive_file 20\n")
    monkeypatch.setattr(Path, "read_text", _reading("/proc/self/cgroup", "0::/slice/job\n"))
    assert list(memory._control_groups(tmp_path)) == [(1000, 1000 - 600 + 50)]


def _reading(path: str, content: str):
    real = Path.read_text
    return lambda self, *a, **k: content if str(self) == path else real(self, *a, **k)


def test_the_free_memory_is_a_number_of_bytes():
    assert 1 << 20 < memory.available_bytes() < 1 << 50
