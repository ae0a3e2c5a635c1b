"""Images of 16 bits: the range of their values, inferred, given or refused."""

import struct

import numpy as np
import pytest
from image_folders import load, png, write

from bench.data.decode import Format, decode_image
from bench.data.samples import read_samples


def deep(most: int) -> np.ndarray:
    return np.array([[0, most // 2], [most, most]], np.uint16)


@pytest.mark.parametrize(
    ("most", "bits"), [(255, 8), (1023, 10), (4095, 12), (4000, 12), (16383, 14), (40000, 16)]
)
def test_the_range_of_16_bit_images_is_that_of_all(tmp_path, most, bits):
    # Before: the largest value of 12-bit images became 15 of 255.
    files = {"a.png": png(deep(most)), "b.png": png(deep(most // 3)), "c.tif": png(deep(1), "TIFF")}
    data = load(write(tmp_path / "x", files))
    white = 2**bits - 1
    values = {round(v * 255 / white) for m in (most, most // 3, 1) for v in (0, m // 2, m)}
    images = [*data.train.images, *data.test.images]
    assert {int(v) for image in images for v in image.ravel()} == values
    assert data.shape == (1, 2, 2)
    assert f"3 images of 16 bits are read as {bits}-bit, 0 to {white} " in data.notes[1]
    assert f"largest value is {most} " in data.notes[1]
    assert load(tmp_path / "x").notes == data.notes  # from the cache


def big_endian_tiff(values: np.ndarray) -> bytes:
    """A 16-bit grey TIFF of the other byte order, which Pillow does not write."""
    height, width = values.shape
    pixels = values.astype(">u2").tobytes()
    short = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 277: 1, 278: height}
    entries = [(tag, 3, value << 16) for tag, value in short.items()]
    entries += [(273, 4, 8), (279, 4, len(pixels))]
    table = b"".join(struct.pack(">HHII", tag, kind, 1, v) for tag, kind, v in sorted(entries))
    start = b"MM\0*" + struct.pack(">I", 8 + len(pixels)) + pixels
    return start + struct.pack(">H", len(entries)) + table + bytes(4)


def test_the_byte_order_of_16_bit_images_does_not_matter(tmp_path):
    files = {f"{i}.tif": big_endian_tiff(deep(4095 - 100 * i)) for i in range(3)}
    data = load(write(tmp_path / "x", files))
    assert "3 images of 16 bits are read as 12-bit" in data.notes[1]
    same = {f"{i}.tif": png(deep(4095 - 100 * i), "TIFF") for i in range(3)}
    assert load(write(tmp_path / "y", same)).hash == data.hash


def test_bits_may_be_given(tmp_path):
    files = {"a.png": png(deep(4095)), "b.png": png(deep(4000))}
    root = write(tmp_path / "x", files)
    assert load(root, bits=16).train.images.max() < 17
    assert load(root, bits=13).train.images.max() < 129
    assert load(root, bits=12).hash == load(root).hash
    assert load(root, bits=12).notes == (
        "all images are grey and have one channel (dataset.channels=3 makes three)",
    )
    said = (
        r"2 images hold values above 2047, the largest of dataset\.bits=11, first: a\.png "
        r"\(4095\): set dataset\.bits=12 or null\."
    )
    with pytest.raises(ValueError, match=said):
        load(root, bits=11)
    for bits in (0, 17, 1.5, True, "x"):
        with pytest.raises(ValueError, match=rf"dataset.bits={bits} must be a whole number from 1"):
            load(root, bits=bits)


def test_images_of_8_bits_keep_their_range_beside_16(tmp_path):
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    data = load(write(tmp_path / "x", {"a.png": png(grey), "b.png": png(deep(4095))}))
    images = {image.tobytes() for image in (*data.train.images, *data.test.images)}
    assert images == {grey.tobytes(), bytes([0, 127, 255, 255])}
    eight = load(write(tmp_path / "y", {"a.png": png(grey), "b.png": png(grey + 1)}), bits=12)
    assert eight.train.images.max() >= 200
    assert any("dataset.bits=12 changes nothing" in note for note in eight.notes)


def test_that_most_images_stay_dark_beside_a_bright_one_is_said(tmp_path):
    files = {f"{i}.png": png(deep(4095 - i)) for i in range(4)}
    note = "images of 16 bits are read as 16-bit"
    dark = "4 of them have no value above 4095 and become nearly black: give those"
    data = load(write(tmp_path / "x", {**files, "hot.png": png(deep(65535))}))
    assert [n for n in data.notes if note in n and dark in n]
    bright = {f"b{i}.png": png(deep(65535 - i)) for i in range(5)}
    data = load(write(tmp_path / "x", bright))  # a few dark pictures are what they are
    assert not [n for n in data.notes if "nearly black" in n]


@pytest.mark.parametrize("bits", [12, 16])
def test_white_may_be_zero(bits):
    """Pillow inverts such TIFFs of 8 bits and not those of 16."""
    white = 2**bits - 1
    for value, becomes in ((0, 0), (white // 2, 127), (white, 255)):
        for kind, stored in ((1, value), (0, white - value)):
            data = png(np.full((2, 2), stored, np.uint16), "TIFF", tiffinfo={262: kind})
            assert (decode_image(data, Format(1, None, bits=bits)) == becomes).all()


def test_a_pgm_that_declares_its_largest_value_needs_no_assumption(tmp_path):
    values = deep(2000).astype(">u2").tobytes()
    files = {f"{i}.pgm": b"P5\n2 2\n%d\n" % most + values for i, most in enumerate((4095, 65535))}
    data = load(write(tmp_path / "x", {"0.pgm": files["0.pgm"], "1.pgm": files["0.pgm"]}), bits=3)
    assert data.train.images.max() == round(2000 * 255 / 4095)
    other = write(tmp_path / "y", {"0.pgm": files["1.pgm"], "1.pgm": files["1.pgm"]})
    assert load(other).train.images.max() == round(2000 * 255 / 2047 / 2)  # 65535 says nothing


def deep_colour(most: int) -> bytes:
    """A 16-bit RGB image; Pillow reads such files and cannot write them."""
    return b"P6\n2 2\n65535\n" + np.full((2, 2, 3), most, ">u2").tobytes()


def test_dark_16_bit_colour_is_refused(tmp_path):
    root = write(tmp_path / "x", {f"{i}.ppm": deep_colour(4095 - i) for i in range(2)})
    with pytest.raises(ValueError, match=r"2 images of 16-bit colour use values up to .* 8 bits"):
        load(root)
    with pytest.raises(ValueError, match=r"dataset\.bits=12 cannot be applied to 2 images of 16-b"):
        load(root, bits=12)
    assert load(root, bits=16).train.images.max() < 20
    bright = write(tmp_path / "y", {f"{i}.ppm": deep_colour(60000 - i) for i in range(2)})
    assert load(bright, channels=3).train.images.max() > 230


def test_dark_16_bit_samples_are_refused(tmp_path):
    path = str(write(tmp_path / "x", {"a.png": png(deep(4095)), "b.png": png(deep(3000))}))
    with pytest.raises(ValueError, match="16-bit images without a value above 4095: they would be"):
        read_samples((1, 2, 2), path=path)
    path = str(write(tmp_path / "y", {"a.png": png(deep(65535)), "b.png": png(deep(3000))}))
    assert read_samples((1, 2, 2), path=path).size == 2
