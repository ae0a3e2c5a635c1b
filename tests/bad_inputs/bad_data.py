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
    Case("no path", "", ("dataset=folder",)),
    Case("a path that does not exist", "", DATA),
    Case("an empty folder", "", DATA, folder("data", {})),
    Case("a folder without images", "", DATA, folder("data", {"notes.txt": b"cats"})),
    Case("a single image", "", DATA, folder("data", pngs(1))),
    Case("five images to train on", "", DATA, folder("data", pngs(6))),
    Case("one class only, for the domain extractor", "", (*DATA, "evaluator.extractor=domain"), folder("data", pngs(12, ["cat"]))),
    Case("a class folder without images", "", DATA, folder("data", PETS | {"emu": None})),
    Case("a class in test/ only", "", DATA, folder("data", {"train/cat/0.png": PNG, "train/dog/0.png": PNG, "test/emu/0.png": PNG})),
    Case("classes in train/ and none in test/", "", DATA, folder("data", {"train/cat/0.png": PNG, "train/dog/0.png": PNG, "test/0.png": PNG})),
    Case("a folder beside train/ and test/", "", DATA, folder("data", {"train/0.png": PNG, "test/0.png": PNG, "more/0.png": PNG})),
    Case("an image beside class folders", "", DATA, folder("data", PETS | {"stray.png": PNG})),
    Case("images of several sizes, to be kept", "", AS_IS, folder("data", PETS | {"cat/wide.png": encoded(Image.new("RGB", (9, 8)))})),
    Case("images that are all the same", "", DATA, folder("data", dict.fromkeys(pngs(24, ("cat", "dog")), PNG))),
    Case("images smaller than a pixel", "", (*DATA, "dataset.image_size=0"), folder("data", PETS)),
    Case("images of two channels", "", (*DATA, "dataset.channels=2"), folder("data", PETS)),
)

IMAGES = (
    Case("a PNG that is damaged in the middle", "", DATA, folder("data", PETS | {"cat/bad.png": PNG[:60] + b"\0" + PNG[61:]})),
    Case("a JPEG that is cut short", "", DATA, folder("data", PETS | {"cat/bad.jpg": encoded(picture(side=64), "JPEG")[:1500]})),
    Case("text that is called .png", "", DATA, folder("data", PETS | {"cat/bad.png": b"cat"})),
    Case("an empty file", "", DATA, folder("data", PETS | {"cat/bad.png": b""})),
    Case("no image that can be read", "", AS_IS, folder("data", dict.fromkeys(PETS, b"cat"))),
    Case("an animated GIF", "", DATA, folder("data", PETS | {"cat/bad.gif": encoded(picture(), "GIF", save_all=True, append_images=[picture(1), picture(2)])})),
    Case("a TIFF of 32-bit floats", "", DATA, folder("data", PETS | {"cat/bad.tif": encoded(Image.new("F", (8, 8)), "TIFF")})),
    Case("a PNG of 32-bit integers", "", DATA, folder("data", PETS | {"cat/bad.tif": encoded(Image.new("I", (8, 8), 1 << 20), "TIFF")})),
    Case("a picture too large to unpack", "", DATA, folder("data", PETS | {"cat/bad.ppm": b"P6 40000 40000 255\n"})),
)

ZIPS = (
    Case("a zip that is cut short", "", ZIP, file("data.zip", zipped(("cat.png", PNG), ("dog.png", PNG))[:-40])),
    Case("text that is called .zip", "", ZIP, file("data.zip", b"cat")),
    Case("a zip with `../`", "", ZIP, file("data.zip", zipped(("../../cat.png", PNG)))),
    Case("a zip with a password", "", ZIP, file("data.zip", encrypted_zip())),
    Case("a zip with an entry twice", "", ZIP, file("data.zip", zipped(("cat.png", PNG), ("./cat.png", PNG)))),
    Case("a zip bomb", "", ZIP, file("data.zip", zip_bomb())),
    Case("a zip within a zip", "", ZIP, file("data.zip", zipped(("data.zip", zipped(("cat.png", PNG)))))),
)

PUBLISHED = (
    Case("labels out of range, as folders", "", MNIST, folder("data", pngs(24, ("0", "10"), side=28))),
    Case("labels out of range, in MNIST's files", "", FILES, mnist_files(np.arange(12))),
    Case("labels of one more image than there are", "", FILES, mnist_files(np.arange(10), images=9)),
    Case("MNIST's files cut short", "", FILES, mnist_files(np.arange(0), images=10)),
    Case("a class without images", "", MNIST, folder("data", pngs(60, "012345678", side=28))),
    Case("images of another size", "", MNIST, folder("data", pngs(20, "0123456789", side=32))),
    Case("another size of digits", "", ("dataset=digits", "dataset.image_size=16")),
    Case("another number of channels", "", ("dataset=digits", "dataset.channels=3")),
    Case("points that shall be mirrored", "", ("dataset=ring8", "dataset.flip=true")),
)

AREAS = {
    "Data: folders": FOLDERS,
    "Data: images": IMAGES,
    "Data: zips": ZIPS,
    "Data: published sets": PUBLISHED,
}
