"""Advice on unsupported files that may contain images: archives, tables, databases."""

import re
from collections.abc import Sequence

_SORTED = "a folder (with a sub-folder per class, if there are classes)"
_REMEDIES = {
    re.compile(r"\.(tar|tgz|tbz2|txz)$|\.tar\.\w+$"): (
        f"tar archives (webdataset) are not read: unpack them into {_SORTED}"
    ),
    re.compile(r"\.(parquet|arrow|feather)$"): (
        f"tables of images are not read: write each row's image bytes to a file in {_SORTED}"
    ),
    re.compile(r"\.l?mdb$"): (
        f"LMDB databases are not read: write each value's image to a file in {_SORTED}"
    ),
    re.compile(r"\.tfrecords?\b"): (
        f"TFRecords are not read: write each record's image to a file in {_SORTED}"
    ),
    re.compile(r"\.(h5|hdf5|mat|npy|npz|pkl|pickle|pt|pth)$"): (
        f"arrays are not read as data sets: save each image as a PNG in {_SORTED}"
    ),
    re.compile(r"\.(jfif|jpe|jif)$"): "JPEGs of this name are not read: rename them to .jpg",
    re.compile(r"\.(heic|heif|avif|jxl|jp2|cr2|nef|arw|dng|dcm|psd|svg|tga|exr|hdr|pnm|pbm)$"): (
        f"pictures of these formats are not read: save them as PNG in {_SORTED}"
    ),
    re.compile(r"-ubyte(\.gz)?$"): (
        "IDX files (MNIST) are not read as a folder: set data_root to the folder of MNIST/raw/ "
        f"and dataset=mnist or fashion_mnist, or save each image as a PNG in {_SORTED}"
    ),
    re.compile(r"\.zip$"): f"zip files in it are not read: unpack them into {_SORTED}",
    re.compile(r"\.(rar|7z|gz|bz2|xz|zst)$"): (
        f"of archives only zip files are read: unpack it into {_SORTED}"
    ),
}


def remedy(name: str) -> str | None:
    """How to convert a file that may contain images, by its name; None for other files."""
    return next((said for kind, said in _REMEDIES.items() if kind.search(name.lower())), None)


def packed(names: Sequence[str]) -> list[tuple[list[str], str]]:
    """Files that may contain images, grouped by kind, with the advice for each kind."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        said = remedy(name)
        if said is not None:
            kinds.setdefault(said, []).append(name)
    return [(inside, said) for said, inside in kinds.items()]
