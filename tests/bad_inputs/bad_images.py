"""Bad data sets: damaged images and zips, and other data than published."""

import numpy as np
from bad_case import AS_IS, DATA, Case
from bad_files import (
    PETS,
    PNG,
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

ZIP = ("dataset=folder", "dataset.path={folder}/data.zip")
MNIST = ("dataset=mnist", "dataset.path={folder}/data")
FILES = ("dataset=mnist", "data_root={folder}/files")


def sixteen(value: int) -> Image.Image:
    """16-bit grey."""
    return Image.fromarray(np.full((8, 8), value, np.uint16))


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

AREAS = {"Data: images": IMAGES, "Data: zips": ZIPS, "Data: published sets": PUBLISHED}
