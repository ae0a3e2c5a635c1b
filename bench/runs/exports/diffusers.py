"""A recorded run as a pipeline that diffusers loads by itself, with a model card."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from bench.runs.exports.about import (
    CLOSE,
    SYNTHETIC,
    about,
    difference,
    require_packages,
    scored,
    seeded,
)
from bench.runs.loaded import LoadedModel
from bench.runtime.exported import Kind, check_out, make_whole, write_manifest
from bench.schema import MEASURED
from models.exports import DiffusersPipeline, NoCounterpartError

KIND = Kind("pipeline", lambda path: False)
"""A folder: no file is one."""

SHOWN = ("fid", "kid")
"""Scores on the model card."""

COMPARABLE = (
    "Lower is better. In parentheses: the extractor of the features. Scores of different "
    "extractors cannot be compared; those in papers are mostly of `inception`."
)
"""How the scores on the model card compare with others."""


def check(out: Path, *, replace: bool) -> None:
    """Refuse what cannot be written, before a run is read.

    Args:
        out: the folder to write.
        replace: whether an earlier export there may be replaced.

    Raises:
        ValueError, FileExistsError: diffusers is not installed, or something else is at out.
    """
    require_packages("--format diffusers", ("diffusers",))
    if out.suffix.lower() in (".zip", ".npz", ".npy", ".onnx", ".safetensors"):
        raise ValueError(f"--out={out}: a pipeline of diffusers is a folder, give a name of one")
    check_out(out, KIND, replace=replace)


def write(loaded: LoadedModel, directory: Path, out: Path, part: str | None) -> str:
    """Write the pipeline of a run.

    Args:
        loaded: the model, on the CPU.
        directory: its directory.
        out: the folder to write.
        part: must be None.

    Returns:
        What was written, in words.

    Raises:
        ValueError: diffusers has no counterpart, or one that computes something else.
    """
    if part is not None:
        raise ValueError(f"--part={part} is for --format onnx: leave it out")
    try:
        pipeline = loaded.module.for_diffusers()
    except NoCounterpartError as error:
        other = "onnx or samples" if loaded.module.network_calls else "samples"
        raise ValueError(
            f"{directory} cannot be exported by --format diffusers, since {error}: choose --format "
            f"{other}"
        ) from error
    from diffusers.models.unets.unet_2d import UNet2DModel  # takes seconds
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    network = UNet2DModel(**pipeline.unet)
    network.load_state_dict(pipeline.weights)
    _check_network(loaded, network.eval())
    scheduler = DDPMScheduler(**pipeline.scheduler)
    made = DDPMPipeline(unet=network, scheduler=scheduler)

    def write_folder(folder: Path) -> None:
        made.save_pretrained(folder, safe_serialization=True)
        readme = folder / "README.md"
        readme.write_text(card(loaded, directory, pipeline), encoding="utf-8")
        for weights in folder.rglob("*.safetensors"):
            weights.chmod(readme.stat().st_mode)  # safetensors lets nobody else read them
        write_manifest(folder)

    make_whole(out, KIND, write_folder)
    return f"DDPMPipeline of {loaded.name}, {loaded.weights} weights"


@torch.no_grad()
def _check_network(loaded: LoadedModel, network: torch.nn.Module) -> None:
    """Raise ValueError unless diffusers' network computes what the run's does."""
    (call,) = loaded.module.network_calls.values()
    x_t, t = (given.examples(2, seeded()) for given in call.inputs)
    ours = torch.cat(call.compute(x_t, t), dim=1)
    theirs = network(x_t, t).sample
    if theirs.shape[1] > x_t.shape[1]:  # the variance's fraction in [0, 1] is theirs in [-1, 1]
        mean, variance = theirs.split(x_t.shape[1], dim=1)
        theirs = torch.cat([mean, (variance + 1) / 2], dim=1)
    if not (apart := difference(ours, theirs)) <= CLOSE:
        raise ValueError(
            f"diffusers' UNet2DModel differs from the network of {loaded.name} by {apart:.2g}, "
            f"more than {CLOSE:g}: install diffusers 0.31 or later, or choose --format onnx"
        )


def card(loaded: LoadedModel, directory: Path, pipeline: DiffusersPipeline) -> str:
    """The model card, in Markdown, with a program that samples from the folder that it is in.

    Args:
        loaded: the exported model.
        directory: its directory.
        pipeline: what was exported.
    """
    facts = "".join(f"| {key} | {value} |\n" for key, value in _facts(loaded, directory))
    return f"""\
---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [diffusers, ddpm, synthetic]
---

# {loaded.name}

{SYNTHETIC} They follow the distribution of the training images, and some may resemble one of them.

| | |
|---|---|
{facts}
{score_table(scored(directory, loaded))}
{_programs(pipeline)}"""


def _facts(loaded: LoadedModel, directory: Path) -> Iterable[tuple[str, str]]:
    yield from ((key, value) for key, value in about(loaded).items() if value != SYNTHETIC)
    yield "Data set", loaded.data.name
    yield "Shape (channels, height, width)", "x".join(map(str, loaded.data.shape))
    for row in scored(directory, loaded)[:1]:
        protocol = {
            "Hash of the data": "data_hash",
            "Budget": "budget",
            "Images seen in training": "images",
            "Reference": "reference",
            "Extractors": "extractors",
            "Preprocessing": "preprocessing",
            "Evaluated samples": "samples",
        }
        yield from ((key, row[name]) for key, name in protocol.items() if row.get(name))


def score_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Scores of the samplers as a Markdown table.

    Args:
        rows: one for each sampler, as in the run's eval.csv.
    """
    extractors = [word.partition(":")[0] for word in rows[0]["extractors"].split()] if rows else []
    found = [(MEASURED[metric], extractor) for metric in SHOWN for extractor in extractors]
    shown = [
        (column, f"{column.name}_{extractor}", f"{column.label} ({extractor}) {column.unit}")
        for column, extractor in found
        if any(row.get(f"{column.name}_{extractor}") for row in rows)
    ]
    if not shown:
        return "This run has no scores of these weights.\n"
    lines = [["sampler", *(heading.rstrip() for _, _, heading in shown)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        values = ((column.factor, row.get(name)) for column, name, _ in shown)
        texts = (f"{factor * float(value):.4g}" if value else "–" for factor, value in values)
        lines.append([row["sampler"], *texts])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\n{COMPARABLE}\n"


def _programs(pipeline: DiffusersPipeline) -> str:
    steps = pipeline.scheduler["num_train_timesteps"]
    ddim, dpmpp = min(50, steps), min(10, steps)
    text = f"""\
## Sampling

In this folder, with all {steps} timesteps, as `ddpm-{steps}` of the project that trained it:

```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained(".")
images = pipeline(batch_size=4, num_inference_steps={steps}).images
```
"""
    if pipeline.scheduler["variance_type"] != "fixed_small":
        text += (
            "\nDo not take fewer steps with this pipeline: `DDPMScheduler` then leaves noise in "
            "the images.\n"
        )
    if pipeline.unet["out_channels"] != pipeline.unet["in_channels"]:
        return f"{text}\ndiffusers' other pipelines take no network that learns the variance.\n"
    clipping = (
        ", thresholding=True, sample_max_value=1.0" if pipeline.scheduler["clip_sample"] else ""
    )
    return f"""{text}
DDIM in {ddim} steps, as `ddim-{ddim}` (`use_clipped_model_output` is what makes it equal):

```python
from diffusers import DDIMPipeline

pipeline = DDIMPipeline.from_pretrained(".")
images = pipeline(
    batch_size=4, num_inference_steps={ddim}, use_clipped_model_output=True
).images
```

DPM-Solver++ in {dpmpp} steps, as `dpmpp-{dpmpp}`:

```python
from diffusers import DDPMPipeline, DPMSolverMultistepScheduler

pipeline = DDPMPipeline.from_pretrained(".")
pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
    pipeline.scheduler.config, final_sigmas_type="zero"{clipping}
)
images = pipeline(batch_size=4, num_inference_steps={dpmpp}).images
```
"""
