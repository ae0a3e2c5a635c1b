"""Classes of folders of images: what names, dataset.json and other files say, and is reported."""

import json

import pytest
from image_folders import load, noise, packed, pictures, png, write

from bench.data.dataset import Dataset
from bench.data.sources import load_cifar10


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
