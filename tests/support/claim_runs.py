"""Synthetic results of every run of `experiment=claims_small`: a function of the run's name."""

import hashlib
import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from synthetic_runs import FLOOR, POINTS, PROTOCOL, STACKED

from bench.command_line import expand
from bench.runtime.atomic_files import csv_text
from bench.schema import eval_columns

SAMPLERS = {"real": ["held-out"], "ddpm": ["ddim-10"], "x0": ["ddim-10"]}
"""Samplers of models whose job lists none, by the start of the model's name."""

HYBRID = ["draft", "ddim-20", "hybrid-ddim-20-last-5"]
MODES = {"ring8": 8, "grid25": 25, "stacked_digits": 1000}


def jobs(experiment: str, runs: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The overrides of every job of an experiment, or of some grids of it, as Hydra has them."""
    sweep = [f"sweep={','.join(runs)}"] if runs else []
    for line in expand(["-m", f"experiment={experiment}", *sweep]):
        parsed = OverridesParser.create().parse_overrides(line[1:])
        for batch in BasicSweeper.split_arguments(parsed, None):
            yield from map(list, batch)


def noise(*key: object) -> float:
    """A number in (-1, 1) that only depends on the key."""
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**47 - 1


def write_world(folder: Path, world: str, *, spread: float, bad: float, without: str = "") -> Path:
    """Write all runs of a world.

    Args:
        folder: where runs/ goes.
        world: its name, which every number depends on.
        spread: of log FID over seeds, about.
        bad: share of the runs that collapse; a third as many fail.
        without: a model whose runs are left out.
    """
    for job in jobs("claims_small"):
        settings = dict(word.lstrip("+").split("=", 1) for word in job)
        if settings["model"] != without:
            _write_run(folder / "runs", world, job, settings, spread, bad)
    return folder / "runs"


def _write_run(
    root: Path, world: str, job: list[str], settings: dict[str, str], spread: float, bad: float
) -> None:
    model, seed = settings["model"], settings.get("seed", "0")
    size = settings.get("dataset.image_size")
    dataset = f"{settings['dataset']}_{size}" if size else settings["dataset"]
    changes = " ".join(word for word in job if word.lstrip("+").startswith("model."))
    variant = hashlib.sha256(changes.encode()).hexdigest()[:8] if changes else "default"
    path = root / dataset / model / variant / f"seed={seed}"
    path.mkdir(parents=True)
    listed = settings.get("model.build.samplers", "").strip("[]").split(",")
    family = next((name for name in SAMPLERS if model.startswith(name)), "")
    samplers = listed if listed[0] else SAMPLERS.get(family, ["generator"])
    samplers = HYBRID if model == "hybrid_small" else samplers
    key = (world, dataset, model, changes, seed)
    failed = model != "real" and noise(*key, "fails") > 1 - 2 * bad / 3
    status = {
        "status": "finished",
        "step": 100,
        "command": shlex.join(["python", "-m", "bench", *job]),
    }
    if failed:
        status |= {"status": "failed", "reason": "not finite", "phase": "generator"}
    (path / "status.json").write_text(json.dumps(status))
    if failed:
        return
    extractor = "identity" if dataset in ("ring8", "grid25") else "domain"
    protocol = PROTOCOL if extractor == "domain" else POINTS
    protocol = STACKED if dataset == "stacked_digits" else protocol
    if model == "real":
        protocol = protocol | {k: "" for k, v in FLOOR.items() if v == ""}
    count = int(settings.get("budget.checkpoints", "1"))
    identity = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
    identity |= {"weights": "ema", "checkpoints": count, "overrides": changes}
    rows = []
    for k in range(1, count + 1):
        for sampler in samplers:
            values = _values(key, sampler, spread, k / count, MODES.get(dataset, 10))
            collapsed = k == count and model != "real" and noise(*key, "collapses") > 1 - 2 * bad
            quality = {f"{name}_{extractor}": v for name, v in values.pop("quality").items()}
            row = protocol | identity | {"checkpoint": k, "sampler": sampler} | values | quality
            rows.append(row | {"warning": "only 1 of 10 modes" if collapsed else ""})
    columns = tuple(eval_columns((extractor,)))
    texts = [[str(row.get(column, "")) for column in columns] for row in rows]
    (path / "eval.csv").write_text(csv_text(columns, texts), encoding="utf-8")
    if model == "cond_ddpm_small":
        curves = {("x0_error", 0.1): 0.01, ("x0_error", 0.9): 0.2}
        curves |= {("edit_distance", 0.1): 0.1, ("edit_distance", 1.0): 0.8}
        lines = [
            [curve, f"{x}", f"{y * math.exp(spread * noise(*key, curve, x)):.7g}", "0.01", "100"]
            for (curve, x), y in curves.items()
        ]
        columns = ("curve", "x", "mean", "standard_error", "samples")
        (path / "curves.csv").write_text(csv_text(columns, lines), encoding="utf-8")


def _values(
    key: tuple[str, ...], sampler: str, spread: float, done: float, modes: int
) -> dict[str, Any]:
    """The measurements of one row, at a share of the budget: to seven digits."""
    entry, real = key[:-1], key[2] == "real"
    steps = int("0" + "".join(filter(str.isdigit, sampler.partition("-cfg")[0][-3:])))
    nfe = 0 if real else max(1, steps)

    def varied(centre: float, name: str, width: float = spread) -> float:
        value = centre * math.exp(noise(*entry, name) / 2 + width * noise(*key, sampler, name))
        return float(f"{value:.7g}")

    def share(name: str) -> float:
        """A score in [0, 1], now and then zero where seeds differ much."""
        centre = 0.9 if real else 0.55 + 0.3 * noise(*entry, name)
        return float(f"{min(1.0, max(0.0, centre + spread * noise(*key, sampler, name))):.7g}")

    level = 1.0 if real else 12.0 * (1 + 2 / nfe)
    fid = varied(level, "fid") * (1 + (1 - done) * (2 + noise(*key, "speed", f"{done:.2f}")))
    shares = {name: share(name) for name in ("precision", "recall", "density", "coverage")}
    copies = {"duplicates": varied(0.01, "copies"), "nn_ratio": 1 + 0.1 * noise(*key, "nn")}
    agreement = 0.6 + 0.3 * ("cfg4" in sampler) + spread * noise(*key, sampler)
    images = round(varied(5e4, "images", 0.1) * done)
    return {
        "quality": {"fid": fid, **shares, **copies},
        "modes": modes if real else round(modes * min(1.0, 0.3 + share("recall"))),
        "class_kl": varied(0.02, "class_kl"),
        "class_agreement": min(1.0, agreement),
        "accuracy": share("accuracy"),
        "accuracy_supervised": share("supervised"),
        "nfe": nfe,
        "latency_ms": varied(nfe + 0.5, "latency", 0.2),
        "gflops_per_sample": nfe * (1 + abs(noise(*entry, "flops"))),
        "parameters": round(1e6 * (2 + noise(*entry, "parameters"))),
        "train_gflops_per_image": 0.01 * (2 + noise(*entry, "parameters")),
        "images": 0 if real else images,
        "train_seconds": 0 if real else 40.0 * done,
        "train_flops": 0 if real else 1e7 * images,
    }
