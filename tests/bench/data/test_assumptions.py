"""Assumptions about folders of images: what is inferred, and that it is reported."""

import csv
import io
import json
import logging
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.batches import BatchStream
from bench.data.dataset import Dataset
from bench.data.decode import Format, decode_image
from bench.data.folder import load_folder
from bench.data.pixels import to_uint8
from bench.data.samples import read_samples
from bench.data.sources import load_cifar10, load_digits
from bench.evaluation.extractors.registry import build_extractor
from bench.evaluation.metrics.fid import frechet_distance, statistics
from bench.run import run


def png(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind, **options)
    return data.getvalue()


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (8, 8, 3), np.uint8)


def write(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def packed(target: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def load(path: Path, **options) -> Dataset:
    options = {"image_size": None, **options}
    cache = path.parent / "cache"
    return load_folder(data_root=path.parent, cache_root=cache, path=str(path), **options)


def pictures(names: list[str]) -> dict[str, bytes | str]:
    return {name: png(noise(i)) for i, name in enumerate(names)}


def labelled(data: Dataset) -> dict[bytes, str]:
    """The class of every image, by its pixels."""
    return {
        image.tobytes(): data.classes[label]
        for split in (data.train, data.test)
        if split.labels is not None
        for image, label in zip(split.images, split.labels, strict=True)
    }


def shards(n: int, shard: int = 10, width: int = 3) -> list[str]:
    """dataset_tool's names with smaller shards: 00000/img000000.png to 00001/img000010.png."""
    digits = len(str(shard)) - 1
    return [f"{i // shard:05}/img{i:0{5 + digits}}.png" for i in range(n)]


# Dataset_tool's format, and numbered folders.


def test_numbered_shards_are_no_classes_and_this_is_said(tmp_path):
    # Before: 2,624 images in three folders were "3 classes".
    names = [f"{i // 1000:05}/img{i:08}.png" for i in range(2624)]
    tile = [png(noise(i, 2, 2)) for i in range(2624)]
    data = load(packed(tmp_path / "x.zip", dict(zip(names, tile, strict=True))))
    assert (data.classes, data.num_classes, data.train.labels) == ((), 0, None)
    assert len(data.train) + len(data.test) == 2624
    assert any("3 folders 00000/ … only split the files by number" in note for note in data.notes)


SHARDS = ("part{}", "part-{:05}", "Part_{}", "chunk-{}", "shards{}", "batch_{}", "part-{}-of-3")


@pytest.mark.parametrize(
    "names",
    [
        [f"{i // 10:05}/{i // 10:05}{i % 10:04}.png" for i in range(30)],  # img2dataset
        [f"{i - i % 1000:05}/{i:05}.png" for i in range(0, 3000, 100)],  # FFHQ
        [f"shard-{i % 3:06}/{i}.png" for i in range(30)],
        *([f"{name.format(i % 3)}/{i}.png" for i in range(30)] for name in SHARDS),
        [f"{i % 3:06}/{i // 3}.png" for i in range(30)],  # numbered anew in each
        [f"{i % 3 + 1:07}/{chr(97 + i % 26)}{i}x.jpg.png" for i in range(30)],
        [f"data/{name}" for name in shards(30)],
        [f"train/{name}" for name in shards(30)],
        [f"{split}/{name}" for split, n in (("train", 30), ("test", 8)) for name in shards(n)],
    ],
)
def test_other_numbered_folders_are_no_classes(tmp_path, names):
    assert load(write(tmp_path / "x", pictures(names))).classes == ()


@pytest.mark.parametrize(
    "names",
    [
        [f"{c}/{c}{i:03}.png" for c in range(3) for i in range(10)],  # MNIST
        [
            f"{c:05}/{i:05}_{j:05}.ppm" for c in range(3) for i in range(4) for j in range(3)
        ],  # GTSRB
        [f"{c:05}/{i:05}.png" for c in range(3) for i in range(10)],
        [f"{i % 3:05}/img{i:08}.png" for i in range(30)],
        [f"{c}/{i}.png" for c in ("00000x", "00001x") for i in range(10)],
        [f"{c}/{i:03}.png" for c in ("0000045", "0000099") for i in range(10)],  # CASIA-WebFace
        [f"{c}/{i}.png" for c in ("100001", "100002") for i in range(10)],
        [f"{c:03}/{i}.png" for c in range(3) for i in range(10)],  # folder 000
        [f"{c}/{i}.png" for c in ("001.Albatross", "002.Albatross") for i in range(10)],
        [f"{c}/{i}.png" for c in ("part", "particle7", "batches", "7part") for i in range(10)],
    ],
)
def test_numbered_classes_remain_classes(tmp_path, names):
    ppm = {name: png(noise(i), "PPM") for i, name in enumerate(names)}
    data = load(write(tmp_path / "x", {n.replace(".png", ".ppm"): c for n, c in ppm.items()}))
    assert list(data.classes) == sorted({name.split("/")[0] for name in names})
    assert data.train.labels is not None


def test_classes_that_may_be_shards_are_said(tmp_path):
    names = [f"{c:05}/{i:05}_0.png" for c in range(3) for i in range(10)]
    (note,) = load(write(tmp_path / "x", pictures(names))).notes
    assert note == (
        "the 3 numbered folders 00000/ … are read as classes: if they only split the files, rename "
        "them to shard-0, shard-1, …"
    )
    names = [f"{c}/{i}.png" for c in ("0001", "0002") for i in range(10)]
    assert load(write(tmp_path / "y", pictures(names))).notes == ()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["cat/train/a.png", "cat/test/b.png", "dog/train/c.png", "dog/test/d.png"],
            r"has folders cat/train/ and cat/test/, splits inside a class: put the splits "
            r"outermost, as in train/cat/ and test/cat/\.",
        ),
        (
            ["cat/0.png", "dog/1.png", "dog/Training/c.png", "dog/Validation/d.png"],
            "has folders dog/Training/ and dog/Validation/, splits inside a class",
        ),
        (
            ["cat/more/train/c.png", "cat/more/val/d.png", "dog/1.png"],
            "has folders cat/more/train/ and cat/more/val/, splits inside a class",
        ),
        (
            ["images/a.png", "masks/a.png", "images/b.png", "masks/b.png"],
            "has folders images/ and masks/, which are named like images and their annotations, "
            "not like classes: move masks/ elsewhere, or rename the classes",
        ),
        (
            [f"train/{folder}/{n}.png" for folder in ("Imgs", "GT") for n in "ab"],
            "has folders train/Imgs/ and train/GT/, which are named like images and their",
        ),
        (
            [f"{folder}/training/{n}.png" for folder in ("images", "annotations") for n in "ab"],
            "has folders images/ and annotations/",
        ),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path, names, said):
    with pytest.raises(ValueError, match=said):
        load(write(tmp_path / "x", pictures(names)))


@pytest.mark.parametrize(
    "names",
    [
        ["cat/train/a.png", "cat/train/b.png", "dog/train/c.png"],  # of trains, or of one split
        ["masks/a.png", "masks/b.png", "no masks/a.png"],
        ["images/a.png", "images/b.png", "drawings/a.png"],
        ["cat/train station/a.png", "cat/crash test/b.png", "dog/c.png"],
    ],
)
def test_folders_with_such_names_alone_are_classes(tmp_path, names):
    data = load(write(tmp_path / "x", pictures(names)))
    assert data.classes == tuple(sorted({name.split("/")[0] for name in names}))


@pytest.mark.parametrize("wrapper", ["", "mine/"])
@pytest.mark.parametrize("names", [shards(25), [f"img{i:08}.png" for i in range(25)]])
def test_labels_of_dataset_json(tmp_path, names, wrapper):
    numbers = [(7 * i) % 12 for i in range(25)]
    pairs = [[name, number] for name, number in zip(names, numbers, strict=True)]
    files = {wrapper + name: content for name, content in pictures(names).items()}
    files[f"{wrapper}dataset.json"] = json.dumps({"labels": pairs})
    data = load(packed(tmp_path / "x.zip", files))
    assert data.classes == tuple(str(k) for k in range(12))  # by number: 2 before 10
    expected = {noise(i).transpose(2, 0, 1).tobytes(): str(k) for i, k in enumerate(numbers)}
    assert labelled(data) == expected
    assert data.hash == load(write(tmp_path / "x", files)).hash
    assert data.notes == ()


def test_class_names_are_the_numbers_of_labels_that_have_gaps(tmp_path):
    files = pictures(shards(20))
    pairs = [[name, 3 + 4 * (i % 2)] for i, name in enumerate(files)]
    files["dataset.json"] = json.dumps({"labels": pairs})
    assert load(write(tmp_path / "x", files)).classes == ("3", "7")


def test_dataset_json_without_labels(tmp_path):
    files = pictures(["cat/0.png", "cat/1.png", "dog/0.png"])
    data = load(write(tmp_path / "x", {**files, "dataset.json": '{"labels": null}'}))
    assert (data.classes, data.train.labels) == ((), None)
    assert "dataset.json says that the images have no labels: folders are no classes" in data.notes


def test_each_split_may_have_its_dataset_json(tmp_path):
    files: dict[str, bytes | str] = {}
    for split in ("train", "test"):
        files |= pictures([f"{split}/{name}" for name in shards(20)])
        pairs = [[name, i % 2] for i, name in enumerate(shards(20))]
        files[f"{split}/dataset.json"] = json.dumps({"labels": pairs})
    data = load(write(tmp_path / "x", files))
    assert (len(data.train), len(data.test), data.classes) == (20, 20, ("0", "1"))
    del files["test/dataset.json"]
    with pytest.raises(ValueError, match="has classes in train/ but none in test/"):
        load(write(tmp_path / "y", files))


def test_a_published_data_set_in_this_format(tmp_path):
    names = shards(20)
    files = {name: png(noise(i, 32, 32, 3)) for i, name in enumerate(names)}
    pairs = [[name, i % 10] for i, name in enumerate(names)]
    path = packed(tmp_path / "cifar.zip", {**files, "dataset.json": json.dumps({"labels": pairs})})
    data = load_cifar10(data_root=tmp_path, cache_root=tmp_path / "c", path=str(path))
    assert data.classes[:2] == ("airplane", "automobile")
    assert labelled(data)[noise(1, 32, 32, 3).transpose(2, 0, 1).tobytes()] == "automobile"


def test_labels_of_images_that_are_gone_are_said(tmp_path):
    files = pictures(shards(20))
    pairs = [[name, i % 2] for i, name in enumerate([*files, "00002/img000020.png"])]
    data = load(write(tmp_path / "x", {**files, "dataset.json": json.dumps({"labels": pairs})}))
    assert data.notes == (
        "dataset.json names 1 images that are not there, first: 00002/img000020.png",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", r"dataset\.json is not JSON \(.*\): write"),
        ("[" * 100_000, r"dataset\.json is not JSON"),
        ('{"title": "cats"}', r'dataset\.json has no "labels": write'),
        ('{"labels": false}', "holds false where a file name and a label should be"),
        ('{"labels": 3}', "holds 3 where a file name and a label should be"),
        ('{"labels": [["0.png"]]}', r'holds \["0.png"\] where a file name'),
        ('{"labels": [["0.png", 0], ["0.png", 1]]}', "labels 0.png twice"),
        ('{"labels": [["0.png", 0]]}', "has no label for 1 images, first: 1.png"),
        ('{"labels": [["0.png", 0], ["1.png", -1]]}', "labels 1.png by -1: labels are whole"),
        ('{"labels": [["0.png", 0], ["1.png", 1.5]]}', "labels 1.png by 1.5: labels are whole"),
        ('{"labels": [["0.png", 0], ["1.png", true]]}', "labels 1.png by true: labels are"),
        ('{"labels": [["0.png", [0, 1]]]}', r"labels 0.png by \[0, 1\], not by one class"),
    ],
)
def test_bad_dataset_json(tmp_path, content, said):
    files = pictures(["0.png", "1.png"])
    with pytest.raises(ValueError, match=said) as error:
        load(write(tmp_path / "x", {**files, "dataset.json": content}))
    assert "\n" not in str(error.value)


# Files beside the images, and other formats.


@pytest.mark.parametrize("name", ["labels.csv", "metadata.jsonl", "split.txt", "0.cls", "a.json"])
def test_what_may_say_labels_is_never_ignored_silently(tmp_path, name):
    files = pictures([f"{i}.png" for i in range(4)])
    data = load(write(tmp_path / "x", {**files, name: "file,label\n0.png,1\n"}))
    assert len(data.notes) == 1
    assert f"1 files that may hold labels or splits are not read, first: {name}" in data.notes[0]
    assert "dataset.json" in data.notes[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("00000.tar", "tar archives .webdataset. are not read: unpack them"),
        ("a/train.tar.gz", "tar archives"),
        ("train-00000-of-00002.parquet", "tables of images are not read: write each row"),
        ("data.mdb", "LMDB databases are not read"),
        ("train.tfrecord-00000-of-00002", "TFRecords are not read"),
        ("x.h5", "arrays are not read as data sets"),
        ("x.rar", "only zip files are read"),
        ("a.HEIC", "pictures of these formats are not read: save them as PNG"),
        ("a.avif", "pictures of these formats"),
        ("a.jfif", "JPEGs of this name are not read: rename them to .jpg"),
        (
            "train-images-idx3-ubyte.gz",
            "IDX files .MNIST. are not read as .*dataset=mnist",
        ),
    ],
)
def test_formats_that_are_not_read_are_refused_with_a_remedy(tmp_path, name, said):
    root = write(tmp_path / "x", {name: b"0"})
    for path in (root, root / name, packed(tmp_path / "x.zip", {name: b"0"})):
        with pytest.raises(ValueError, match=said) as error:
            load(path)
        assert "\n" not in str(error.value)
    with_pictures = load(write(root, pictures(["a.png", "b.png"])))
    assert f"1 files are left out, first: {name}" in with_pictures.notes[0]


# 16-bit images.


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


# Copies.


def test_copies_lie_on_one_side_of_the_hold_out(tmp_path):
    # Every image three times under other names; before, all 30 held-out images were trained on too.
    files = {f"{k}{i:03}.png": png(noise(i)) for i in range(100) for k in "abc"}
    data = load(write(tmp_path / "x", files))
    train, test = ({image.tobytes() for image in split.images} for split in (data.train, data.test))
    assert not train & test
    assert (len(train), len(test)) == (90, 10)
    assert (len(data.train), len(data.test)) == (270, 30)
    assert data.notes == (
        "200 of 300 images are exact copies of others: all copies of one are either trained on or "
        "held out",
    )
    assert load(tmp_path / "x").notes == data.notes  # from the cache
    assert not [p for p in (tmp_path / "cache").iterdir() if p.name.startswith(".")]


def test_copies_are_found_by_content_and_their_classes_compared(tmp_path):
    bmp = {f"dog/{i}.bmp": png(noise(i), "BMP") for i in range(10)}
    files = {f"cat/{i}.png": png(noise(i)) for i in range(20)}
    data = load(write(tmp_path / "x", {**files, **bmp}))
    assert "10 of 30 images are exact copies of others" in data.notes[0]
    assert "10 of them have another class than the first copy" in data.notes[0]
    assert not {i.tobytes() for i in data.train.images} & {i.tobytes() for i in data.test.images}


def test_without_copies_the_hold_out_is_the_one_of_before(tmp_path):
    names = [f"{'cat' if i % 2 else 'dog'}/{i}.png" for i in range(40)]
    data = load(write(tmp_path / "x", pictures(names)))
    held_out = {image.tobytes() for image in data.test.images}
    # As before copies were looked for, to the bit.
    assert held_out == {noise(i).transpose(2, 0, 1).tobytes() for i in (21, 29, 10, 8)}
    assert data.hash == "81bfa4e11537dfd9"
    assert data.notes == ()


def test_copies_in_given_splits_are_said_and_stay(tmp_path):
    files = {f"train/{i}.png": png(noise(i)) for i in range(10)}
    files |= {f"test/{i}.png": png(noise(i)) for i in range(7, 12)}
    data = load(write(tmp_path / "x", files))
    assert (len(data.train), len(data.test)) == (10, 5)
    assert data.notes == (
        "3 of 15 images are exact copies of others; 3 of the 5 held-out images are also trained "
        "on, which biases every score: remove them from one side",
    )


# Images that are not square.


def wide() -> np.ndarray:
    pixels = np.full((4, 8, 3), 200, np.uint8)
    pixels[:, :2] = 40
    return pixels


def test_fit(tmp_path):
    files = {f"{i}.png": png(wide() + i) for i in range(3)}
    files["3.png"] = png(noise(3, 8, 8, 3))
    root = write(tmp_path / "x", files)
    crop, pad, stretch = (load(root, image_size=4, fit=f) for f in ("crop", "pad", "stretch"))

    def first(data: Dataset) -> np.ndarray:
        """The wide image with the smallest values, (4, 4), its red channel."""
        images = [*data.train.images, *data.test.images]
        return min((i[0] for i in images if (i[0] == i[1]).all()), key=lambda x: int(x.sum()))

    assert (first(crop) == 200).all()
    assert (first(pad)[[0, 3]] == 0).all()
    assert first(pad)[1, 0] < 60 < 190 < first(pad)[1, 3]
    assert first(stretch)[0, 0] < 60 < 190 < first(stretch)[0, 3]
    assert (first(stretch) == first(stretch)[0]).all()
    assert crop.notes == (
        "3 of 4 images are not square and are cropped to their centre square and lose 50.0% of "
        "their area (median), at most 50.0%; dataset.fit=pad or stretch keeps all of it",
    )
    assert pad.notes[0].startswith("3 of 4 images are not square and get black bars on 50.0%")
    assert stretch.notes[0].startswith("3 of 4 images are not square and are squeezed along")
    assert load(root, image_size=4).hash == crop.hash


def test_square_images_are_the_same_whatever_the_fit(tmp_path):
    root = write(tmp_path / "x", pictures([f"{i}.png" for i in range(4)]))
    hashes = {load(root, image_size=4, fit=fit).hash for fit in ("crop", "pad", "stretch")}
    assert len(hashes) == 1
    assert load(root, image_size=4).notes == ()
    assert load(root, image_size=9).notes == (
        "4 of 4 images are smaller than 9x9 and are enlarged",
    )


def test_extreme_shapes_can_be_padded(tmp_path):
    files = {f"{i}.png": png(noise(i, 1, 300, 3)) for i in range(2)}
    data = load(write(tmp_path / "x", files), image_size=8, fit="pad")
    assert data.shape == (3, 8, 8)
    assert (data.train.images[0].max(axis=(0, 2)) > 0).sum() == 1  # one row is not black


# Grey images.


def test_grey_images_keep_one_channel(tmp_path):
    files = {f"{i}.png": png(noise(i, 8, 8)) for i in range(4)}
    data = load(write(tmp_path / "x", files))
    assert data.shape == (1, 8, 8)
    assert data.notes == (
        "all images are grey and have one channel (dataset.channels=3 makes three)",
    )
    assert load(tmp_path / "x", channels=3).shape == (3, 8, 8)
    assert load(tmp_path / "x", channels=1).notes == ()


def test_grey_images_saved_in_colour_are_grey(tmp_path):
    for i in range(4):
        grey = Image.fromarray(noise(i, 8, 8))
        (tmp_path / "x").mkdir(exist_ok=True)
        grey.convert("RGB").save(tmp_path / "x" / f"{i}.png")
        (tmp_path / "y").mkdir(exist_ok=True)
        grey.save(tmp_path / "y" / f"{i}.png")
    Image.fromarray(noise(5, 8, 8)).convert("P").save(tmp_path / "x" / "5.png")
    Image.fromarray(noise(5, 8, 8)).save(tmp_path / "y" / "5.png")
    assert load(tmp_path / "x").hash == load(tmp_path / "y").hash
    assert load(tmp_path / "x").shape == (1, 8, 8)


def test_one_pixel_in_colour_makes_three_channels(tmp_path):
    files = {f"{i}.png": png(noise(i, 8, 8)) for i in range(4)}
    pixels = np.repeat(noise(4, 8, 8)[..., None], 3, axis=2)
    pixels[3, 3] = 1, 2, 3
    data = load(write(tmp_path / "x", {**files, "z.png": png(pixels)}))
    assert data.shape == (3, 8, 8)
    assert data.notes == ()


# What a run says.


def test_digits_in_a_folder_are_not_mirrored(tmp_path):
    """What a perfect sampler of the training batches scores: FID 2.6 where half are mirrored."""
    digits = load_digits(data_root=tmp_path)
    for part, split in (("train", digits.train), ("test", digits.test)):
        assert split.labels is not None
        for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            write(tmp_path / "x", {f"{part}/{label}/{i:04}.png": png(image[0])})
    extractor = build_extractor(
        "domain", digits, device=torch.device("cpu"), cache_dir=tmp_path, weights=None
    )

    def fid(**options) -> float:
        data = load(tmp_path / "x", **options)
        n = len(data.train)
        assert data.shape == (1, 8, 8)
        batch = BatchStream(data.train, n, seed=0, flip=data.flip)(0).x
        features = [
            extractor(images)[0]
            for images in (torch.from_numpy(np.array(digits.test.images)), to_uint8(batch))
        ]
        return frechet_distance(*statistics(features[0]), *statistics(features[1]))

    assert fid() == pytest.approx(0.093, abs=0.01)
    assert fid(flip=True) > 2
    with hydra.initialize_config_module("conf", version_base="1.3"):
        assert hydra.compose("config", ["dataset=folder"]).dataset.flip is False


def test_a_run_says_how_it_augments(tmp_path, caplog):
    files = {f"{i % 2}x/{i:02}.png": png(noise(i, 8, 8)) for i in range(40)}
    root = write(tmp_path / "x", files)
    said = {}
    for name, flip in (("plain", []), ("mirrored", ["dataset.flip=true"])):
        overrides = [
            "model=mlp_gan",
            "dataset=folder",
            f"dataset.path={root}",
            f"dataset.name={name}",
            "dataset.image_size=8",
            "evaluator.samples=10",
            "evaluator.cost_seconds=0",
            "evaluator.resamples=0",
            "budget.images=64",
            f"results_root={tmp_path}",
            f"cache_root={tmp_path / 'c'}",
            *flip,
        ]
        with hydra.initialize_config_module("conf", version_base="1.3"):
            cfg = hydra.compose("config", overrides)
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="bench.run"):
            directory = run(cfg, overrides).directory
        said[name] = [record.getMessage() for record in caplog.records]
        assert "all images are grey" in (directory / "config.yaml").read_text()  # recorded
        with (directory / "eval.csv").open() as file:
            assert {row["image_shape"] for row in csv.DictReader(file)} == {"1x8x8"}
    for name, augmentation in (("plain", "none"), ("mirrored", "horizontal flips")):
        assert said[name][0] == (
            f"  {name}: 36 training and 4 held-out samples of 1x8x8, 2 classes (0x, 1x); "
            f"augmentation: {augmentation}"
        )
    assert any("plain: all images are grey" in line for line in said["plain"])
