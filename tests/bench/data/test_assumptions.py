"""Assumptions about images in folders: copies, shape, channels, mirroring; all are reported."""

import csv
import logging

import hydra
import numpy as np
import pytest
import torch
from image_folders import load, noise, pictures, png, write
from PIL import Image

from bench.data.batches import BatchStream
from bench.data.dataset import Dataset
from bench.data.pixels import to_uint8
from bench.data.sources import load_digits
from bench.evaluation.extractors.registry import build_extractor
from bench.evaluation.metrics.fid import frechet_distance, statistics
from bench.run import run

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
