import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import folder
from bench.data.folder import load_folder
from bench.data.sources import load_fashion_mnist, load_mnist


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def tree(root: Path, train: int = 6, test: int = 3, classes: tuple[str, ...] = ("cat", "dog")):
    for split, count in (("train", train), ("test", test)):
        for c, name in enumerate(classes):
            for i in range(count):
                draw(root / split / name / f"{i}.png", seed=100 * c + 10 * (split == "test") + i)
    return root


def pack(root: Path, target: Path, wrapper: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(root.rglob("*"), reverse=True):
            archive.write(path, wrapper + path.relative_to(root).as_posix())
    return target


def load(path: Path, cache: Path | None = None, **options):
    options = {"image_size": None, **options}
    cache_root = cache or Path(f"{path}-cache")
    return load_folder(data_root=path.parent, cache_root=cache_root, path=str(path), **options)


def test_splits_classes_and_pixels(tmp_path):
    data = load(tree(tmp_path / "pets"))
    assert (len(data.train), len(data.test)) == (12, 6)
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6
    expected = np.asarray(Image.open(tmp_path / "pets/train/dog/0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.train.images[6], expected)


def test_folder_and_zip_are_the_same_data(tmp_path):
    root = tree(tmp_path / "pets")
    plain = load(root)
    for wrapper in ("", "pets/", "a/b/"):
        packed = load(pack(root, tmp_path / f"pets{len(wrapper)}.zip", wrapper))
        assert packed.hash == plain.hash
        assert np.array_equal(packed.train.images, plain.train.images)
        assert np.array_equal(packed.test.labels, plain.test.labels)


def test_hash_depends_on_pixels_and_labels(tmp_path):
    root = tree(tmp_path / "pets")
    before = load(root, tmp_path / "cache").hash
    draw(root / "test/dog/0.png", seed=999)
    changed = load(root, tmp_path / "cache").hash
    (root / "train/dog/0.png").rename(root / "train/cat/9.png")
    relabelled = load(root, tmp_path / "cache").hash
    assert len({before, changed, relabelled}) == 3


def test_ten_percent_of_each_class_is_held_out(tmp_path):
    for i in range(40):
        draw(tmp_path / "x" / ("a" if i < 20 else "b") / f"{i}.png", seed=i)
    data = load(tmp_path / "x")
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    assert len(data.train) == 36
    pixels = {image.tobytes() for split in (data.train, data.test) for image in split.images}
    assert len(pixels) == 40
    (tmp_path / "y").mkdir()
    (tmp_path / "x").rename(tmp_path / "y/train")
    assert load(tmp_path / "y").hash == data.hash


def test_unlabelled_images(tmp_path):
    for i in range(5):
        draw(tmp_path / "x" / f"{i}.png", seed=i)
    data = load(tmp_path / "x")
    assert (data.classes, data.num_classes, data.train.labels) == ((), 0, None)
    assert (len(data.train), len(data.test)) == (4, 1)


def test_val_stands_in_for_test(tmp_path):
    root = tree(tmp_path / "x")
    (root / "test").rename(root / "val")
    assert len(load(root).test) == 6


def test_resize_crops_the_centre(tmp_path):
    image = np.zeros((16, 48, 3), np.uint8)
    image[:, 16:32] = 200
    for i in range(2):
        (tmp_path / "x").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "x" / f"{i}.png")
    assert (load(tmp_path / "x", image_size=16).train.images == 200).all()
    small = load(tmp_path / "x", image_size=8, channels=1).train.images
    assert small.shape == (1, 1, 8, 8)
    assert (small == 200).all()


def test_cropping_alone_does_not_resample(tmp_path):
    for i in range(2):
        draw(tmp_path / "x" / f"{i}.png", seed=i, size=(8, 11))
        draw(tmp_path / "y" / f"{i}.png", seed=i, size=(8, 11))
        with Image.open(tmp_path / "y" / f"{i}.png") as image:
            image.crop((0, 1, 8, 9)).save(tmp_path / "y" / f"{i}.png")
    assert load(tmp_path / "x", image_size=8).hash == load(tmp_path / "y").hash


def test_same_size_is_not_resampled(tmp_path):
    root = tree(tmp_path / "x")
    assert load(root, image_size=8).hash == load(root).hash


def save(path: Path, image: Image.Image, **options) -> Path:
    path.parent.mkdir(exist_ok=True)
    image.save(path, **options)
    return path


def pixel(tmp_path: Path, image: Image.Image, suffix: str = "png", **options) -> list[int]:
    channels = options.pop("channels", 3)
    for i in range(2):
        save(tmp_path / "x" / f"{i}.{suffix}", image, **options)
    return load(tmp_path / "x", channels=channels).train.images[0, :, 0, 0].tolist()


def test_sixteen_bit_grey_is_scaled(tmp_path):
    image = Image.fromarray(np.full((4, 4), 257 * 77 + 128, np.uint16))
    assert pixel(tmp_path, image) == [77, 77, 77]
    assert pixel(tmp_path, image, channels=1) == [77]


def test_palette_and_transparency(tmp_path):
    palette = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4)
    assert pixel(tmp_path, palette) == [10, 200, 30]


def test_alpha_is_composited_on_white(tmp_path):
    assert pixel(tmp_path, Image.new("RGBA", (4, 4), (0, 0, 0, 0))) == [255, 255, 255]


def test_cmyk(tmp_path):
    values = pixel(tmp_path, Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "jpg", quality=100)
    assert values[0] < 10
    assert min(values[1:]) > 245


def test_one_bit_and_grey_alpha(tmp_path):
    assert pixel(tmp_path, Image.new("1", (4, 4), 1), channels=1) == [255]


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    assert pixel(tmp_path, image, exif=exif, channels=1) == [200]


def test_cache_hit_does_not_decode(tmp_path, monkeypatch):
    root = tree(tmp_path / "x")
    first = load(root)

    def fail(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder, "decode_into", fail)
    assert load(root).hash == first.hash
    assert isinstance(load(root).train.images, np.memmap)
    with pytest.raises(AssertionError, match="decoded again"):
        load(root, image_size=4)
    assert [p for p in Path(f"{root}-cache").iterdir() if p.name.startswith(".")] == []


def test_processes_that_start_together_agree(tmp_path):
    root = tree(tmp_path / "x", train=30)
    code = (
        "import sys; from pathlib import Path; from bench.data.folder import load_folder\n"
        "path = Path(sys.argv[1])\n"
        "print(load_folder(data_root=path, cache_root=path.parent / 'c', path=str(path)).hash)"
    )
    command = [sys.executable, "-c", code, str(root)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    jobs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    outputs = {job.communicate(timeout=120)[0].strip() for job in jobs}
    assert [job.returncode for job in jobs] == [0, 0]
    assert outputs == {load(root, tmp_path / "c", image_size=32).hash}
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_hidden_and_other_files_are_ignored(tmp_path):
    root = tree(tmp_path / "x")
    before = load(root, tmp_path / "c").hash
    draw(root / "__MACOSX/train/cat/1.png")
    draw(root / "train/.thumbs/1.png")
    (root / "train/cat/.DS_Store").write_bytes(b"")
    (root / "train/cat/notes.txt").write_text("hello")
    data = load(root, tmp_path / "c")
    assert data.hash == before
    assert data.notes == ("ignored 1 files that are not images, first: train/cat/notes.txt",)


def test_published_names_take_a_local_folder(tmp_path):
    for split in ("train", "test"):
        for name in ("bag", "t-shirt"):
            draw(tmp_path / "f" / split / name / "0.png", size=(28, 28), mode="L")
    options = {"data_root": tmp_path, "cache_root": tmp_path / "c"}
    data = load_fashion_mnist(path=str(tmp_path / "f"), **options)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [8, 0]  # the published numbers, not the folders' order
    assert data.num_classes == 10
    with pytest.raises(ValueError, match="does not have the class folders of mnist: name them 0"):
        load_mnist(path=str(tmp_path / "f"), **options)
    draw(tmp_path / "f/test/bag/1.png", size=(32, 28))
    with pytest.raises(
        ValueError, match=r"1 images are not 28x28 .* test/bag/1.png \(32x28\).*dataset=folder"
    ):
        load_fashion_mnist(path=str(tmp_path / "f"), **options)


def refuse(path: Path, sentence: str, **options) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        load(path, **options)
    assert "\n" not in str(error.value)
    cache = Path(f"{path}-cache")
    assert not cache.exists() or list(cache.iterdir()) == []


def test_bad_options(tmp_path):
    refuse(tmp_path, r"channels=4 must be 1 \(grey\), 3 \(RGB\), or null", channels=4)
    refuse(tmp_path, "image_size=0 must be a whole number from 1 to 4096", image_size=0)


def test_not_a_zip_and_truncated_zip(tmp_path):
    (tmp_path / "a.zip").write_text("hello")
    refuse(tmp_path / "a.zip", "is not a whole zip file")
    whole = pack(tree(tmp_path / "x"), tmp_path / "b.zip")
    whole.write_bytes(whole.read_bytes()[:-200])
    refuse(whole, "is not a whole zip file .* cut short")


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "..\\a.png", "C:\\a.png"])
def test_zip_entries_that_escape(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    refuse(tmp_path / "a.zip", "points outside the archive")


def test_zip_bomb_and_duplicates(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1 << 20))
    content = (tmp_path / "a.zip").read_bytes()
    size = struct.pack("<I", 1 << 20)
    (tmp_path / "a.zip").write_bytes(content.replace(size, struct.pack("<I", 1 << 30)))
    refuse(tmp_path / "a.zip", "'a.png' unpacks to 1024 MiB: the limit is 256 MiB")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a.png", b"x")
        archive.writestr("./a.png", b"y")
    refuse(tmp_path / "b.zip", "occurs twice")


def test_damaged_images_are_counted_and_named(tmp_path):
    root = tree(tmp_path / "x")
    (root / "train/cat/1.png").write_text("no image")
    whole = (root / "train/dog/2.png").read_bytes()
    (root / "train/dog/2.png").write_bytes(whole[: len(whole) // 2])
    (root / "test/cat/0.png").write_bytes(b"")
    refuse(root, "3 images cannot be read, first: test/cat/0.png")
    packed = pack(root, tmp_path / "x.zip")
    refuse(packed, "3 images cannot be read, first: test/cat/0.png")


def test_corrupt_zip_member(tmp_path):
    packed = pack(tree(tmp_path / "x"), tmp_path / "x.zip")
    content = bytearray(packed.read_bytes())
    at = content.index(b"IDAT") + 10
    content[at] ^= 0xFF
    packed.write_bytes(content)
    refuse(packed, "1 images cannot be read")


def test_no_readable_image(tmp_path):
    (tmp_path / "x").mkdir()
    for i in range(2):
        (tmp_path / "x" / f"{i}.png").write_text("no")
    refuse(tmp_path / "x", "none of its 2 images can be read")


def test_animated_and_floating_point(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    draw(tmp_path / "x/0.png")
    save(tmp_path / "x/1.gif", frames[0], save_all=True, append_images=frames[1:])
    refuse(tmp_path / "x", r"1 images cannot be read, first: 1.gif \(animated, 2 frames\)")
    (tmp_path / "x/1.gif").unlink()
    save(tmp_path / "x/1.tif", Image.new("F", (8, 8)))
    refuse(tmp_path / "x", "1.tif .floating-point pixels")


def test_no_images_and_a_single_one(tmp_path):
    (tmp_path / "x").mkdir()
    refuse(tmp_path / "x", "holds no images")
    draw(tmp_path / "x/0.png")
    refuse(tmp_path / "x", "holds a single image")


def test_empty_class_folder(tmp_path):
    root = tree(tmp_path / "x")
    (root / "train/emu").mkdir()
    refuse(root, "1 class folders without images, first: train/emu/: remove")
    refuse(pack(root, tmp_path / "x.zip"), "first: train/emu/")
    (root / "train/emu/notes.txt").write_text("")
    refuse(root, "set dataset.path to a folder that holds nothing but class folders")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training", "testing"),  # mnist_png
        ("seg_train", "seg_test"),
        ("train2017", "val2017"),  # COCO
        ("trainA", "testA"),  # CycleGAN
        ("Training set", "Validation set"),
        ("train_images", "valid_images"),
    ],
)
def test_folders_named_like_splits_are_no_classes(tmp_path, train, test):
    # Before: two classes, so that the images to test with were trained on.
    root = tree(tmp_path / "x")
    (root / "train").rename(root / train)
    (root / "test").rename(root / test)
    refuse(root, f"folders {train}/ and {test}/, which are named like splits, not like classes")
    draw(root / "extra/0.png")
    refuse(pack(root, tmp_path / "x.zip", "wrap/"), "named like splits")


@pytest.mark.parametrize("classes", [("train", "car"), ("latest", "oldest"), ("training", "gym")])
def test_classes_may_have_one_such_name(tmp_path, classes):
    for name in classes:
        for i in range(3):
            draw(tmp_path / "x/train" / name / f"{i}.png", seed=i)
            draw(tmp_path / "x/test" / name / f"{i}.png", seed=9 + i)
    assert load(tmp_path / "x").classes == tuple(sorted(classes))


def test_an_empty_folder_of_a_zip_from_windows_is_a_folder(tmp_path):
    names = [f"{c}\\{i}.png" for c in ("cat", "dog") for i in range(3)]
    files = {name: (i, 8) for i, name in enumerate(names)}

    def packed(folders: tuple[str, ...]) -> Path:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in folders:
                archive.writestr(zipfile.ZipInfo(f"{name}\\"), b"")
            for name, (seed, _) in files.items():
                draw(tmp_path / "one.png", seed)
                archive.writestr(zipfile.ZipInfo(name), (tmp_path / "one.png").read_bytes())
        return tmp_path / "x.zip"

    data = load(packed(("cat", "dog")))
    assert (data.classes, data.notes) == (("cat", "dog"), ())
    with pytest.raises(ValueError, match="1 class folders without images, first: emu/: remove"):
        load(packed(("cat", "dog", "emu")))


def test_a_name_that_is_not_utf8_is_said_with_its_remedy(tmp_path):
    root = tree(tmp_path / "x")
    os.rename(root / "train/cat/0.png", os.fsencode(root) + b"/train/cat/caf\xe9.png")
    refuse(root, r"names 1 files in another encoding than UTF-8, first: train/cat/caf.*: rename")


def test_a_folder_that_cannot_be_read_is_not_left_out(tmp_path, monkeypatch):
    """Before: its images were missing without a word where they made no class of their own."""
    root = tree(tmp_path / "x")
    draw(root / "train/cat/more/0.png", 50)
    scandir = os.scandir

    def refused(path: str):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    refuse(root, r"the folder train/cat/more cannot be read \(Permission denied\)")


def test_a_zip_that_cannot_be_read_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "x.zip").touch()

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", refused)
    refuse(tmp_path / "x.zip", r"dataset.path=.*x.zip cannot be read \(Permission denied\)")


def test_a_folder_that_links_bring_in_twice_is_refused(tmp_path):
    """Before: the one that the file system lists first had the images, the other none."""
    root = tree(tmp_path / "x")
    draw(root / "train/cat/more/0.png", 50)
    (root / "train/dog/also").symlink_to(root / "train/cat/more")
    refuse(root, "train/cat/more and train/dog/also are the same folder, by links: leave one")
    (root / "train/dog/also").unlink()
    before = load(root).hash
    (root / "train/cat/more/back").symlink_to(root)  # a loop has nothing that was not read
    assert load(root).hash == before
    (tmp_path / "y/train").mkdir(parents=True)
    for name in ("cat", "dog"):
        (tmp_path / "y/train" / name).symlink_to(root / "train" / name)
    (tmp_path / "y/test").symlink_to(root / "test")
    assert load(tmp_path / "y").hash == before


def test_a_tiff_whose_second_page_is_damaged_is_named(tmp_path):
    """Before: a traceback, as Pillow raises a TypeError where it counts the pages."""
    page = Image.new("RGB", (9, 7))
    save(tmp_path / "x/0.tif", page, save_all=True, append_images=[page])
    content = (tmp_path / "x/0.tif").read_bytes()
    width = struct.pack("<HHII", 256, 4, 1, 9)
    second = content.rindex(width)
    assert second != content.index(width)
    spoiled = content[:second] + struct.pack("<H", 255) + content[second + 2 :]
    (tmp_path / "x/0.tif").write_bytes(spoiled)
    draw(tmp_path / "x/1.png", 1)
    refuse(tmp_path / "x", r"1 images cannot be read, first: 0.tif \(Missing dimensions\)")


def test_a_gif_that_ends_within_an_extension_is_named(tmp_path):
    """Before: a traceback, of Pillow's IndexError."""
    path = save(tmp_path / "x/0.gif", Image.new("P", (9, 7)), transparency=0)
    path.write_bytes(path.read_bytes()[:-1] + b"!")  # "!" begins an extension, ";" ends the file
    draw(tmp_path / "x/1.png", 1)
    refuse(tmp_path / "x", r"1 images cannot be read, first: 0.gif \(index out of range\)")


def test_classes_whose_only_image_is_held_out_are_refused(tmp_path):
    # Before: a classifier was trained first, and the advice was to use dataset=folder.
    for i in range(20):
        draw(tmp_path / "x" / f"{i:02}/0.png", seed=i)
    with pytest.raises(
        ValueError, match=r"2 classes have no image to train on once 2 images are held out, first: "
    ) as error:
        load(tmp_path / "x")
    assert "give each class at least 10 images" in str(error.value)


def test_class_in_test_only(tmp_path):
    root = tree(tmp_path / "x")
    draw(root / "test/emu/0.png")
    refuse(root, "1 classes in test/ that train/ lacks, first: emu")


def test_labelled_train_and_unlabelled_test(tmp_path):
    root = tree(tmp_path / "x")
    shutil.rmtree(root / "test")
    draw(root / "test/0.png")
    refuse(root, "classes in train/ but none in test/")


def test_mixed_layouts(tmp_path):
    root = tree(tmp_path / "x")
    draw(root / "train/loose.png")
    refuse(root, "mixes class folders such as train/cat/ with 1 images .* train/loose.png")
    (root / "train/loose.png").unlink()
    draw(root / "extra/0.png")
    refuse(root, "has images in extra, test, train: beside train/")
    shutil.rmtree(root / "extra")
    shutil.rmtree(root / "train")
    refuse(root, "has images in test: beside train/")
    (root / "test").rename(root / "train")
    (root / "test").mkdir()
    refuse(root, "has images in train and none in test")


def test_mixed_sizes_need_image_size(tmp_path):
    root = tree(tmp_path / "x")
    draw(root / "train/dog/0.png", size=(9, 8))
    refuse(root, r"1 images are not 8x8 pixels, first: train/dog/0.png \(9x8\): set dataset.image")
    assert load(root, image_size=8).shape == (3, 8, 8)
