"""`python -m bench.cache`: place and size of decoded data and features, and their removal."""

import argparse
import ast
import json
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.data.cache_root import NAMES, default_cache_root
from bench.errors import nearest_of
from bench.runtime.atomic_files import building, remove, under_construction
from bench.runtime.interrupts import said_in_one_line
from bench.runtime.printing import printable, replace_what_cannot_be_shown, words

DECODED, FEATURES, CLASSIFIERS = "decoded data", "features and distances", "classifiers"
_ENTRY = re.compile(r"[0-9a-f]{24}")
_ENTRY_FILE = re.compile(r"meta\.json|(train|test)_(images|labels)\.npy")
_FEATURES_FILE = re.compile(r"[0-9a-f]{24}\.safetensors")
_CLASSIFIER_FILE = re.compile(r".+-(?P<hash>[0-9a-f]+)-[0-9a-f]{8}\.safetensors")
_HASH = re.compile(r"[0-9a-f]{16}")
_LOCK_FILE = re.compile(r"patches-[0-9a-f]+\.lock")
_MIB = 1 << 20
_DAY_SECONDS = 86400
_MAX_HEADER = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file of the cache, or a folder of one decoded data set.

    Attributes:
        path: where it is.
        kind: `DECODED`, `FEATURES` or `CLASSIFIERS`.
        dataset: name of the data set that it was made for.
        size: bytes.
        used: when it was last read or written, in seconds since 1970; file systems record this to
            the day.
    """

    path: Path
    kind: str
    dataset: str
    size: int
    used: float


def entries(root: Path) -> list[Entry]:
    """Everything in the cache that bench made; links and files of others are left out.

    Args:
        root: the cache, no link.
    """
    found = []
    for path in _inside(root):
        if _ENTRY.fullmatch(path.name) and _is_decoded(path):
            files = list(_inside(path))
            found.append(_entry(root, path, DECODED, _hash_of_data(path / "meta.json"), files))
    for path in _inside(root / "features"):
        if _FEATURES_FILE.fullmatch(path.name) and path.is_file():
            found.append(_entry(root, path, FEATURES, _hash_of_features(root, path), [path]))
    for path in _inside(root / "classifiers"):
        if (match := _CLASSIFIER_FILE.fullmatch(path.name)) and path.is_file():
            found.append(_entry(root, path, CLASSIFIERS, match["hash"], [path]))
    return found


def _inside(folder: Path) -> Iterator[Path]:
    """What lies in a folder, without links; nothing if it is a link itself or does not exist."""
    if folder.is_symlink():
        return
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from (path for path in sorted(folder.iterdir()) if not path.is_symlink())


def _is_decoded(folder: Path) -> bool:
    """Whether a folder holds the files of a decoded data set and nothing else."""
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    return "meta.json" in names and all(map(_ENTRY_FILE.fullmatch, names))


def _entry(root: Path, path: Path, kind: str, data_hash: str, files: Sequence[Path]) -> Entry:
    stats = [file.stat() for file in files if file.name != "meta.json"] or [path.stat()]
    used = max(max(stat.st_atime, stat.st_mtime) for stat in stats)
    name = _read(root / NAMES / data_hash, 1000).decode(errors="replace") if data_hash else ""
    dataset = name or (f"data {data_hash}" if data_hash else "unknown data")
    return Entry(path, kind, dataset, sum(file.stat().st_size for file in files), used)


def _hash_of_data(meta: Path) -> str:
    try:
        return _checked(json.loads(_read(meta, _MAX_HEADER))["hash"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _hash_of_features(root: Path, file: Path) -> str:
    """The data's hash in the key of a file of features; empty if it is damaged."""
    content = _read(file, _MAX_HEADER)
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    try:
        key = ast.literal_eval(json.loads(header)["__metadata__"]["key"])
        hashes = [_checked(part) for part in key if isinstance(part, str)]
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ""
    named = [each for each in hashes if each and (root / NAMES / each).is_file()]
    return next(iter(named or filter(None, hashes)), "")


def _checked(data_hash: object) -> str:
    """A hash of data, which can name a file; anything else is empty."""
    return data_hash if isinstance(data_hash, str) and _HASH.fullmatch(data_hash) else ""


def _read(file: Path, size: int) -> bytes:
    """The first bytes of a file, without recording that it was read; none if that fails."""
    for flag in (getattr(os, "O_NOATIME", 0), 0):  # the first is for the owner only
        with suppress(OSError), open(os.open(file, os.O_RDONLY | flag), "rb") as opened:
            return opened.read(size)
    return b""


def summary(root: Path, found: Sequence[Entry]) -> str:
    """Place and size of the cache, and its parts by data set and kind."""
    if not found:
        return f"{root} holds nothing yet: the first run fills it"
    groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in found:
        groups[entry.dataset, entry.kind].append(entry)
    rows = [("data set", "kind", "entries", "MiB", "last used")]
    for (dataset, kind), group in sorted(groups.items()):
        used = datetime.fromtimestamp(max(entry.used for entry in group)).date().isoformat()
        rows.append((printable(dataset), kind, str(len(group)), _mib(group), used))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned: tuple[Callable[[str, int], str], ...] = (str.ljust, str.ljust, str.rjust, str.rjust)
    lines = [
        "  ".join([*(a(t, w) for a, t, w in zip(aligned, row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    remedy = "python -m bench.cache --clear [DATASET …] removes it; runs make what they need again"
    return "\n".join((f"{root}: {_mib(found)} MiB", *lines, remedy))


def _mib(found: Sequence[Entry]) -> str:
    return f"{sum(entry.size for entry in found) / _MIB:,.1f}"


def chosen(found: Sequence[Entry], names: Sequence[str], days: float | None) -> list[Entry]:
    """The entries of some data sets, not used for some days.

    Args:
        found: all entries.
        names: the data sets; none for all.
        days: least number of days since the last use; None for any.

    Raises:
        ValueError: nothing is cached under a name, or the days are negative.
    """
    known = sorted({entry.dataset for entry in found})
    for name in names:
        if name not in known:
            remedy = nearest_of(name, known) if known else "the cache is empty"
            raise ValueError(f"--clear {name} names no cached data set: {remedy}")
    if days is not None and not days >= 0:
        raise ValueError(f"--older-than must not be negative, got {days:g}")
    before = time.time() - (days or 0) * _DAY_SECONDS if days is not None else float("inf")
    return [e for e in found if (not names or e.dataset in names) and e.used <= before]


def clear(root: Path, found: Sequence[Entry]) -> str:
    """Remove entries; each disappears as a whole. Returns what was removed, in words.

    Raises:
        ValueError: a process is filling the cache; nothing is removed.
        OSError: an entry cannot be removed.
    """
    folders = [root, *(path for path in _inside(root) if path.name in ("features", "classifiers"))]
    locks = [lock for folder in folders for lock in under_construction(folder)]
    if locks:
        raise ValueError(
            f"{root} is being filled by another process ({locks[0].name} is locked): give the "
            "command again when it is done, nothing was removed"
        )
    for entry in found:
        try:
            with building(entry.path) as partial:  # renamed first: no reader sees a part of it
                os.replace(entry.path, partial)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise OSError(
                f"{entry.path} cannot be removed ({error.strerror}): have its owner remove it, or "
                "name another cache with --cache-root"
            ) from error
    if not entries(root):
        for path in (*_inside(root / NAMES), *_inside(root / "features")):
            if path.parent.name == NAMES or _LOCK_FILE.fullmatch(path.name):
                remove(path)
    kinds = {kind: sum(e.kind == kind for e in found) for kind in sorted({e.kind for e in found})}
    parts = ", ".join(f"{kind}: {count}" for kind, count in kinds.items())
    return f"removed {_mib(found)} MiB from {root} ({parts or 'nothing matched'})"


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m bench.cache`."""
    made = argparse.ArgumentParser(
        prog="python -m bench.cache",
        description="Show where decoded data and reference features are kept and how large they "
        "are, or remove them. Results are not kept there.",
    )
    made.add_argument(
        "--clear",
        nargs="*",
        metavar="DATASET",
        help="remove what is cached, of all data sets or of those named",
    )
    made.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="with --clear: only what was not used for this number of days",
    )
    made.add_argument(
        "--cache-root",
        type=Path,
        help="the cache (default: $BENCH_CACHE, else ~/.cache/gan-vs-diffusion)",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Show or clear the cache.

    Returns:
        The exit code: 2, after one sentence on standard error, if nothing can be done.
    """
    options = parser().parse_args(arguments)
    replace_what_cannot_be_shown()
    root = (options.cache_root or default_cache_root()).resolve()  # that may be a link, no other
    try:
        if options.older_than is not None and options.clear is None:
            raise ValueError("--older-than says what to remove: give --clear, too")
        found = entries(root)
        if options.clear is None:
            said = summary(root, found)
        else:
            said = clear(root, chosen(found, options.clear, options.older_than))
    except (ValueError, OSError) as error:
        print(f"bench.cache: {printable(str(error))}", file=sys.stderr)
        return 2
    with words():
        print(said)
    return 0


if __name__ == "__main__":
    with said_in_one_line("bench.cache", "give the same command again"):
        sys.exit(main(sys.argv[1:]))
