"""Bad data sets: folders, zips and published files that are not what they should be."""

import numpy as np
from bad_case import Case
from bad_files import (
    PETS,
    encoded,
    encrypted_zip,
    file,
    folder,
    mnist_files,
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
            "evaluator.extractor=patches or evaluator.extractor=efficientnet-lite0"
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
            "dataset.path=<folder>/data has class folders in train/ but none in test/: sort"
            " both into classes or neither."
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
        "dataset.image_size=0 must be at least 1, or null.",
        (*DATA, "dataset.image_size=0"),
        folder("data", PETS),
    ),
    Case(
        "images of two channels",
        "dataset.channels=2 must be 1 (grey) or 3 (RGB).",
        (*DATA, "dataset.channels=2"),
        folder("data", PETS),
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
        "a picture too large to unpack",
        (
            "dataset.path=<folder>/data: 1 images cannot be read, first: cat/bad.ppm (Image"
            " size (1600000000 pixels) exceeds limit of 178956970 pixels, could be "
            "decompression bomb DOS attack.): replace or remove them."
        ),
        DATA,
        folder("data", PETS | {"cat/bad.ppm": b"P6 40000 40000 255\n"}),
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
            "dataset.path=<folder>/data.zip holds no images: give a folder or zip of .png, "
            ".jpg, .jpeg, .bmp, .gif, .tif, .tiff, .webp, .ppm, .pgm files."
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

AREAS = {
    "Data: folders": FOLDERS,
    "Data: images": IMAGES,
    "Data: zips": ZIPS,
    "Data: published sets": PUBLISHED,
}
