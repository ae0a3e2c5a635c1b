"""Recorded runs of models that were not trained, to be exported."""

from pathlib import Path
from typing import Any

import torch

from bench.evaluation.options import EvaluatorOptions
from bench.runs.data_record import DataRecord
from bench.runs.directory import RunDirectory
from bench.runs.loaded import LoadedModel
from bench.runs.reload import RecordedRun
from bench.schema import eval_columns
from models.base import GenerativeModel

NAME = "digits/a_model/default/seed=0"
STEP = 7
SCORES = {"step": STEP, "fid_domain": 3.25, "extractors": "domain:0123", "samples": 100}


def moved(model: GenerativeModel) -> GenerativeModel:
    """The model with every weight moved, since some start at zero and would hide what is behind."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def loaded(model: GenerativeModel, **data: Any) -> LoadedModel:
    """The model as one of a recorded run, with its weights moved; low and high are its scale's."""
    shape, num_classes = model.data_shape, getattr(model, "num_classes", 0)
    classes = tuple(f"class {label}" for label in range(num_classes))
    low, high = data.get("low"), data.get("high")
    record = DataRecord("digits", "0123", shape, classes, None, low, high, None, 100, 100)
    return LoadedModel(RecordedRun(NAME, record, moved(model), "ema", STEP, EvaluatorOptions()))


def directory(root: Path, *samplers: str) -> Path:
    """A run directory with a row of scores for each sampler."""
    path = root / "run"
    rows = [{"sampler": name, "checkpoint": 1, **SCORES} for name in samplers]
    with RunDirectory(path) as run:
        run.append_eval(rows, eval_columns(("domain",)))
    return path
