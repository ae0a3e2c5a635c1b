"""Bad data sets: unsuitable or damaged folders, zips and published files."""

import json

import numpy as np
from bad_case import Case
from bad_files import (
    PETS,
    Files,
    encoded,
    encrypted_zip,
    file,
    folder,
    mnist_files,
    npz,
    picture,
    pngs,
    zip_bomb,
    zipped,
)
from PIL import Image

DATA = ("dataset=folder", "dataset.path={folder}/data")
ZIP = ("dataset=folder", "dataset.path={folder}/data.zip")
MNIST = ("dataset=mnist", "dataset.path={folder}/data")
FILES = ("dataset=mnist", "data_root={folder}/files")
AS_IS = (*DATA, "dataset.image_size=null")
PNG = encoded(picture())
WIDE = encoded(Image.new("L", (5000, 1)))


def sixteen(value: int) -> Image.Image:
    """16-bit grey."""
    return Image.fromarray(np.full((8, 8), value, np.uint16))


FOLDERS = (
    Case(
        "no path",
        "dataset.path=null: set it to a folder or zip file of images.",
        ("dataset=folder",),
    ),
    Case(
        "a path that does not exist",
        ("dataset.path=<folder>/data does not exist: give a folder or a zip file of images."),
        DATA,
    ),
    Case(
        "an empty folder",
        (
            "dataset.path=<folder>/data holds no images: give a folder or zip of .png, "
            ".jpg, .jpeg, .bmp, .gif, .tif, .tiff, .webp, .ppm, .pgm files."
        ),
        DATA,
        folder("data", {}),
    ),
    Case(
        "a folder without images",
        (
            "dataset.path=<folder>/data holds no images: give a folder or zip of .png, "
            ".jpg, .jpeg, .bmp, .gif, .tif, .tiff, .webp, .ppm, .pgm files."
        ),
        DATA,
        folder("data", {"notes.txt": b"cats"}),
    ),
    Case(
        "a single image",
        (
            "dataset.path=<folder>/data holds a single image: at least two are needed, one "
            "to train on and one to hold out."
        ),
        DATA,
        folder("data", pngs(1)),
    ),
    Case(
        "five images to train on",
        "folder has 5 training images: scores need more than 5, add images",
        DATA,
        folder("data", pngs(6)),
    ),
    Case(
        "twelve images, one of them held out",
        ("folder has too few held-out images (1): signs of copying need at least 2, add images"),
        DATA,
        folder("data", pngs(12)),
    ),
    Case(
        "24 images, two of them held out",
        (
            "folder holds out 2 images and as many samples would be scored: add images, or "
            "set evaluator.samples to at least 10"
        ),
        (*DATA, "evaluator.samples=null"),
        folder("data", pngs(24)),
    ),
    Case(
        "one class only, for the domain extractor",
        (
            "folder has no class labels, so it has no domain classifier: choose "
            "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0"
        ),
        (*DATA, "evaluator.extractor=domain"),
        folder("data", pngs(24, ["cat"])),
    ),
    Case(
        "a class folder without images",
        (
            "dataset.path=<folder>/data has 1 class folders without images, first: emu/: "
            "remove them or add images."
        ),
        DATA,
        folder("data", PETS | {"emu": None}),
    ),
    Case(
        "a folder beside the classes that holds other files",
        (
            "dataset.path=<folder>/data has 1 class folders without images, first: notes/: set "
            "dataset.path to a folder that holds nothing but class folders."
        ),
        DATA,
        folder("data", PETS | {"notes/notes.txt": b""}),
    ),
    Case(
        "splits of other names",
        (
            "dataset.path=<folder>/data has folders training/ and testing/, which are named like "
            "splits, not like classes: name them train/ and test/ (and move others elsewhere), or "
            "rename the classes."
        ),
        DATA,
        folder("data", pngs(24, ("training", "testing"))),
    ),
    Case(
        "splits inside of classes",
        (
            "dataset.path=<folder>/data has folders cat/train/ and cat/test/, splits inside a "
            "class: put the splits outermost, as in train/cat/ and test/cat/."
        ),
        DATA,
        folder("data", pngs(24, ("cat/train", "cat/test", "dog/train", "dog/test"))),
    ),
    Case(
        "images and their masks",
        (
            "dataset.path=<folder>/data has folders images/ and masks/, which are named like "
            "images and their annotations, not like classes: move masks/ elsewhere, or rename the "
            "classes."
        ),
        DATA,
        folder("data", pngs(24, ("images", "masks"))),
    ),
    Case(
        "a class in test/ only",
        (
            "dataset.path=<folder>/data has 1 classes in test/ that train/ lacks, first: "
            "emu: give both the same class folders."
        ),
        DATA,
        folder("data", {"train/cat/0.png": PNG, "train/dog/0.png": PNG, "test/emu/0.png": PNG}),
    ),
    Case(
        "classes in train/ and none in test/",
        (
            "dataset.path=<folder>/data has classes in train/ but none in test/: sort both into "
            "classes or neither."
        ),
        DATA,
        folder("data", {"train/cat/0.png": PNG, "train/dog/0.png": PNG, "test/0.png": PNG}),
    ),
    Case(
        "a folder beside train/ and test/",
        (
            "dataset.path=<folder>/data has images in more, test, train: beside train/ "
            "there may be either test/ or val/, with images, and nothing else."
        ),
        DATA,
        folder("data", {"train/0.png": PNG, "test/0.png": PNG, "more/0.png": PNG}),
    ),
    Case(
        "an image beside class folders",
        (
            "dataset.path=<folder>/data mixes class folders such as cat/ with 1 images "
            "outside of any, first: stray.png: move them into class folders or put all "
            "images into one folder."
        ),
        DATA,
        folder("data", PETS | {"stray.png": PNG}),
    ),
    Case(
        "images of several sizes, to be kept",
        (
            "dataset.path=<folder>/data: 1 images are not 8x8 pixels, first: cat/wide.png "
            "(9x8): set dataset.image_size to resize all images."
        ),
        AS_IS,
        folder("data", PETS | {"cat/wide.png": encoded(Image.new("RGB", (9, 8)))}),
    ),
    Case(
        "images that are all the same",
        (
            "folder has 22 training images that are all the same: there is no distribution "
            "to score, give images that differ"
        ),
        DATA,
        folder("data", dict.fromkeys(pngs(24, ("cat", "dog")), PNG)),
    ),
    Case(
        "images smaller than a pixel",
        "dataset.image_size=0 must be a whole number from 1 to 4096, or null.",
        (*DATA, "dataset.image_size=0"),
        folder("data", PETS),
    ),
    *(
        Case(
            f"an image size of {value}",
            f"dataset.image_size={shown} must be a whole number from 1 to 4096, or null.",
            (*DATA, f"dataset.image_size={value}"),
            folder("data", PETS),
        )
        for value, shown in (("100000", "100000"), ("1.5", "1.5"), ("x", "x"), ("true", "True"))
    ),
    *(
        Case(
            f"{value} channels",
            (
                f"dataset.channels={shown} must be 1 (grey), 3 (RGB), or null to derive it from "
                "the images."
            ),
            (*DATA, f"dataset.channels={value}"),
            folder("data", PETS),
        )
        for value, shown in (("true", "True"), ("3.0", "3.0"), ("x", "x"))
    ),
    Case(
        "images of 5000x1 pixels, to be kept",
        (
            "dataset.path=<folder>/data holds images of 5000x1 pixels, first: train/0.png, and "
            "dataset.image_size=null keeps that size: set it to 4096 at most."
        ),
        AS_IS,
        folder("data", dict.fromkeys(("train/0.png", "test/0.png"), WIDE)),
    ),
    Case(
        "images of two channels",
        "dataset.channels=2 must be 1 (grey), 3 (RGB), or null to derive it from the images.",
        (*DATA, "dataset.channels=2"),
        folder("data", PETS),
    ),
    Case(
        "another way to make images square",
        "dataset.fit=squash must be one of crop, pad, stretch.",
        (*DATA, "dataset.fit=squash"),
        folder("data", PETS),
    ),
    Case(
        "bars around images that keep their size",
        "dataset.fit=pad needs a dataset.image_size: with null, images keep their size.",
        (*AS_IS, "dataset.fit=pad"),
        folder("data", PETS),
    ),
    Case(
        "values of 32 bits",
        (
            "dataset.bits=32 must be a whole number from 1 to 16, or null to derive it from the "
            "images."
        ),
        (*DATA, "dataset.bits=32"),
        folder("data", PETS),
    ),
    Case(
        "flips that are neither true nor false",
        "dataset.flip must be true or false, got 'no'",
        (*DATA, "dataset.flip=no"),
        folder("data", PETS),
    ),
)

SHARDS = {f"0000{i // 10}/img{i:06}.png": encoded(picture(i)) for i in range(24)}
"""A data set of dataset_tool, in small: its folders are no classes."""


def labelled(labels: object, **more: bytes | None) -> Files:
    """The shards with a dataset.json."""
    return {**SHARDS, **more, "dataset.json": json.dumps({"labels": labels}).encode()}


PAIRS = [[name, i % 2] for i, name in enumerate(SHARDS)]

FORMATS = (
    Case(
        "numbered folders without dataset.json, which are no classes",
        (
            "folder has no class labels, so it has no domain classifier: choose "
            "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0"
        ),
        (*DATA, "evaluator.extractor=domain"),
        folder("data", SHARDS),
    ),
    Case(
        "a dataset.json that is cut short",
        (
            "dataset.path=<folder>/data: dataset.json is not JSON (Expecting value: line 1 column "
            '12 (char 11)): write {"labels": [["00000/img00000000.png", 6], …]}, or remove it.'
        ),
        DATA,
        folder("data", {**SHARDS, "dataset.json": b'{"labels": '}),
    ),
    Case(
        "a dataset.json of something else",
        (
            'dataset.path=<folder>/data: dataset.json has no "labels": write {"labels": '
            '[["00000/img00000000.png", 6], …]}, or rename the file if it says something else.'
        ),
        DATA,
        folder("data", {**SHARDS, "dataset.json": b'{"title": "cats"}'}),
    ),
    Case(
        "a dataset.json without the label of one image",
        (
            "dataset.path=<folder>/data: dataset.json has no label for 1 images, first: "
            '00000/img000000.png: give every image one, or set its "labels" to null.'
        ),
        DATA,
        folder("data", labelled(PAIRS[1:])),
    ),
    Case(
        "a dataset.json with two labels for one image",
        (
            "dataset.path=<folder>/data: dataset.json labels 00000/img000000.png twice: leave one "
            "label."
        ),
        DATA,
        folder("data", labelled([*PAIRS, ["00000/img000000.png", 1]])),
    ),
    Case(
        "a dataset.json with a negative label",
        (
            "dataset.path=<folder>/data: dataset.json labels 00000/img000000.png by -1: labels are "
            "whole numbers from 0."
        ),
        DATA,
        folder("data", labelled([["00000/img000000.png", -1]])),
    ),
    Case(
        "a dataset.json with vectors as labels",
        (
            "dataset.path=<folder>/data: dataset.json labels 00000/img000000.png by [0.5, 0.5], "
            'not by one class: write its number, or set "labels" to null.'
        ),
        DATA,
        folder("data", labelled([["00000/img000000.png", [0.5, 0.5]]])),
    ),
    Case(
        "shards of webdataset",
        (
            "dataset.path=<folder>/data holds no images but 2 other files, first: 00000.tar: "
            "tar archives (webdataset) are not read: unpack them into a folder (with a "
            "sub-folder per class, if there are classes)."
        ),
        DATA,
        folder("data", {"00000.tar": b"cat", "00001.tar": b"dog"}),
    ),
    Case(
        "one tar archive",
        (
            "dataset.path=<folder>/data.tar is not a folder or zip file of images: tar archives "
            "(webdataset) are not read: unpack them into a folder (with a sub-folder per class, if "
            "there are classes)."
        ),
        ("dataset=folder", "dataset.path={folder}/data.tar"),
        file("data.tar", b"cat"),
    ),
    Case(
        "a Parquet table with the bytes of images",
        (
            "dataset.path=<folder>/data holds no images but 1 other files, first: "
            "train-00000.parquet: tables of images are not read: write each row's image bytes to a "
            "file in a folder (with a sub-folder per class, if there are classes)."
        ),
        DATA,
        folder("data", {"train-00000.parquet": b"PAR1", "README.md": b"cats"}),
    ),
    Case(
        "an LMDB database",
        (
            "dataset.path=<folder>/data holds no images but 2 other files, first: data.mdb: LMDB "
            "databases are not read: write each value's image to a file in a folder (with a "
            "sub-folder per class, if there are classes)."
        ),
        DATA,
        folder("data", {"data.mdb": b"cat", "lock.mdb": b""}),
    ),
)

IMAGES = (
    Case(
        "a PNG that is damaged in the middle",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.png "
            "(broken data stream when reading image file): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.png": PNG[:60] + b"\0" + PNG[61:]}),
    ),
    Case(
        "a JPEG that is cut short",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.jpg (image"
            " file is truncated (107 bytes not processed)): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.jpg": encoded(picture(side=64), "JPEG")[:1500]}),
    ),
    Case(
        "text that is called .png",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.png (not "
            "an image, or damaged at its beginning): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.png": b"cat"}),
    ),
    Case(
        "an empty file",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.png (not "
            "an image, or damaged at its beginning): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.png": b""}),
    ),
    Case(
        "no image that can be read",
        (
            "dataset.path=<folder>/data: none of its 24 images can be read, first: "
            "cat/00.png (not an image, or damaged at its beginning): replace them."
        ),
        AS_IS,
        folder("data", dict.fromkeys(PETS, b"cat")),
    ),
    Case(
        "an animated GIF",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.gif "
            "(animated, 3 frames): replace or remove them."
        ),
        DATA,
        folder(
            "data",
            PETS
            | {
                "cat/bad.gif": encoded(
                    picture(), "GIF", save_all=True, append_images=[picture(1), picture(2)]
                )
            },
        ),
    ),
    Case(
        "a TIFF of 32-bit floats",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.tif "
            "(floating-point pixels: save it with 8 or 16 bits): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.tif": encoded(Image.new("F", (8, 8)), "TIFF")}),
    ),
    Case(
        "a TIFF of 32-bit integers",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.tif "
            "(32-bit integer pixels: save it with 8 or 16 bits): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.tif": encoded(Image.new("I", (8, 8), 1 << 20), "TIFF")}),
    ),
    Case(
        "12-bit images of which one has more bits than was said",
        (
            "dataset.path=<folder>/data: 1 images hold values above 4095, the largest of "
            "dataset.bits=12, first: cat/bad.png (5000): set dataset.bits=13 or null."
        ),
        (*DATA, "dataset.bits=12"),
        folder(
            "data", PETS | {"cat/bad.png": encoded(sixteen(5000)), "dog/a.png": encoded(sixteen(1))}
        ),
    ),
    Case(
        "12-bit colours in 16-bit files",
        (
            "dataset.path=<folder>/data: 24 images of 16-bit colour use values up to 4351 of "
            "65535, first: 00.ppm: they would be dark, save them with 8 bits."
        ),
        DATA,
        folder(
            "data",
            {
                f"{i:02}.ppm": b"P6 8 8 65535\n" + np.full(192, 4095 - i, ">u2").tobytes()
                for i in range(24)
            },
        ),
    ),
    Case(
        "a picture too large to unpack",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.ppm (1600000000 "
            "pixels, 1600 million, and the limit is 134 million): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.ppm": b"P6 40000 40000 255\n"}),
    ),
    Case(
        "a picture of 170 million pixels",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.ppm (13000x13000 "
            "pixels, 169 million, and the limit is 134 million): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.ppm": b"P6 13000 13000 255\n"}),
    ),
)

ZIPS = (
    Case(
        "a zip that is cut short",
        (
            "dataset.path=<folder>/data.zip is not a whole zip file (File is not a zip "
            "file): give a folder or a zip file of images, or copy the file again if it was"
            " cut short."
        ),
        ZIP,
        file("data.zip", zipped(("cat.png", PNG), ("dog.png", PNG))[:-40]),
    ),
    Case(
        "text that is called .zip",
        (
            "dataset.path=<folder>/data.zip is not a whole zip file (File is not a zip "
            "file): give a folder or a zip file of images, or copy the file again if it was"
            " cut short."
        ),
        ZIP,
        file("data.zip", b"cat"),
    ),
    Case(
        "a zip with `../`",
        (
            "dataset.path=<folder>/data.zip: entry '../../cat.png' points outside the "
            "archive: do not trust this file."
        ),
        ZIP,
        file("data.zip", zipped(("../../cat.png", PNG))),
    ),
    Case(
        "a zip with a password",
        (
            "dataset.path=<folder>/data.zip: entry 'cat.png' is encrypted: zip the images "
            "without a password."
        ),
        ZIP,
        file("data.zip", encrypted_zip()),
    ),
    Case(
        "a zip with an entry twice",
        ("dataset.path=<folder>/data.zip: entry './cat.png' occurs twice: zip the images again."),
        ZIP,
        file("data.zip", zipped(("cat.png", PNG), ("./cat.png", PNG))),
    ),
    Case(
        "a zip bomb",
        (
            "dataset.path=<folder>/data.zip: entry 'cat.png' unpacks to 1024 MiB: the limit"
            " is 256 MiB a file, remove it."
        ),
        ZIP,
        file("data.zip", zip_bomb()),
    ),
    Case(
        "a zip within a zip",
        (
            "dataset.path=<folder>/data.zip holds no images but 1 other files, first: data.zip: "
            "zip files in it are not read: unpack them into a folder (with a sub-folder per class, "
            "if there are classes)."
        ),
        ZIP,
        file("data.zip", zipped(("data.zip", zipped(("cat.png", PNG))))),
    ),
)

PUBLISHED = (
    Case(
        "labels out of range, as folders",
        (
            "dataset.path=<folder>/data does not have the class folders of mnist: name them"
            " 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 or 0 to 9, or use dataset=folder."
        ),
        MNIST,
        folder("data", pngs(24, ("0", "10"), side=28)),
    ),
    Case(
        "labels out of range, in MNIST's files",
        (
            "<folder>/files/MNIST/raw holds labels 0 to 11 instead of 0 to 9: delete it to "
            "have it downloaded again."
        ),
        FILES,
        mnist_files(np.arange(12)),
    ),
    Case(
        "labels of one more image than there are",
        (
            "<folder>/files/MNIST/raw holds 9 images of shape (1, 28, 28) with 10 labels "
            "instead of MNIST's: delete it to have it downloaded again."
        ),
        FILES,
        mnist_files(np.arange(10), images=9),
    ),
    Case(
        "a class without images",
        ("mnist has no training images of 9: use dataset=folder for a part of its classes"),
        MNIST,
        folder("data", pngs(60, "012345678", side=28)),
    ),
    Case(
        "images of another size",
        (
            "dataset.path=<folder>/data: 20 images are not 28x28 pixels, first: 0/00.png "
            "(32x32): to resize images use dataset=folder."
        ),
        MNIST,
        folder("data", pngs(20, "0123456789", side=32)),
    ),
    Case(
        "another size of digits",
        (
            "dataset.image_size=16 must be 8 for digits: to resize or convert images use "
            "dataset=folder."
        ),
        ("dataset=digits", "dataset.image_size=16"),
    ),
    Case(
        "a size of MNIST that is no number",
        "dataset.image_size=x must be a whole number from 1 to 4096, or null.",
        (*FILES, "dataset.image_size=x"),
    ),
    Case(
        "another number of channels",
        (
            "dataset.channels=3 must be 1 for digits: to resize or convert images use "
            "dataset=folder."
        ),
        ("dataset=digits", "dataset.channels=3"),
    ),
    Case(
        "points that shall be mirrored",
        ("dataset.flip=true: ring8 holds points, which are not mirrored: set it to false."),
        ("dataset=ring8", "dataset.flip=true"),
    ),
)

SIGNALS = ("dataset=signals", "dataset.path={folder}/x.npz", "model=dcgan_small")
WAVES = np.sin(np.arange(40 * 2 * 24.0)).reshape(40, 2, 24).astype(np.float32)


def with_value(value: float, *at: int) -> np.ndarray:
    """The waves with a value at these signals, in the second channel."""
    x = WAVES.copy()
    x[list(at), 1, 3] = value
    return x


OF_ONES_OWN = (
    Case(
        "no path",
        "dataset.path=null: set it to an .npz file with x, an array (N, C, L) of signals",
        ("dataset=signals", "model=dcgan_small"),
    ),
    Case(
        "a path that does not exist",
        "dataset.path=<folder>/x.npz: there is no such file, give an .npz file with x",
        SIGNALS,
    ),
    Case(
        "a file that is no .npz",
        "dataset.path=<folder>/x.npz is not a whole file of plain arrays (File is not a zip file): "
        "give signals equal lengths, and write them again with numpy.savez",
        SIGNALS,
        file("x.npz", b"1,2,3"),
    ),
    Case(
        "signals of unequal length",
        "dataset.path=<folder>/x.npz is not a whole file of plain arrays (it holds Python objects, "
        "as signals of unequal length become): give signals equal lengths, and write them again "
        "with numpy.savez",
        SIGNALS,
        npz("x.npz", x=np.array([[list(range(9))], [list(range(8))]], dtype=object)),
    ),
    Case(
        "no array named x",
        "dataset.path=<folder>/x.npz holds ['signals'], but no x: name the array of signals x",
        SIGNALS,
        npz("x.npz", signals=WAVES),
    ),
    Case(
        "signals without an axis for channels",
        "dataset.path=<folder>/x.npz holds x of shape (40, 24): give signals as (N, C, L) (add an "
        "axis for a single channel: x[:, None])",
        SIGNALS,
        npz("x.npz", x=WAVES[:, 0]),
    ),
    Case(
        "an array of rank 4",
        "dataset.path=<folder>/x.npz holds x of shape (40, 2, 24, 1): give signals as (N, C, L)",
        SIGNALS,
        npz("x.npz", x=WAVES[..., None]),
    ),
    Case(
        "signals of whole numbers",
        "dataset.path=<folder>/x.npz holds x of int64 values: save signals as float32",
        SIGNALS,
        npz("x.npz", x=WAVES.astype(np.int64)),
    ),
    Case(
        "a single signal",
        "dataset.path=<folder>/x.npz holds 1 signals: at least two are needed, one to train on and "
        "one to hold out",
        SIGNALS,
        npz("x.npz", x=WAVES[:1]),
    ),
    Case(
        "signals of seven values",
        "dataset.path=<folder>/x.npz holds signals of shape (2, 7): give at least one channel and "
        "8 values in each",
        SIGNALS,
        npz("x.npz", x=WAVES[..., :7]),
    ),
    Case(
        "signals with gaps",
        "dataset.path=<folder>/x.npz has 2 of 40 signals with gaps (NaN or infinite values), "
        "first: 5: fill them or leave these signals out",
        SIGNALS,
        npz("x.npz", x=with_value(np.nan, 5, 9)),
    ),
    Case(
        "an infinite value",
        "dataset.path=<folder>/x.npz has 1 of 40 signals with gaps (NaN or infinite values), "
        "first: 3: fill them or leave these signals out",
        SIGNALS,
        npz("x.npz", x=with_value(np.inf, 3)),
    ),
    Case(
        "a constant channel",
        "dataset.path=<folder>/x.npz has 1 constant channels, first: 1, which is 2 in every "
        "signal: leave them out",
        SIGNALS,
        npz("x.npz", x=np.stack([WAVES[:, 0], np.full((40, 24), 2.0, np.float32)], 1)),
    ),
    Case(
        "a channel whose range is not finite",
        "dataset.path=<folder>/x.npz has 1 channels that cannot be scaled to [-1, 1] in finite "
        "numbers, first: 1, whose values are from -1e+308 to 1e+308: scale the signals or leave "
        "out those that are far off",
        SIGNALS,
        npz("x.npz", x=np.stack([WAVES[:, 0], 1e308 * (-1.0) ** np.indices((40, 24))[1]], 1)),
    ),
    Case(
        "an augmentation for signals",
        "data_shape must be (C, H, W) for an augmentation, which transforms images, got (2, 24): "
        "leave model.build.augmentation out",
        (*SIGNALS[:2], "model=edm_augment_small"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "labels of fewer signals",
        "dataset.path=<folder>/x.npz holds 40 signals and y of shape (39,): give one label per "
        "signal, (40,)",
        SIGNALS,
        npz("x.npz", x=WAVES, y=np.arange(39)),
    ),
    Case(
        "labels that are no whole numbers",
        "dataset.path=<folder>/x.npz holds y of float64 values: save labels as whole numbers",
        SIGNALS,
        npz("x.npz", x=WAVES, y=np.zeros(40)),
    ),
    Case(
        "signals that shall be mirrored",
        "dataset.flip=true: signals holds signals, which are not mirrored: set it to false",
        (*SIGNALS, "dataset.flip=true"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "an extractor of images",
        "evaluator.extractor=inception sees images, but signals has signals: set "
        "evaluator.extractor=patches",
        (*SIGNALS, "evaluator.extractor=inception"),
        npz("x.npz", x=WAVES, y=np.zeros(40, int)),
    ),
    Case(
        "unlabelled signals, for the domain extractor",
        "signals has no class labels, so it has no domain classifier: choose "
        "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0",
        (*SIGNALS, "evaluator.extractor=domain"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "unlabelled signals, for a class-conditional model",
        "a conditional diffusion model needs class labels, and this data has none: choose an "
        "unconditional model, or give labels: of images one sub-folder per class, of signals y",
        ("dataset=signals", "dataset.path={folder}/x.npz", "model=cond_ddpm_small"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "a network for images",
        "data_shape must be (C, H, W) with H and W at least 8, since the networks halve them, got "
        "(2, 24): choose another model, or larger images",
        ("dataset=signals", "dataset.path={folder}/x.npz", "model=r3gan_small"),
        npz("x.npz", x=WAVES),
    ),
)

AREAS = {
    "Data: signals": OF_ONES_OWN,
    "Data: folders": FOLDERS,
    "Data: formats and labels": FORMATS,
    "Data: images": IMAGES,
    "Data: zips": ZIPS,
    "Data: published sets": PUBLISHED,
}
