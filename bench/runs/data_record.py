"""What a run records of its data, so that its model can be used where the data is not."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from bench.config import is_name
from bench.data.dataset import Dataset, Scale
from bench.evaluation.sampling import label_frequencies
from bench.runtime.atomic_files import read_text, write_atomically
from bench.runtime.plain_files import json_value
from models.base import Batch, DataIdentity, DataSpec

FILE = "data.json"

MAX_BYTES = 2**24
"""Largest file that is read: names and frequencies of a hundred thousand classes."""


@dataclass(frozen=True)
class DataRecord:
    """Content of data.json.

    Attributes:
        name: of the data set.
        hash: of both splits, as data_hash in config.yaml.
        shape: shape of one sample, (C, H, W), (C, L) or (D,).
        classes: K class names by label; empty for unlabelled data.
        frequencies: class frequencies, K numbers of sum 1; None for equal ones or no classes.
        signal_low: the value of each channel that models see as -1, in the units of the signals,
            C numbers; None for other data.
        signal_high: the value that models see as 1.
        train_images: how many of the training images models are trained on; None for all.
        train_size: number of training images.
        held_out_size: number of held-out images.
    """

    name: str
    hash: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    frequencies: tuple[float, ...] | None
    signal_low: tuple[float, ...] | None
    signal_high: tuple[float, ...] | None
    train_images: int | None
    train_size: int
    held_out_size: int

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """That of a data set, in full precision."""
        frequencies, scale = label_frequencies(dataset, "data"), dataset.scale
        return cls(
            dataset.name,
            dataset.hash,
            dataset.shape,
            dataset.classes,
            None if frequencies is None else tuple(frequencies.tolist()),
            None if scale is None else tuple(scale.low.tolist()),
            None if scale is None else tuple(scale.high.tolist()),
            None if dataset.few is None else len(dataset.few),
            len(dataset.train),
            len(dataset.test),
        )

    @property
    def scale(self) -> Scale | None:
        """The map from signals to their own units; None for other data."""
        if self.signal_low is None:
            return None
        return Scale(np.array(self.signal_low), np.array(self.signal_high))

    def label_frequencies(self, class_labels: str) -> Tensor | None:
        """As `bench.evaluation.sampling.label_frequencies` of the data, bit for bit."""
        if class_labels == "uniform" or self.frequencies is None:
            return None
        return torch.tensor(self.frequencies, dtype=torch.float64)

    def spec(self, read: Callable[[], DataSpec]) -> DataSpec:
        """Describe the data to a model.

        Args:
            read: reads the data set itself; called when the model first asks for samples of it.
        """
        whole = cache(read)

        def held_out(indices: Tensor) -> Tensor:
            return whole().held_out(indices)

        def labelled(n: int, /, *, uniform: bool) -> Batch:
            given = whole().labelled
            if given is None:
                raise ValueError(f"{self.name} has no labels")
            return given(n, uniform=uniform)

        scale = self.scale
        return DataSpec(
            self.shape,
            len(self.classes),
            held_out,
            self.held_out_size,
            labelled if self.classes else None,
            None if scale is None else scale.tensor_to_unit,
            DataIdentity(self.name, self.hash, self.train_images),
        )


def write_data(run: Path, dataset: Dataset) -> None:
    """Write data.json into a run directory, unless it says this already."""
    path = run / FILE
    text = json.dumps(asdict(DataRecord.of(dataset)), indent=2) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode():
        write_atomically(path, text)


def read_data(run: Path, data_hash: str) -> DataRecord | None:
    """Read data.json of a run; None for a run of a version that did not write it.

    Args:
        run: the run directory, which need not be trusted.
        data_hash: hash of the data that its config.yaml names.

    Raises:
        ValueError: the file is damaged, or describes other data.
    """
    path = run / FILE
    if not path.exists() and not path.is_symlink():
        return None
    text = read_text(path, MAX_BYTES)
    remedy = "delete this file, and the data set itself is read"
    try:
        record = _checked(json_value(text))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    if record.hash != data_hash:
        raise ValueError(
            f"{path} describes data of the hash {record.hash}, and config.yaml names {data_hash}: "
            f"{remedy}"
        )
    return record


def _checked(written: object) -> DataRecord:
    """The record that was written; ValueError with a reason if it is none."""
    names = [field.name for field in fields(DataRecord)]
    if not isinstance(written, Mapping) or sorted(written) != sorted(names):
        raise ValueError(f"it must have {', '.join(names)} and nothing else")
    classes = len(written["classes"]) if isinstance(written["classes"], list) else 0
    channels = written["shape"][0] if _sizes(written["shape"]) else 0
    right = {
        "name": is_name(written["name"]),
        "hash": isinstance(written["hash"], str),
        "shape": _sizes(written["shape"]) and len(written["shape"]) <= 3,
        "classes": _list_of(str, written["classes"]),
        "frequencies": written["frequencies"] is None
        or (_numbers(written["frequencies"], classes) and _add_up(written["frequencies"])),
        "train_images": written["train_images"] is None or _sizes([written["train_images"]]),
        "train_size": _sizes([written["train_size"]]),
        "held_out_size": _sizes([written["held_out_size"]]),
    }
    for key in ("signal_low", "signal_high"):
        neither = written["signal_low"] is None and written["signal_high"] is None
        right[key] = neither or _numbers(written[key], channels)
    if wrong := [name for name in names if not right[name]]:
        shown = repr(written[wrong[0]])
        raise ValueError(f"its {wrong[0]} is {shown if len(shown) <= 60 else shown[:60] + '…'}")
    made: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in written.items()
    }
    return DataRecord(**made)


def _list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(type(each) is kind for each in value)


def _sizes(value: Any) -> bool:
    """Whether it is a list of whole numbers from 1 to 2^31, at least one."""
    return _list_of(int, value) and bool(value) and all(0 < each <= 2**31 for each in value)


def _numbers(value: Any, count: int) -> bool:
    """Whether it is a list of as many finite numbers, at least one."""
    return _list_of(float, value) and len(value) == count > 0 and all(map(math.isfinite, value))


def _add_up(frequencies: list[float]) -> bool:
    """Whether all are positive and their sum is 1."""
    return min(frequencies) > 0 and abs(sum(frequencies) - 1) < 1e-6
