"""The folder of cached data: where it is, and names of the data sets in it."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from bench.runtime.atomic_files import write_atomically

log = logging.getLogger(__name__)

NAMES = "names"
"""Folder in the cache that holds the name of each data set in a file named by the data's hash."""


def default_cache_root() -> Path:
    """Return $BENCH_CACHE, else ~/.cache/gan-vs-diffusion; data folders are never written to."""
    return Path(os.environ.get("BENCH_CACHE") or "~/.cache/gan-vs-diffusion").expanduser()


def announce(root: Path) -> None:
    """Say where the cache is if there is none yet, so that the first run that fills it says so."""
    if not root.exists():
        log.info(
            "  decoded data and features of real data are kept in %s: python -m bench.cache shows "
            "how large it is and clears it",
            root,
        )


def note_name(root: Path, data_hash: str, name: str) -> None:
    """Record the name of a data set, for `bench.cache`; a cache that cannot be written is left."""
    with suppress(OSError, ValueError):
        file = root / NAMES / data_hash
        if not file.is_file() or file.read_text(encoding="utf-8") != name:
            write_atomically(file, name)
