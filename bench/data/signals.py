"""Signals, (C, L): speech and electricity demand from the package aeon, and one's own from an .npz.

Signals are stored as float32, each channel scaled to [-1, 1] by its range in the training part
(`bench.data.dataset.Scale`), which `bench.export` undoes.
"""

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data.cache import BROKEN_NPZ, what_is_broken
from bench.data.dataset import Dataset, Scale, Split, content_hash, hold_out
from bench.runtime.memory import available_bytes

INSTALL = "pip install --no-deps aeon==1.6.0"
"""How to get the package. Its dependencies are not needed, because its files are read and it is not
imported; they would replace numba and pandas by older versions."""

MIN_LENGTH = 8
"""Shortest signal that every network supports."""

HELD_OUT_SHARE = 0.1
"""Share of one's own signals that is held out."""

_MIB = 1 << 20


def load_japanese_vowels(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "japanese_vowels",
    flip: bool = False,
) -> Dataset:
    """Load JapaneseVowels (Kudo et al. 1999): 440 utterances to train on, 200 held out, 12x25.

    Twelve cepstral coefficients of the vowels /ae/ by nine male speakers, the classes. It is the
    form of equal length that aeon ships, with every utterance resampled to 25 values.

    Raises:
        ValueError: aeon is not installed, or flip is set.
    """
    del data_root, cache_root, download
    speakers = tuple(f"speaker {k}" for k in range(1, 10))
    return _from_aeon("JapaneseVowels", "JapaneseVowels_eq", speakers, 200, name, flip=flip)


def load_italy_power(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "italy_power",
    flip: bool = False,
) -> Dataset:
    """Load ItalyPowerDemand (Keogh et al. 2006): 696 days to train on, 400 held out, 1x24.

    Electricity demand of Italy by hour; days from October to March and from April to September are
    the classes. Each day was standardised by the archive: mean 0, variance 1.

    Raises:
        ValueError: aeon is not installed, or flip is set.
    """
    del data_root, cache_root, download
    halves = ("October to March", "April to September")
    return _from_aeon("ItalyPowerDemand", "ItalyPowerDemand", halves, 400, name, flip=flip)


def load_signals(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "signals",
    flip: bool = False,
    path: str | None = None,
    check_classes: Callable[[int], None] = lambda classes: None,
) -> Dataset:
    """Load one's own signals: an .npz file with `x` and, if there are classes, `y`.

    x is (N, C, L), floating point; y is (N,), whole numbers or text. A tenth of each class is held
    out, chosen by a hash of the signals' numbers (`hold_out`).

    Args:
        data_root: not used, as `cache_root` and `download`.
        cache_root: see above.
        download: see above.
        name: the data set's name.
        flip: must be false.
        path: the file.
        check_classes: called with the number of classes before signals are scaled.

    Raises:
        ValueError: the file is damaged, or its signals cannot be used.
        FileNotFoundError: there is none.
    """
    del data_root, cache_root, download
    _check_flip(name, flip)
    if path is None:
        raise ValueError(
            "dataset.path=null: set it to an .npz file with x, an array (N, C, L) of signals"
        )
    where = f"dataset.path={path}"
    arrays = _read_npz(Path(path).expanduser(), where)
    x = _checked_signals(arrays["x"], where)
    labels, classes = _classes(arrays.get("y"), len(x), where)
    check_classes(len(classes))
    held_out = max(1, round(HELD_OUT_SHARE * len(x)))
    return _dataset(name, x, labels, classes, held_out, "signal", where=where)


def read_ts(path: Path) -> tuple[np.ndarray, list[str]]:
    """Read a file of the UEA archive's format .ts: signals of equal length, and their classes.

    Lines after @data have a channel's values with commas between, channels and then the class with
    colons between.

    Returns:
        (N, C, L) float64 and N names of classes.

    Raises:
        ValueError: the file is not of that form.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.strip() for line in lines]
    if "@data" not in map(str.lower, rows):
        raise ValueError(f"{path} is no .ts file, it has no @data: install aeon again")
    start = [row.lower() for row in rows].index("@data") + 1
    parts = [row.split(":") for row in rows[start:] if row and row[0] not in "#@"]
    try:
        values = [[channel.split(",") for channel in channels] for *channels, _ in parts]
        return np.array(values, np.float64), [label.strip() for *_, label in parts]
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): install aeon again") from error


def _from_aeon(
    folder: str, stem: str, classes: tuple[str, ...], held_out: int, name: str, *, flip: bool
) -> Dataset:
    """A data set that aeon ships, its training and test part as one and split anew.

    The package is not imported, which takes seconds and needs its dependencies. The archive's own
    training parts are small (67 days of ItalyPowerDemand), as they are meant for classifiers.
    """
    _check_flip(name, flip)
    spec = importlib.util.find_spec("aeon")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ValueError(f"dataset={name} needs the files of the package aeon: {INSTALL}")
    root = Path(next(iter(folders))) / "datasets" / "data" / folder
    files = [root / f"{stem}_{part}.ts" for part in ("TRAIN", "TEST")]
    if lacking := [file for file in files if not file.is_file()]:
        raise ValueError(
            f"dataset={name} needs {lacking[0]}, which this version of aeon lacks: {INSTALL}"
        )
    read = [read_ts(file) for file in files]
    x = np.concatenate([signals for signals, _ in read])
    labels = np.array([int(label) - 1 for _, each in read for label in each], np.int64)
    return _dataset(name, x, labels, classes, held_out, stem)


def _dataset(
    name: str,
    x: np.ndarray,
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    held_out: int,
    prefix: str,
    *,
    where: str = "",
) -> Dataset:
    """Split signals and scale them by the range of the training part.

    Args:
        name: the data set's name.
        x: signals in their own units, (N, C, L).
        labels: (N,) int64, or None.
        classes: names of the classes.
        held_out: how many signals are held out.
        prefix: what a hash of decides on that, followed by the signal's number.
        where: where one's own signals come from; empty for a published set.

    Raises:
        ValueError: a channel is constant in the training part, or its values are too far apart.
    """
    names = [f"{prefix}-{index}" for index in range(len(x))]
    mask = hold_out(names, None if labels is None else labels.tolist(), held_out)
    scale = Scale.of(x[~mask])
    if (constant := np.flatnonzero(scale.low == scale.high)).size:
        raise ValueError(
            f"{where or name} has {len(constant)} constant channels, first: {constant[0]}, which "
            f"is {scale.low[constant[0]]:g} in every signal: leave them out"
        )
    _check_range(x, scale, where or name)
    parts = []
    for chosen in (~mask, mask):
        signals = scale.to_unit(x[chosen])
        chosen_labels = None if labels is None else labels[chosen]
        for array in (signals, *(() if chosen_labels is None else (chosen_labels,))):
            array.setflags(write=False)
        parts.append(Split(signals, chosen_labels))
    train, test = parts
    return Dataset(
        name,
        train,
        test,
        classes,
        flip=False,
        hash=content_hash(train, test),
        scale=scale,
        own=bool(where),
    )


def _check_range(x: np.ndarray, scale: Scale, where: str) -> None:
    """Raise ValueError if signals of a channel are not finite once they are scaled.

    Held-out signals, too: they may lie far beyond the range of the training part.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(scale.to_unit(x)).all(axis=(0, 2))  # (C,)
    if not finite.all():
        first = np.flatnonzero(~finite)[0]
        low, high = x[:, first].min(), x[:, first].max()
        raise ValueError(
            f"{where} has {(~finite).sum()} channels that cannot be scaled to [-1, 1] in finite "
            f"numbers, first: {first}, whose values are from {low:g} to {high:g}: scale the "
            "signals or leave out those that are far off"
        )


def _check_flip(name: str, flip: bool) -> None:
    if flip:
        raise ValueError(
            f"dataset.flip=true: {name} holds signals, which are not mirrored: set it to false"
        )


def _read_npz(path: Path, where: str) -> dict[str, np.ndarray]:
    """The arrays x and y of an .npz file; y may be missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, has no x, or does not fit into memory.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{where}: there is no such file, give an .npz file with x")
    try:
        with zipfile.ZipFile(path) as archive:
            needed = 3 * sum(info.file_size for info in archive.infolist())  # float64, and scaled
        if needed > (free := available_bytes()):
            raise _TooLargeError(
                f"{where} needs {needed / _MIB:,.1f} MiB of memory and {free / _MIB:,.1f} MiB are "
                "free: give fewer signals"
            )
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y") if name in archive.files}
            found = sorted(archive.files)
    except _TooLargeError:
        raise
    except BROKEN_NPZ as error:
        unequal = "it holds Python objects, as signals of unequal length become"
        reason = what_is_broken(error, pickled=unequal)
        raise ValueError(
            f"{where} is not a whole file of plain arrays ({reason}): give signals equal lengths, "
            "and write them again with numpy.savez"
        ) from error
    if "x" not in arrays:
        raise ValueError(f"{where} holds {found}, but no x: name the array of signals x")
    return arrays


class _TooLargeError(ValueError):
    """Signals that do not fit into memory."""


def _checked_signals(x: np.ndarray, where: str) -> np.ndarray:
    """Signals as (N, C, L) float64.

    Raises:
        ValueError: they have another shape or type, or gaps.
    """
    if x.ndim != 3:
        hint = " (add an axis for a single channel: x[:, None])" if x.ndim == 2 else ""
        raise ValueError(f"{where} holds x of shape {x.shape}: give signals as (N, C, L){hint}")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"{where} holds x of {x.dtype} values: save signals as float32")
    if len(x) < 2:
        raise ValueError(
            f"{where} holds {len(x)} signals: at least two are needed, one to train on and one to "
            "hold out"
        )
    if x.shape[1] < 1 or x.shape[2] < MIN_LENGTH:
        raise ValueError(
            f"{where} holds signals of shape {x.shape[1:]}: give at least one channel and "
            f"{MIN_LENGTH} values in each"
        )
    with np.errstate(over="ignore"):
        x = x.astype(np.float64)
    gaps = ~np.isfinite(x).all(axis=(1, 2))
    if gaps.any():
        raise ValueError(
            f"{where} has {gaps.sum()} of {len(x)} signals with gaps (NaN or infinite values), "
            f"first: {np.flatnonzero(gaps)[0]}: fill them or leave these signals out"
        )
    return x


def _classes(
    y: np.ndarray | None, signals: int, where: str
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels, (N,) int64, and names of classes; None and () for unlabelled signals.

    Raises:
        ValueError: labels of another length or type.
    """
    if y is None:
        return None, ()
    if y.shape != (signals,):
        raise ValueError(
            f"{where} holds {signals} signals and y of shape {y.shape}: give one label per signal, "
            f"({signals},)"
        )
    if not (np.issubdtype(y.dtype, np.integer) or y.dtype.kind == "U"):
        raise ValueError(f"{where} holds y of {y.dtype} values: save labels as whole numbers")
    values, labels = np.unique(y, return_inverse=True)
    if len(values) < 2:
        return None, ()
    return labels.astype(np.int64), tuple(str(value) for value in values)
