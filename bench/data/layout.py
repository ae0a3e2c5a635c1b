"""Folder layouts: training and test splits, classes, and layouts that are refused."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.data.archive import Tree
from bench.data.dataset import hold_out
from bench.data.formats import packed
from bench.data.labels import MANIFEST, are_shards, numbered_note, read_manifests, unread_notes

_LOGGER = logging.getLogger(__name__)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_SPLITS = (["train"], ["test", "train"], ["train", "val"])
_HELD_OUT_SHARE = 0.1
_TRAIN_LIKE = re.compile(r"(^|[\W_])train|(train|training)$", re.IGNORECASE)
_TEST_LIKE = re.compile(r"(^|[\W_])(test|val(id|[\W_\d]|$))|(test|testing)$", re.IGNORECASE)
_TRAIN_INSIDE = frozenset({"train", "training"})
_TEST_INSIDE = frozenset({"test", "testing", "val", "valid", "validation"})
_PICTURES = frozenset({"image", "images", "img", "imgs", "jpegimages", "leftimg8bit", "input"})
_PICTURES |= {"inputs"}
_ANNOTATIONS = frozenset({"mask", "masks", "label", "labels", "annotation", "annotations", "gt"})
_ANNOTATIONS |= {"segmentation", "segmentations", "segmentationclass", "segmentationobject"}
_ANNOTATIONS |= {"trimap", "trimaps", "depth", "target", "targets", "groundtruth", "ground_truth"}
_ANNOTATIONS |= {"gtfine", "gtcoarse"}

_Parts = tuple[str, ...]  # a relative path, cut at its slashes


@dataclass(frozen=True)
class Part:
    """The files of one split.

    Attributes:
        names: file names in the tree, sorted.
        labels: one class label per name, or None for unlabelled data.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class Layout:
    """Both splits and the meaning of their labels.

    Attributes:
        train: files to train on.
        test: held-out files.
        classes: class names by label; () for unlabelled data.
        prefix: the folder, "" or ending in "/", below which names are hashed to choose the held-out
            files; None if folders define them.
        notes: sentences on what was assumed or ignored.
    """

    train: Part
    test: Part
    classes: tuple[str, ...]
    prefix: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Classes:
    """Class names in the order of their labels, and the class of every file name."""

    names: tuple[str, ...]
    of: Mapping[str, str]


_NO_CLASSES = _Classes((), {})


def arrange(tree: Tree) -> Layout:
    """Read splits and classes from folder names, and labels from dataset_tool's dataset.json.

    Accepted is [train/ and, if any, test/ or val/][<class>/]image. Folders that enclose everything,
    as zip programs add them, are ignored; a single class means unlabelled data, as do numbered
    shards (`are_shards`). A dataset.json defines the classes of all images in and below its folder
    (`read_manifests`). Without a test split, 10 % of each class is held out by a hash of the file
    names (`hold_out`): renaming or adding files changes the choice, reordering or packing them does
    not.

    Raises:
        ValueError: there are no images, or folders or labels match no accepted layout.
    """
    _check_encoding(tree)
    images, others = _sorted_out(tree)
    labels, label_notes = read_manifests(tree, images)
    notes = [*label_notes, *unread_notes(others)]
    prefix = _wrapper(images, tree.folders)
    files = [_cut(name, prefix) for name in images]
    folders = [_cut(name, prefix) for name in tree.folders if name.startswith(prefix)]

    splits = {parts[0].lower(): parts[0] for parts in files if len(parts) > 1 and _is_split(parts)}
    if not splits:
        classes = _classes(tree, prefix, files, folders, labels, notes)
        return _held_out(tree, prefix, images, classes, notes)
    tops = _split_folders(tree, files, folders)
    by_split = {
        top: _classes(
            tree,
            f"{prefix}{top}/",
            [parts[1:] for parts in files if parts[0] == top],
            [parts[1:] for parts in folders if parts[0] == top and len(parts) > 1],
            labels,
            notes,
        )
        for top in tops
    }
    train = splits.pop("train")
    if not splits:
        return _held_out(tree, f"{prefix}{train}/", images, by_split[train], notes)
    (test,) = splits.values()
    _check_same_classes(tree, train, by_split[train].names, test, by_split[test].names)
    names = by_split[train].names
    parts = [
        _part([n for n in images if n.startswith(f"{prefix}{top}/")], _Classes(names, classes.of))
        for top, classes in ((train, by_split[train]), (test, by_split[test]))
    ]
    return Layout(parts[0], parts[1], names if len(names) > 1 else (), notes=tuple(notes))


def keep_copies_together(layout: Layout, hashes: Mapping[str, bytes]) -> Layout:
    """Keep duplicates of an image in one split, and add a note on their number.

    If folders define the split, nothing is moved. Otherwise the held-out images are chosen among
    the first copies, by name, and the other copies follow; without duplicates nothing changes.

    Args:
        layout: both splits.
        hashes: of the decoded pixels, by file name.
    """
    names = (*layout.train.names, *layout.test.names)
    copies = len(names) - len({hashes[name] for name in names})
    if not copies:
        return layout
    said = f"{copies} of {len(names)} images are exact copies of others"
    if layout.prefix is None:
        trained_on = {hashes[name] for name in layout.train.names}
        shared = sum(hashes[name] in trained_on for name in layout.test.names)
        if shared:
            said += (
                f"; {shared} of the {len(layout.test.names)} held-out images are also trained on, "
                "which biases every score: remove them from one side"
            )
        return replace(layout, notes=(*layout.notes, said))
    labels: dict[str, int] = {}
    for part in (layout.train, layout.test):
        labels |= zip(part.names, part.labels or [0] * len(part.names), strict=True)
    firsts: dict[bytes, str] = {}
    for name in sorted(names):
        firsts.setdefault(hashes[name], name)
    if len(firsts) > 1:
        mask = _mask([*firsts.values()], [labels[n] for n in firsts.values()], layout.prefix)
        held = {pixels for pixels, test in zip(firsts, mask, strict=True) if test}
        train, test = (
            Part(
                chosen := tuple(n for n in sorted(names) if (hashes[n] in held) == side),
                tuple(labels[n] for n in chosen) if layout.classes else None,
            )
            for side in (False, True)
        )
        layout = replace(layout, train=train, test=test)
        said += ": all copies of one are either trained on or held out"
    several = sum(labels[name] != labels[firsts[hashes[name]]] for name in names)
    if several:
        said += f"; {several} of them have another class than the first copy"
    return replace(layout, notes=(*layout.notes, said))


def image_names(tree: Tree) -> list[str]:
    """Names of all images in the tree, sorted; other files are reported and ignored.

    Raises:
        ValueError: there are no images.
    """
    images, others = _sorted_out(tree)
    if others:
        _LOGGER.info(
            "%s: ignored %d files that are not images, first: %s", tree, len(others), others[0]
        )
    return images


def _check_encoding(tree: Tree) -> None:
    """Raise ValueError on file names that are not UTF-8: they cannot be hashed or recorded."""
    others = [name for name in tree.files if any("\udc80" <= c <= "\udcff" for c in name)]
    if others:
        first = os.fsencode(others[0]).decode("utf-8", "backslashreplace")
        raise ValueError(
            f"{tree} names {len(others)} files in another encoding than UTF-8, first: {first}: "
            "rename them (convmv does so for a whole folder)."
        )


def _sorted_out(tree: Tree) -> tuple[list[str], list[str]]:
    """Names of images and other files but dataset.json, sorted; ValueError without images."""
    images = [name for name in tree.files if name.lower().endswith(_SUFFIXES)]
    for names, advice in packed(tree.files) if not images else ():
        raise ValueError(
            f"{tree} holds no images but {len(names)} other files, first: {names[0]}: {advice}."
        )
    if not images:
        raise ValueError(
            f"{tree} holds no images: give a folder or zip of {', '.join(_SUFFIXES)} files."
        )
    others = sorted(set(tree.files) - set(images))
    return images, [name for name in others if name.rpartition("/")[2] != MANIFEST]


def _wrapper(images: Sequence[str], folders: Sequence[str]) -> str:
    """Prefix, "" or ending in "/", of the folders that enclose everything."""
    prefix = ""
    while True:
        firsts = {_cut(name, prefix)[0] for name in images if "/" in name[len(prefix) :]}
        siblings = {_cut(name, prefix)[0] for name in folders if name.startswith(prefix)}
        all_inside = all("/" in name[len(prefix) :] for name in images)
        if not all_inside or len(firsts | siblings) != 1 or _is_split(tuple(firsts)):
            return prefix
        prefix += f"{firsts.pop()}/"


def _cut(name: str, prefix: str) -> _Parts:
    return tuple(name[len(prefix) :].split("/"))


def _is_split(parts: _Parts) -> bool:
    return parts[0].lower() in ("train", "test", "val")


def _split_folders(tree: Tree, files: Sequence[_Parts], folders: Sequence[_Parts]) -> list[str]:
    """Names of the folders of splits, sorted.

    Raises:
        ValueError: they are not train/ and at most one of test/ and val/, all with images.
    """
    tops = sorted({parts[0] if len(parts) > 1 else "." for parts in files})
    empty = sorted({parts[0] for parts in folders if _is_split(parts)} - set(tops))
    if sorted(top.lower() for top in tops) not in _SPLITS or empty:
        raise ValueError(
            f"dataset.path={tree.path} has images in {', '.join(tops)}"
            + (f" and none in {', '.join(empty)}" if empty else "")
            + ": beside train/ there may be either test/ or val/, with images, and nothing else."
        )
    return tops


def _classes(
    tree: Tree,
    where: str,
    files: Sequence[_Parts],
    folders: Sequence[_Parts],
    labels: Mapping[str, int | None],
    notes: list[str],
) -> _Classes:
    """Classes of the files below `where`, from dataset.json or else from their folders.

    Appends to notes what is not read as classes.

    Raises:
        ValueError: only some files have a class, or a class has no files.
    """
    names = [where + "/".join(parts) for parts in files]
    in_folder = [parts for parts in files if len(parts) > 1]
    if any(labels.get(name) is not None for name in names):
        return _classes_of_manifest(tree, names, labels)
    if not in_folder:
        return _NO_CLASSES
    if all(name in labels for name in names):
        notes.append(f"{MANIFEST} says that the images have no labels: folders are no classes")
        return _NO_CLASSES
    loose = ["/".join(parts) for parts in files if len(parts) == 1]
    if loose:
        raise ValueError(
            f"dataset.path={tree.path} mixes class folders such as {where}{in_folder[0][0]}/ with "
            f"{len(loose)} images outside of any, first: {where}{loose[0]}: move them into class "
            "folders or put all images into one folder."
        )
    classes = tuple(sorted({parts[0] for parts in in_folder}))
    inside: dict[str, list[str]] = {name: [] for name in classes}
    for parts in in_folder:
        inside[parts[0]].append("/".join(parts[1:]))
    if are_shards(classes, inside):
        notes.append(
            f"the {len(classes)} folders {where}{classes[0]}/ … only split the files by number and "
            "are no classes: without dataset.json the images are unlabelled (if they are classes, "
            "rename them)"
        )
        return _NO_CLASSES
    empty = sorted({parts[0] for parts in folders} - set(classes))
    if empty:
        first = f"{where}{empty[0]}/"
        others = any(name.startswith(first) for name in tree.files)
        raise ValueError(
            f"dataset.path={tree.path} has {len(empty)} class folders without images, first: "
            f"{first}: "
            + (
                "set dataset.path to a folder that holds nothing but class folders."
                if others
                else "remove them or add images."
            )
        )
    _check_no_splits(tree, where, classes)
    _check_no_splits_inside(tree, where, in_folder)
    _check_no_annotations(tree, where, classes)
    notes += numbered_note(where, classes)
    return _Classes(classes, {n: parts[0] for n, parts in zip(names, files, strict=True)})


def _check_no_splits(tree: Tree, where: str, classes: Sequence[str]) -> None:
    """Raise ValueError on class folders that are named like a training and a test split."""
    train = next((name for name in classes if _TRAIN_LIKE.search(name)), None)
    test = next((name for name in classes if _TEST_LIKE.search(name)), None)
    if train is not None and test is not None:
        raise ValueError(
            f"dataset.path={tree.path} has folders {where}{train}/ and {where}{test}/, which are "
            "named like splits, not like classes: name them train/ and test/ (and move others "
            "elsewhere), or rename the classes."
        )


def _check_no_splits_inside(tree: Tree, where: str, files: Sequence[_Parts]) -> None:
    """Raise ValueError on training and test folders inside a class folder."""
    found: dict[_Parts, dict[str, str]] = {}  # by parent folder and lower-case name
    for parts in files:
        for k in range(1, len(parts) - 1):
            found.setdefault(parts[:k], {})[parts[k].lower()] = parts[k]
    for folder, inside in sorted(found.items()):
        train, test = _TRAIN_INSIDE & inside.keys(), _TEST_INSIDE & inside.keys()
        if train and test:
            at = f"{where}{'/'.join(folder)}/"
            raise ValueError(
                f"dataset.path={tree.path} has folders {at}{inside[min(train)]}/ and "
                f"{at}{inside[min(test)]}/, splits inside a class: put the splits outermost, as in "
                f"train/{folder[0]}/ and test/{folder[0]}/."
            )


def _check_no_annotations(tree: Tree, where: str, classes: Sequence[str]) -> None:
    """Raise ValueError on images next to their masks, which are not two classes."""
    pictures = next((name for name in classes if name.lower() in _PICTURES), None)
    masks = next((name for name in classes if name.lower() in _ANNOTATIONS), None)
    if pictures is not None and masks is not None:
        raise ValueError(
            f"dataset.path={tree.path} has folders {where}{pictures}/ and {where}{masks}/, which "
            "are named like images and their annotations, not like classes: move "
            f"{where}{masks}/ elsewhere, or rename the classes."
        )


def _classes_of_manifest(
    tree: Tree, names: Sequence[str], labels: Mapping[str, int | None]
) -> _Classes:
    """Classes named by their numbers; ValueError if only some of the names are labelled."""
    labelled = {name: label for name in names if (label := labels.get(name)) is not None}
    if len(labelled) < len(names):
        lacking = sorted(set(names) - set(labelled))
        raise ValueError(
            f"{tree}: no {MANIFEST} gives {len(lacking)} images a label, first: {lacking[0]}, but "
            "others have one: label all or none."
        )
    numbers = sorted(set(labelled.values()))
    return _Classes(
        tuple(str(number) for number in numbers),
        {name: str(label) for name, label in labelled.items()},
    )


def _check_same_classes(
    tree: Tree, train: str, train_classes: _Parts, test: str, test_classes: _Parts
) -> None:
    if bool(train_classes) != bool(test_classes):
        labelled, other = (train, test) if train_classes else (test, train)
        raise ValueError(
            f"dataset.path={tree.path} has classes in {labelled}/ but none in {other}/: sort both "
            "into classes or neither."
        )
    unknown = sorted(set(test_classes) - set(train_classes))
    if unknown:
        raise ValueError(
            f"dataset.path={tree.path} has {len(unknown)} classes in {test}/ that {train}/ lacks, "
            f"first: {unknown[0]}: give both the same class folders."
        )


def _part(names: Sequence[str], classes: _Classes) -> Part:
    label = {name: i for i, name in enumerate(classes.names)}
    if len(classes.names) < 2:
        return Part(tuple(names), None)
    return Part(tuple(names), tuple(label[classes.of[name]] for name in names))


def _held_out(
    tree: Tree, prefix: str, names: Sequence[str], classes: _Classes, notes: Sequence[str]
) -> Layout:
    if len(names) < 2:
        raise ValueError(
            f"dataset.path={tree.path} holds a single image: at least two are needed, one to train "
            "on and one to hold out."
        )
    mask = _mask(names, _part(names, classes).labels, prefix)
    train, test = (
        _part([name for name, held in zip(names, mask, strict=True) if held == side], classes)
        for side in (False, True)
    )
    shown = classes.names if len(classes.names) > 1 else ()
    return Layout(train, test, shown, prefix, tuple(notes))


def _mask(names: Sequence[str], labels: Sequence[int] | None, prefix: str) -> np.ndarray:
    """Mask of held-out names, (N,) bool."""
    below = [name.removeprefix(prefix) for name in names]
    return hold_out(below, labels, max(1, round(_HELD_OUT_SHARE * len(names))))
