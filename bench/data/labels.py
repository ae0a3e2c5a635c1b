"""Class labels from dataset.json and folder names; shards are not classes."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from bench.data.archive import UNREADABLE, Tree
from bench.data.formats import packed

MANIFEST = "dataset.json"
"""The file of labels that dataset_tool writes (Karras et al., StyleGAN2-ADA, StyleGAN3 and EDM)."""

_EXAMPLE = '{"labels": [["00000/img00000000.png", 6], …]}'
_NUMBERED = re.compile(r"\D*(\d+)")  # img00001234, 00001234
_SHARD = re.compile(r"(shard|part|chunk|batch)s?[-_ ]?\d+([-_ ]?of[-_ ]?\d+)?", re.IGNORECASE)
_SHARD_DIGITS = 5  # folders of dataset_tool, img2dataset and FFHQ have five
_ONLY_SHARD_DIGITS = 6  # no known class is named 000000, but GTSRB has 00000
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".cls", ".xml", ".xlsx")
_LABEL_WORDS = re.compile(r"label|class|annot|meta|split|attr|target|caption|train|test|val")


def read_manifests(tree: Tree, images: Sequence[str]) -> tuple[dict[str, int | None], list[str]]:
    """Read the labels of every dataset.json; each covers the images in and below its folder.

    Args:
        tree: where the files are.
        images: names of all images.

    Returns:
        The label of every covered image, None where a dataset.json says that there are no labels;
        and sentences on what was ignored.

    Raises:
        ValueError: a dataset.json is damaged, or does not give each of its images one class.
    """
    found: dict[str, int | None] = {}
    notes: list[str] = []
    manifests = [name for name in tree.files if name.rpartition("/")[2] == MANIFEST]
    folders = sorted((m.removesuffix(MANIFEST) for m in manifests), key=len, reverse=True)
    nearest = {name: next((f for f in folders if name.startswith(f)), None) for name in images}
    for folder in folders:
        manifest = folder + MANIFEST
        covered = [name for name in images if nearest[name] == folder]
        labels = _parse(tree, manifest)
        if labels is None:
            found |= dict.fromkeys(covered)
            continue
        lacking = [name for name in covered if name.removeprefix(folder) not in labels]
        if lacking:
            raise ValueError(
                f"{tree}: {manifest} has no label for {len(lacking)} images, first: {lacking[0]}: "
                'give every image one, or set its "labels" to null.'
            )
        found |= {name: labels[name.removeprefix(folder)] for name in covered}
        if len(labels) > len(covered):
            gone = min(labels.keys() - {name.removeprefix(folder) for name in covered})
            notes.append(
                f"{manifest} names {len(labels) - len(covered)} images that are not there, first: "
                f"{gone}"
            )
    return found, notes


def _parse(tree: Tree, manifest: str) -> dict[str, int] | None:
    """Labels by file name relative to the manifest, or None for unlabelled data.

    Raises:
        ValueError: it is not JSON, or not as dataset_tool writes it.
    """
    try:
        content: Any = json.loads(tree.read(manifest))
    except (*UNREADABLE, RecursionError) as error:
        raise ValueError(
            f"{tree}: {manifest} is not JSON ({error}): write {_EXAMPLE}, or remove it."
        ) from error
    if not isinstance(content, dict) or "labels" not in content:
        raise ValueError(
            f'{tree}: {manifest} has no "labels": write {_EXAMPLE}, or rename the file if it says '
            "something else."
        )
    pairs = content["labels"]
    if pairs is None or pairs in ([], {}):  # StyleGAN3 treats an empty list like null
        return None
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    labels: dict[str, int] = {}
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError(
                f"{tree}: {manifest} holds {_short(pair)} where a file name and a label should be: "
                f"write {_EXAMPLE}."
            )
        name, label = pair[0].replace("\\", "/").removeprefix("./"), pair[1]
        if isinstance(label, list | tuple | dict):
            raise ValueError(
                f"{tree}: {manifest} labels {name} by {_short(label)}, not by one class: write its "
                'number, or set "labels" to null.'
            )
        if isinstance(label, bool) or not isinstance(label, int) or label < 0:
            raise ValueError(
                f"{tree}: {manifest} labels {name} by {_short(label)}: labels are whole numbers "
                "from 0."
            )
        if name in labels:
            raise ValueError(f"{tree}: {manifest} labels {name} twice: leave one label.")
        labels[name] = label
    return labels


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 40 else f"{text[:40]}…"


def are_shards(folders: Sequence[str], files: Mapping[str, Sequence[str]]) -> bool:
    """Whether folders are numbered shards of a large set instead of classes.

    Folders called shard-0, part1, chunk_002, batch-3 and so on are. So are those called 000000,
    000001, …, consecutive zero-padded numbers of at least six digits (identities of
    faces, such as 0000045, have gaps), and folders whose names are numbers of at least five digits,
    all of equal length, if the images are numbered across folders: their numbers either begin with
    that of the folder (00012/img00012345.png of dataset_tool, 00012/000120345.jpg of img2dataset),
    or run from it to the next folder's (12000/12345.png of FFHQ). Classes that are called 00000,
    00001, … (GTSRB) number their images independently.

    Args:
        folders: names of the folders that hold all images.
        files: names of the files in each, without the folder's.
    """
    if all(_SHARD.fullmatch(name) for name in folders):
        return True
    width = len(folders[0])
    if not _all_numbered(folders):
        return False
    numbered = sorted(map(int, folders))
    without_gap = all(b - a == 1 for a, b in pairwise(numbered))
    if width >= _ONLY_SHARD_DIGITS and numbered[0] in (0, 1) and without_gap:
        return True
    numbers: dict[str, list[str]] = {}
    for folder in folders:
        matches = [_NUMBERED.fullmatch(PurePosixPath(name).stem) for name in files[folder]]
        numbers[folder] = [match[1] for match in matches if match]
        if len(numbers[folder]) < len(files[folder]):
            return False
    if all(len(n) > width and n.startswith(f) for f, inside in numbers.items() for n in inside):
        return True
    starts = [*numbered, None]
    return max(map(len, numbers.values())) > 1 and all(
        start <= int(number) and (end is None or int(number) < end)
        for folder, (start, end) in zip(sorted(folders), pairwise(starts), strict=True)
        for number in numbers[folder]
        if start is not None
    )


def numbered_note(where: str, classes: Sequence[str]) -> list[str]:
    """Note that folders are read as classes although their names look like shards.

    Args:
        where: their parent folder, "" or ending in "/".
        classes: their names.
    """
    if not _all_numbered(classes):
        return []
    return [
        f"the {len(classes)} numbered folders {where}{classes[0]}/ … are read as classes: if they "
        "only split the files, rename them to shard-0, shard-1, …"
    ]


def _all_numbered(folders: Sequence[str]) -> bool:
    """Whether all names are numbers of equal length, at least that of shards."""
    width = len(folders[0])
    return width >= _SHARD_DIGITS and all(len(f) == width and f.isdecimal() for f in folders)


def unread_notes(others: Sequence[str]) -> list[str]:
    """Notes on files that are ignored, first those that may contain labels.

    Args:
        others: names of all files that are neither images nor a dataset.json.
    """
    said = []
    rest = set(others)
    for names, advice in packed(others):
        said.append(f"{len(names)} files are left out, first: {names[0]}: {advice}")
        rest -= set(names)
    tables = sorted(name for name in rest if _may_say_labels(name))
    plain = sorted(rest - set(tables))
    if tables:
        said.append(
            f"{len(tables)} files that may hold labels or splits are not read, first: {tables[0]}: "
            "classes come from folders named after them or from a dataset.json "
            f"({_EXAMPLE}), splits from folders train/ and test/"
        )
    if plain:
        said.append(f"ignored {len(plain)} files that are not images, first: {plain[0]}")
    return said


def _may_say_labels(name: str) -> bool:
    path = PurePosixPath(name.lower())
    return path.suffix in _TABLES or (
        path.suffix == ".txt" and _LABEL_WORDS.search(path.stem) is not None
    )
