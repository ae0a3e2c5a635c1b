"""Owns what the folders of a tree mean: train and test splits, classes, and what is refused."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.holdout import hold_out
from bench.data.tree import Tree

_LOGGER = logging.getLogger(__name__)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_SPLITS = (["train"], ["test", "train"], ["train", "val"])
_HELD_OUT_SHARE = 0.1

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
    """Both splits, and the class names by label, sorted; () for unlabelled data."""

    train: Part
    test: Part
    classes: tuple[str, ...]


def arrange(tree: Tree) -> Layout:
    """Read splits and classes off the folder names.

    Accepted is [train/ and, if any, test/ or val/][<class>/]image. Folders around everything, as
    zip programs add them, do not count; a single class is unlabelled data. Without a test split,
    10 % of each class is held out by a hash of the file names (`hold_out`): renaming or adding
    files changes the choice, their order or packing does not.

    Raises:
        ValueError: there are no images, or the folders fit no accepted layout.
    """
    images = image_names(tree)
    prefix = _wrapper(images, tree.folders)
    files = [_cut(name, prefix) for name in images]
    folders = [_cut(name, prefix) for name in tree.folders if name.startswith(prefix)]

    splits = {parts[0].lower(): parts[0] for parts in files if len(parts) > 1 and _is_split(parts)}
    if not splits:
        return _hold_out(tree.path, prefix, files, _classes(tree.path, "", files, folders))
    tops = sorted({parts[0] if len(parts) > 1 else "." for parts in files})
    empty = sorted({parts[0] for parts in folders if _is_split(parts)} - set(tops))
    if sorted(top.lower() for top in tops) not in _SPLITS or empty:
        raise ValueError(
            f"dataset.path={tree.path} has images in {', '.join(tops)}"
            + (f" and none in {', '.join(empty)}" if empty else "")
            + ": beside train/ there may be either test/ or val/, with images, and nothing else."
        )

    by_split = {top: [parts for parts in files if parts[0] == top] for top in tops}
    names = {
        top: _classes(
            tree.path,
            f"{top}/",
            [parts[1:] for parts in by_split[top]],
            [parts[1:] for parts in folders if parts[0] == top and len(parts) > 1],
        )
        for top in tops
    }
    train = splits.pop("train")
    if not splits:
        return _hold_out(tree.path, f"{prefix}{train}/", [p[1:] for p in files], names[train])
    (test,) = splits.values()
    _check_same_classes(tree.path, train, names[train], test, names[test])
    classes = names[train]
    return Layout(
        _part(f"{prefix}{train}/", [parts[1:] for parts in by_split[train]], classes),
        _part(f"{prefix}{test}/", [parts[1:] for parts in by_split[test]], classes),
        classes if len(classes) > 1 else (),
    )


def image_names(tree: Tree) -> list[str]:
    """Names of all images in the tree, sorted; other files are reported and left out.

    Raises:
        ValueError: there are no images.
    """
    images = [name for name in tree.files if name.lower().endswith(_SUFFIXES)]
    if not images:
        raise ValueError(
            f"{tree} holds no images: give a folder or zip of {', '.join(_SUFFIXES)} files."
        )
    others = sorted(set(tree.files) - set(images))
    if others:
        _LOGGER.info(
            "%s: ignored %d files that are not images, first: %s",
            tree,
            len(others),
            others[0],
        )
    return images


def _wrapper(images: Sequence[str], folders: Sequence[str]) -> str:
    """Return the prefix, "" or ending in "/", of the folders that hold everything else."""
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


def _classes(
    path: Path, where: str, files: Sequence[_Parts], folders: Sequence[_Parts]
) -> tuple[str, ...]:
    """Return the sorted names of the class folders below `where`; () if there are none."""
    in_folder = [parts for parts in files if len(parts) > 1]
    if not in_folder:
        return ()
    if len(in_folder) < len(files):
        loose = next("/".join(parts) for parts in files if len(parts) == 1)
        raise ValueError(
            f"dataset.path={path} mixes class folders such as {where}{in_folder[0][0]}/ with "
            f"{len(files) - len(in_folder)} images outside of any, first: {where}{loose}: move "
            "them into class folders or put all images into one folder."
        )
    classes = sorted({parts[0] for parts in in_folder})
    empty = sorted({parts[0] for parts in folders} - set(classes))
    if empty:
        raise ValueError(
            f"dataset.path={path} has {len(empty)} class folders without images, first: "
            f"{where}{empty[0]}/: remove them or add images."
        )
    return tuple(classes)


def _check_same_classes(
    path: Path, train: str, train_classes: _Parts, test: str, test_classes: _Parts
) -> None:
    if bool(train_classes) != bool(test_classes):
        labelled, other = (train, test) if train_classes else (test, train)
        raise ValueError(
            f"dataset.path={path} has class folders in {labelled}/ but none in {other}/: sort both "
            "into classes or neither."
        )
    unknown = sorted(set(test_classes) - set(train_classes))
    if unknown:
        raise ValueError(
            f"dataset.path={path} has {len(unknown)} classes in {test}/ that {train}/ lacks, "
            f"first: {unknown[0]}: give both the same class folders."
        )


def _part(prefix: str, files: Sequence[_Parts], classes: tuple[str, ...]) -> Part:
    label = {name: i for i, name in enumerate(classes)}
    names = tuple(prefix + "/".join(parts) for parts in files)
    if len(classes) < 2:
        return Part(names, None)
    return Part(names, tuple(label[parts[0]] for parts in files))


def _hold_out(path: Path, prefix: str, files: Sequence[_Parts], classes: tuple[str, ...]) -> Layout:
    if len(files) < 2:
        raise ValueError(
            f"dataset.path={path} holds a single image: at least two are needed, one to train on "
            "and one to hold out."
        )
    everything = _part(prefix, files, classes)
    names = ["/".join(parts) for parts in files]
    mask = hold_out(names, everything.labels, max(1, round(_HELD_OUT_SHARE * len(files))))
    train, test = (
        _part(
            prefix,
            [parts for parts, held in zip(files, mask, strict=True) if held == side],
            classes,
        )
        for side in (False, True)
    )
    return Layout(train, test, classes if len(classes) > 1 else ())
