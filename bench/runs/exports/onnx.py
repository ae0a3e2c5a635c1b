"""A call of a recorded run's network as an ONNX file, with what its inputs and outputs mean."""

import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from bench.runs.exports.about import CLOSE, about, difference, require_packages, seeded
from bench.runs.loaded import LoadedModel
from bench.runtime.exported import Kind, check_out, make_whole
from bench.runtime.isolation import eval_mode
from models.base import GenerativeModel
from models.exports import NetworkCall

TRACED, CHECKED = 2, (1, 3)
"""Batch sizes: the one that is traced, and those on which the file is compared with torch."""


def _is_export(path: Path) -> bool:
    """Whether a file is empty or an ONNX file that this module wrote."""
    import onnx

    if not path.stat().st_size:
        return True
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception:  # damaged in any way, or another file
        return False
    return any(p.key == "Software" and p.value.startswith("gan-vs-") for p in model.metadata_props)


KIND = Kind("ONNX file", _is_export)


def check(out: Path, *, replace: bool) -> None:
    """Refuse what cannot be written, before a run is read.

    Args:
        out: the file to write.
        replace: whether an earlier export there may be replaced.

    Raises:
        ValueError, FileExistsError: a package is not installed, out has another suffix, or
            something else is there.
    """
    require_packages("--format onnx", ("onnx", "onnxscript", "onnxruntime"))
    if out.suffix.lower() != ".onnx":
        raise ValueError(f"--out={out}: give a name that ends in .onnx for --format onnx")
    if out.is_dir():
        raise FileExistsError(f"{out} is a folder: choose another --out")
    check_out(out, KIND, replace=replace)


def write(loaded: LoadedModel, directory: Path, out: Path, part: str | None) -> str:
    """Write a network call of a run.

    Args:
        loaded: the model, on the CPU.
        directory: its directory.
        out: the file to write.
        part: name of the call; None for the only one.

    Returns:
        What was written, in words.

    Raises:
        ValueError: the model has no such call, torch cannot translate it, or onnxruntime computes
            something else.
    """
    name, call = _choose(loaded, directory, part)
    refused = f"{directory} cannot be exported by --format onnx, since"
    try:
        model = translated(loaded.module, call, {**about(loaded), **_meanings(loaded, name, call)})
    except torch.onnx.OnnxExporterError as error:
        first = [*str(error.__cause__ or error).splitlines(), type(error).__name__][0]
        why = shorten(first, 200, placeholder=" …")
        raise ValueError(
            f"{refused} torch cannot translate its {name} ({why}): choose --format samples"
        ) from error
    if not (apart := _largest_difference(loaded.module, call, model)) <= CLOSE:
        raise ValueError(
            f"{refused} onnxruntime's results of its {name} differ from torch's by {apart:.2g}, "
            f"more than {CLOSE:g}: choose --format samples"
        )

    def write_file(path: Path) -> None:
        path.write_bytes(model)

    make_whole(out, KIND, write_file)
    return f"{name} of {loaded.name}, {loaded.weights} weights"


def _choose(loaded: LoadedModel, directory: Path, part: str | None) -> tuple[str, NetworkCall]:
    """The call named, or the only one."""
    calls = loaded.module.network_calls
    if not calls:
        kind = type(loaded.module).__name__
        raise ValueError(
            f"{directory} cannot be exported by --format onnx, since {kind} names no network call: "
            "choose --format samples"
        )
    if part is None and len(calls) > 1:
        raise ValueError(f"{directory} has several networks: give --part {' or '.join(calls)}")
    if part is not None and part not in calls:
        raise ValueError(f"--part must be one of {list(calls)}, got {part!r}")
    name = part or next(iter(calls))
    return name, calls[name]


class _Computed(nn.Module):
    """A call as a module, which is what torch translates."""

    def __init__(self, model: nn.Module, call: NetworkCall) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs."""
        return self.call.compute(*inputs)


def translated(model: GenerativeModel, call: NetworkCall, texts: Mapping[str, str]) -> bytes:
    """An ONNX file of a call in eval mode, for any number of samples.

    Args:
        model: on the CPU.
        call: one of its `network_calls`.
        texts: metadata, by key.

    Raises:
        OnnxExporterError: torch cannot translate the network.
    """
    examples = tuple(given.examples(TRACED, seeded()) for given in call.inputs)
    axes = tuple({0: torch.export.Dim.DYNAMIC} for _ in examples)
    with eval_mode(model), torch.no_grad(), _quiet():
        program = torch.onnx.export(
            _Computed(model, call).eval(),
            examples,
            dynamo=True,
            input_names=[given.name for given in call.inputs],
            output_names=list(call.outputs),
            dynamic_shapes=[axes],  # of *inputs
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _describe(proto, texts)
    return proto.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own messages, which are about its inside."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _describe(model: Any, texts: Mapping[str, str]) -> None:
    """Give an ONNX model its metadata, and take away what the exporter notes of this machine."""
    import onnx

    for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
        del node.metadata_props[:]  # stack traces, with paths
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, dict(texts))
    onnx.checker.check_model(model)


def _meanings(loaded: LoadedModel, name: str, call: NetworkCall) -> dict[str, str]:
    """What the file is, its inputs and outputs, and the constants of samplers, by key."""
    texts = {"Call": name, "Data": f"{'x'.join(map(str, loaded.data.shape))}, float32 in [-1, 1]"}
    if loaded.data.scale is not None:
        low, high = (
            json.dumps(values.tolist())
            for values in (loaded.data.scale.low, loaded.data.scale.high)
        )
        texts["Units"] = f"-1 stands for {low} and 1 for {high} of the channels"
    if loaded.classes:
        texts["Classes"] = json.dumps(loaded.classes)
    texts |= {f"Input {given.name}": given.meaning for given in call.inputs}
    texts |= {f"Output {output}": meaning for output, meaning in call.outputs.items()}
    constants = {key: json.dumps([*map(float, v)]) for key, v in call.constants.items()}
    return texts | {f"Constant {key}": value for key, value in constants.items()}


def session_of(model: bytes) -> Any:
    """An `InferenceSession` of an ONNX file on the CPU, with as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _largest_difference(model: GenerativeModel, call: NetworkCall, content: bytes) -> float:
    """How much onnxruntime's outputs differ from torch's at `CHECKED` numbers of samples."""
    session, apart = session_of(content), []
    for size in CHECKED:
        given = {each.name: each.examples(size, seeded(size)) for each in call.inputs}
        theirs = session.run(None, {key: value.numpy() for key, value in given.items()})
        with eval_mode(model), torch.no_grad():
            ours = call.compute(*given.values())
        pairs = zip(ours, map(torch.from_numpy, theirs), strict=True)
        apart += [difference(*pair) for pair in pairs]
    return max(apart) if all(map(math.isfinite, apart)) else math.inf
