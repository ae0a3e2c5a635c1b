"""Bad samples: damaged, unsuitable or unusual files of other systems."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bad_case import Case
from bad_files import (
    Files,
    array,
    arrays,
    encoded,
    file,
    folder,
    grey,
    picture,
    trapped_array,
    zipped,
)
from PIL import Image

from bench.schema import measured_columns

NPY = ("model=samples", "model.path={folder}/samples.npy")
NPZ = ("model=samples", "model.path={folder}/samples.npz")
TREE = ("model=samples", "model.path={folder}/samples")
PNGS = {f"{i}.png": encoded(picture(i).convert("L")) for i in range(12)}
POINTS = np.random.default_rng(0).uniform(-1, 1, (12, 2)).astype(np.float32)

ARRAYS = (
    Case(
        "no path",
        ("model=samples needs model.path=<a folder or zip of images, an .npz or an .npy file>"),
        ("model=samples",),
    ),
    Case(
        "a path that does not exist",
        ("model.path=<folder>/samples does not exist: give a folder or a zip file of images."),
        TREE,
    ),
    Case(
        "an `.npy` that does not exist",
        (
            "model.path=<folder>/samples.npy: there is no such file, give a folder or zip "
            "of images, an .npz or an .npy"
        ),
        NPY,
    ),
    Case(
        "NaN images",
        ("model.path=<folder>/samples.npy holds float32 values: save images as uint8 in 0..255"),
        NPY,
        array(np.full((12, 8, 8, 1), np.nan, np.float32)),
    ),
    Case(
        "float images in [0, 1]",
        ("model.path=<folder>/samples.npy holds float64 values: save images as uint8 in 0..255"),
        NPY,
        array(grey() / 255),
    ),
    Case(
        "float images out of range",
        ("model.path=<folder>/samples.npy holds float64 values: save images as uint8 in 0..255"),
        NPY,
        array(grey() * 300.0),
    ),
    Case(
        "images of 64-bit integers",
        ("model.path=<folder>/samples.npy holds int64 values: save images as uint8 in 0..255"),
        NPY,
        array(grey().astype(np.int64)),
    ),
    Case(
        "images of another size",
        (
            "model.path=<folder>/samples.npy is of shape (12, 9, 9, 1), the data set needs "
            "(N, 8, 8, 1) or (N, 1, 8, 8) or (N, 8, 8): save samples of that shape (nothing"
            " is resized or converted here, since that changes every score)"
        ),
        NPY,
        array(grey(side=9)),
    ),
    Case(
        "colour images for grey data",
        (
            "model.path=<folder>/samples.npy is of shape (12, 8, 8, 3), the data set needs "
            "(N, 8, 8, 1) or (N, 1, 8, 8) or (N, 8, 8): save samples of that shape (nothing"
            " is resized or converted here, since that changes every score)"
        ),
        NPY,
        array(grey().repeat(3, axis=3)),
    ),
    Case(
        "five images",
        "evaluator.samples=10, but stored-<hash> holds 5: scores need at least 10, add samples",
        NPY,
        array(grey(5)),
    ),
    Case(
        "an image without a list around it",
        (
            "model.path=<folder>/samples.npy is of shape (8, 8, 1), the data set needs (N, "
            "8, 8, 1) or (N, 1, 8, 8) or (N, 8, 8): save samples of that shape (nothing is "
            "resized or converted here, since that changes every score)"
        ),
        NPY,
        array(grey()[0]),
    ),
    Case(
        "no images",
        (
            "model.path=<folder>/samples.npy holds no samples: its shape is (0, 8, 8, 1), "
            "write it again with samples"
        ),
        NPY,
        array(grey(0)),
    ),
    Case(
        "fewer samples than asked for",
        "evaluator.samples=13, but stored-<hash> holds 12: set evaluator.samples=12",
        (*NPY, "evaluator.samples=13"),
        array(grey()),
    ),
    Case(
        "more samples than asked for",
        "evaluator.samples=10, but stored-<hash> holds 12: set evaluator.samples=12, or "
        "model.take=random for a random part of them: the first of a stored list are no fair "
        "sample",
        NPY,
        array(grey()),
    ),
    Case(
        "fewer samples than a random part of them",
        "evaluator.samples=13, but stored-<hash>-random holds 12: set evaluator.samples to at "
        "most 12",
        (*NPY, "evaluator.samples=13", "model.take=random"),
        array(grey()),
    ),
    Case(
        "`model.take=first`",
        "model.take must be random or null, got 'first'",
        (*NPY, "model.take=first"),
        array(grey()),
    ),
    Case(
        "`model.take=10`",
        "model.take must be random or null, got 10",
        (*NPY, "model.take=10"),
        array(grey()),
    ),
    Case(
        "a pickle in an `.npy`, which would create a file",
        (
            "model.path=<folder>/samples.npy is not a whole file of plain arrays (Array "
            "can't be memory-mapped: Python objects in dtype.): write it again with "
            "numpy.savez or numpy.save"
        ),
        NPY,
        trapped_array,
    ),
    Case(
        "an `.npy` that is cut short",
        (
            "model.path=<folder>/samples.npy is not a whole file of plain arrays (mmap "
            "length is greater than file size): write it again with numpy.savez or "
            "numpy.save"
        ),
        NPY,
        lambda root: (
            array(grey())(root),
            (root / "samples.npy").write_bytes((root / "samples.npy").read_bytes()[:-100]),
        ),
    ),
    Case(
        "an `.npz` that is cut short",
        (
            "model.path=<folder>/samples.npz is not a whole file of plain arrays (File is "
            "not a zip file): write it again with numpy.savez or numpy.save"
        ),
        NPZ,
        file("samples.npz", zipped(("arr_0.npy", b"cat"))[:-9]),
    ),
    Case(
        "an `.npz` without images",
        (
            "model.path=<folder>/samples.npz holds 0 arrays of samples of shape (N, 8, 8, "
            "1) or (N, 1, 8, 8) or (N, 8, 8) among ['labels']: name the one to evaluate "
            "arr_0"
        ),
        NPZ,
        arrays(labels=np.arange(12)),
    ),
    Case(
        "an `.npz` of two sets of images",
        (
            "model.path=<folder>/samples.npz holds 2 arrays of samples of shape (N, 8, 8, "
            "1) or (N, 1, 8, 8) or (N, 8, 8) among ['fake', 'real']: name the one to "
            "evaluate arr_0"
        ),
        NPZ,
        arrays(real=grey(), fake=grey()),
    ),
    Case(
        "points for images",
        ("model.path=<folder>/samples.npy holds float32 values: save images as uint8 in 0..255"),
        NPY,
        array(POINTS),
    ),
    Case(
        "images for points",
        "model.path=<folder>/samples.npy holds uint8 values: save points as float32",
        (*NPY, "dataset=ring8"),
        array(grey()),
    ),
    Case(
        "a folder for points",
        (
            "model.path=<folder>/samples: the data set holds points, not images: give an "
            ".npz or .npy file of float32 (N, 2)"
        ),
        (*TREE, "dataset=ring8"),
        folder("samples", PNGS),
    ),
    Case(
        "points that are not finite",
        "model.path=<folder>/samples.npy holds points that are not finite: remove them",
        (*NPY, "dataset=ring8"),
        array(np.full((12, 2), np.nan, np.float32)),
    ),
    Case(
        "points of three dimensions",
        (
            "model.path=<folder>/samples.npy is of shape (12, 3), the data set needs (N, "
            "2): save samples of that shape (nothing is resized or converted here, since "
            "that changes every score)"
        ),
        (*NPY, "dataset=ring8"),
        array(np.zeros((12, 3), np.float32)),
    ),
)

TREES = (
    Case(
        "an empty folder",
        (
            "model.path=<folder>/samples holds no images: give a folder or zip of .png, "
            ".jpg, .jpeg, .bmp, .gif, .tif, .tiff, .webp, .ppm, .pgm files."
        ),
        TREE,
        folder("samples", {}),
    ),
    Case(
        "a folder with one image of another size",
        (
            "model.path=<folder>/samples: 1 images are not 8x8 pixels, first: 9.png (9x9): "
            "save them in that size (resizing changes every score)."
        ),
        TREE,
        folder("samples", PNGS | {"9.png": encoded(picture(side=9))}),
    ),
    Case(
        "a PNG that is damaged in the middle",
        (
            "model.path=<folder>/samples: 1 images cannot be read, first: 9.png (broken "
            "data stream when reading image file): replace or remove them."
        ),
        TREE,
        folder("samples", PNGS | {"9.png": PNGS["9.png"][:50] + b"\0" + PNGS["9.png"][51:]}),
    ),
    Case(
        "text instead of a file of samples",
        (
            "model.path=<folder>/samples is not a whole zip file (File is not a zip file): "
            "give a folder or a zip file of images, or copy the file again if it was cut "
            "short."
        ),
        TREE,
        file("samples", b"cat"),
    ),
)


def shown(run: Path) -> list[int]:
    """The upper left pixel of the first sample, as the run's own picture shows it."""
    (grid,) = (run / "samples").glob("*.png")
    with Image.open(grid) as image:
        return [image.convert("L").getpixel((2, 2))]


def shows(level: int) -> Callable[[Path], None]:
    def check(run: Path) -> None:
        assert shown(run) == [level]

    return check


def scores(run: Path) -> dict[str, str]:
    with (run / "eval.csv").open() as text:
        (row,) = csv.DictReader(text)
    return row


def scored_finitely(run: Path) -> None:
    row = scores(run)
    numbers = {name: float(value) for name in measured_columns(("domain",)) if (value := row[name])}
    assert {"fid_domain", "kid_low_domain", "nn_ratio_domain", "fid_infinity_domain"} <= set(
        numbers
    )
    assert all(map(math.isfinite, numbers.values()))


def scored_as_constant(run: Path) -> None:
    scored_finitely(run)
    row = scores(run)
    for name, value in {"recall": 0, "duplicates": 1, "is": 1}.items():
        assert float(row[f"{name}_domain"]) == value
    assert float(row["modes"]) == 1


def random_part_named(run: Path) -> None:
    row = scores(run)
    assert row["sampler"].startswith("stored-")
    assert row["sampler"].endswith("-random")
    assert (row["samples"], row["seed"]) == ("10", "0")


def kid_subsets_named(run: Path) -> None:
    scored_finitely(run)
    assert "KID (100 subsets of min(1000; n/2))" in scores(run)["metric_backend"]


def copies(image: Image.Image, kind: str = "PNG", suffix: str = "png", **options) -> Files:
    return {f"{i}.{suffix}": encoded(image, kind, **options) for i in range(10)}


def flat(mode: str, colour: int | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (8, 8), colour)


SIXTEEN_BITS = Image.fromarray(np.full((8, 8), 77 * 257 + 100, np.uint16))

ACCEPTED = (
    Case(
        "samples that are all the same",
        "accepted: every score is finite; recall 0, duplicates 1, IS 1, one mode",
        (*NPY, "evaluator.resamples=20"),
        array(np.full((10, 8, 8, 1), 77, np.uint8)),
        check=scored_as_constant,
    ),
    Case(
        "more samples than asked for, with `model.take=random`",
        "accepted: a random part without replacement, chosen by `seed`; the sampler's name ends in "
        "`-random`",
        (*NPY, "model.take=random"),
        array(grey()),
        check=random_part_named,
    ),
    Case(
        "fewer samples than a KID subset of 1000",
        "accepted: subsets of half as many, and the rows say so (`metric_backend`)",
        (*NPY, "evaluator.resamples=20"),
        array(grey(10)),
        check=kid_subsets_named,
    ),
    Case(
        "16-bit PNGs",
        "accepted: divided by 257 and rounded",
        TREE,
        folder("samples", copies(SIXTEEN_BITS)),
        check=shows(77),
    ),
    Case(
        "CMYK JPEGs",
        "accepted: converted to RGB, here on to grey",
        TREE,
        folder("samples", copies(flat("CMYK", (0, 0, 0, 128)), "JPEG", "jpg", quality=100)),
        check=shows(127),
    ),
    Case(
        "palette PNGs",
        "accepted: looked up",
        TREE,
        folder("samples", copies(flat("RGB", (90, 90, 90)).quantize(4))),
        check=shows(90),
    ),
    Case(
        "RGBA PNGs",
        "accepted: laid on white",
        TREE,
        folder("samples", copies(flat("RGBA", (0, 0, 0, 51)))),
        check=shows(204),
    ),
    Case(
        "1-bit PNGs",
        "accepted: black 0, white 255",
        TREE,
        folder("samples", copies(flat("1", 1))),
        check=shows(255),
    ),
    Case(
        "colour PNGs for grey data",
        "accepted: luma of ITU-R 601",
        TREE,
        folder("samples", copies(flat("RGB", (255, 0, 0)))),
        check=shows(76),
    ),
)

AREAS = {
    "Samples: arrays": ARRAYS,
    "Samples: folders": TREES,
    "Samples: odd, but accepted": ACCEPTED,
}
