"""A call of a recorded run's network as an ONNX file, with what its inputs and outputs mean."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.runs.exports.about import CLOSE, about, difference, require_packages, seeded
from bench.runs.reload import RecordedRun
from bench.runtime.exported import Kind, check_out, make_whole
from bench.runtime.isolation import eval_mode
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


def write(run: RecordedRun, directory: Path, out: Path, part: str | None) -> str:
    """Write a network call of a run.

    Args:
        run: the run, on the CPU.
        directory: its directory; not used.
        out: the file to write.
        part: name of the call; None for the only one.

    Returns:
        What was written, in words.

    Raises:
        ValueError: the model has no such call, torch cannot export it, or onnxruntime computes
            something else.
    """
    name, call = _choose(run, part)
    with eval_mode(run.model), torch.no_grad():
        model = _exported(run, name, call)
        _describe(model, {**about(run), **_meanings(run, name, call)})
        content = model.SerializeToString()
        _check(run, name, call, content)
    make_whole(out, KIND, lambda path: path.write_bytes(content) and None)
    return f"{name} of {run.name}, {run.weights} weights"


def _choose(run: RecordedRun, part: str | None) -> tuple[str, NetworkCall]:
    """The call named, or the only one."""
    calls = run.model.network_calls
    if not calls:
        raise ValueError(
            f"{run.name} cannot be exported by --format onnx, since {type(run.model).__name__} "
            "names no network call: choose --format samples"
        )
    if part is None and len(calls) > 1:
        raise ValueError(f"{run.name} has several networks: give --part {' or '.join(calls)}")
    if part is not None and part not in calls:
        raise ValueError(f"--part must be one of {list(calls)}, got {part!r}")
    name = part or next(iter(calls))
    return name, calls[name]


class _Computed(nn.Module):
    """A call as a module, which is what torch exports."""

    def __init__(self, model: nn.Module, call: NetworkCall) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs."""
        return self.call.compute(*inputs)


def _exported(run: RecordedRun, name: str, call: NetworkCall) -> Any:
    """The call as an ONNX model of any batch size."""
    examples = tuple(given.examples(TRACED, seeded()) for given in call.inputs)
    axes = tuple({0: torch.export.Dim.DYNAMIC} for _ in examples)
    try:
        with _quiet():
            program = torch.onnx.export(
                _Computed(run.model, call).eval(),
                examples,
                dynamo=True,
                input_names=[given.name for given in call.inputs],
                output_names=list(call.outputs),
                dynamic_shapes=[axes],  # of *inputs
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        why = str(error.__cause__ or error).splitlines()
        raise ValueError(
            f"{run.name} cannot be exported by --format onnx, since torch cannot translate its "
            f"{name} ({why[0] if why else type(error).__name__}): choose --format samples"
        ) from error
    assert program is not None
    return program.model_proto


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


def _describe(model: Any, texts: dict[str, str]) -> None:
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
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)


def _meanings(run: RecordedRun, name: str, call: NetworkCall) -> dict[str, str]:
    """What the file is, its inputs and outputs, and the constants of samplers, by key."""
    texts = {"Call": name, "Data": f"{'x'.join(map(str, run.shape))}, float32 in [-1, 1]"}
    if run.scale is not None:
        low, high = (json.dumps(values.tolist()) for values in (run.scale.low, run.scale.high))
        texts["Units"] = f"-1 stands for {low} and 1 for {high} of the channels"
    texts |= {f"Input {given.name}": given.meaning for given in call.inputs}
    texts |= {f"Output {output}": meaning for output, meaning in call.outputs.items()}
    constants = {key: json.dumps([*map(float, v)]) for key, v in call.constants.items()}
    return texts | {f"Constant {key}": value for key, value in constants.items()}


def _check(run: RecordedRun, name: str, call: NetworkCall, content: bytes) -> None:
    """Raise ValueError unless onnxruntime computes what torch does, at other batch sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for size in CHECKED:
        given = {each.name: each.examples(size, seeded(size)) for each in call.inputs}
        theirs = session.run(None, {key: value.numpy() for key, value in given.items()})
        for ours, found in zip(call.compute(*given.values()), theirs, strict=True):
            if not (apart := difference(ours, torch.from_numpy(found))) <= CLOSE:
                raise ValueError(
                    f"{run.name} cannot be exported by --format onnx, since onnxruntime's results "
                    f"of its {name} differ from torch's by {apart:.2g}, more than {CLOSE:g}: "
                    "choose --format samples"
                )
