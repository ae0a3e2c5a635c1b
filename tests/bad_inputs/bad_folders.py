"""Bad data sets: unsuitable folders of images, their formats and labels."""

import json

from bad_case import AS_IS, DATA, Case
from bad_files import PETS, PNG, Files, encoded, file, folder, picture, pngs
from PIL import Image

WIDE = encoded(Image.new("L", (5000, 1)))

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

AREAS = {"Data: folders": FOLDERS, "Data: formats and labels": FORMATS}
