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
from scripts.claims_error_rates import SAMPLERS as _SAMPLERS

SAMPLERS = {**_SAMPLERS, "meanflow": ["meanflow-1", "meanflow-2", "meanflow-4"]}
"""Samplers of models whose job lists none, by the start of their name; others have "generator"."""

MODES = {"ring8": 8, "grid25": 25, "stacked_digits": 1000}
FEW = PROTOCOL | {"samples": 360}  # so few that their sampling errors matter
PROTOCOLS = {"ring8": POINTS, "grid25": POINTS, "stacked_digits": STACKED}
CURVES = {
    **{("x0_error", 0.1): 0.01, ("x0_error", 0.9): 0.2},
    **{("edit_distance", 0.1): 0.1, ("edit_distance", 1.0): 0.8},
}


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
    """Write all runs of a world, and return the folder that they are in.

    Args:
        folder: where runs/ goes.
        world: its name, which every number depends on.
        spread: of log FID over seeds, about.
        bad: share of the runs that collapse; a third as many fail.
        without: a model whose runs are left out.
    """
    variants: dict[tuple[str, str], dict[str, int]] = {}
    for job in jobs("claims_small"):
        settings = {"seed": "0"} | dict(word.lstrip("+").split("=", 1) for word in job)
        model, seed, size = (settings.get(k, "") for k in ("model", "seed", "dataset.image_size"))
        named = settings.get("dataset.name", settings["dataset"])
        dataset = f"{settings['dataset']}_{size}" if size else named
        changes = " ".join(word for word in job if word.lstrip("+").startswith("model."))
        counted = variants.setdefault((dataset, model), {})
        variant = str(counted.setdefault(changes, len(counted)))  # settings may be renamed
        key = (world, dataset, model, variant, seed)
        if model != without:
            path = folder / "runs" / dataset / model / variant / f"seed={seed}"
            path.mkdir(parents=True)
            failed = model != "real" and noise(*key, "fails") > 1 - 2 * bad / 3
            if not failed:
                _write_scores(path, key, settings, {"overrides": changes}, spread, bad)
            status = {"status": "failed" if failed else "finished", "step": 100}
            status["command"] = shlex.join(["python", "-m", "bench", *job])
            (path / "status.json").write_text(json.dumps(status))
    return folder / "runs"


def _write_scores(
    path: Path,
    key: tuple[str, ...],
    settings: dict[str, str],
    common: dict[str, Any],
    spread: float,
    bad: float,
) -> None:
    """Write eval.csv, and curves.csv of a class-conditional model."""
    _, dataset, model, variant, seed = key
    listed = settings.get("model.build.samplers", "").strip("[]")
    own = next((names for start, names in SAMPLERS.items() if model.startswith(start)), None)
    points, real = int(settings.get("budget.checkpoints", "1")), model == "real"
    extractor = "identity" if MODES.get(dataset, 100) < 100 else "domain"
    common |= PROTOCOLS.get(dataset, FEW) | {k: "" for k, v in FLOOR.items() if real and not v}
    common |= {"train_images": settings.get("dataset.train_images", "all")}
    common |= {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
    common |= {"weights": "ema", "checkpoints": points}
    columns, rows = tuple(eval_columns((extractor,))), []
    for k in range(1, points + 1):
        collapsed = k == points and not real and noise(*key, "collapses") > 1 - 2 * bad
        common |= {"checkpoint": k, "warning": "only 1 of 10 modes" if collapsed else ""}
        for sampler in listed.split(",") if listed else own or ["generator"]:
            values = _values(key, sampler, spread, k / points, MODES.get(dataset, 10))
            values |= {f"{name}_{extractor}": value for name, value in values.items()}
            row = values | common | {"sampler": sampler}
            rows.append([str(row.get(column, "")) for column in columns])
    (path / "eval.csv").write_text(csv_text(columns, rows), encoding="utf-8")
    if model == "cond_ddpm_small":
        lines = ["curve,x,mean,standard_error,samples"]
        for (curve, x), y in CURVES.items():
            y *= math.exp(spread * noise(*key, curve, x))
            lines.append(f"{curve},{x},{y:.7g},0.01,100")
        (path / "curves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _values(
    key: tuple[str, ...], sampler: str, spread: float, done: float, modes: int
) -> dict[str, Any]:
    """The measurements of one row, at a share of the budget."""
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
    agreement = 0.6 + 0.3 * ("cfg4" in sampler) + spread * noise(*key, sampler)
    images = round(varied(5e4, "images", 0.1) * done)
    scores = ("precision", "recall", "density", "coverage", "accuracy", "accuracy_supervised")
    return {
        **{name: share(name) for name in scores},
        "fid": varied(level, "fid") * (1 + (1 - done) * (2 + noise(*key, "speed", f"{done:.2f}"))),
        "duplicates": varied(0.01, "copies"),
        "nearest_trained": 0.8 + 0.1 * noise(*key, "nn"),
        "nearest_trained_expected": 0.8,
        "nearest_trained_error": 0.03,
        "modes": modes if real else round(modes * min(1.0, 0.3 + share("recall"))),
        "class_kl": varied(0.02, "class_kl"),
        "conditional_accuracy": min(1.0, agreement),
        "nfe": nfe,
        "latency_ms": varied(nfe + 0.5, "latency", 0.2),
        "gflops_per_sample": nfe * (1 + abs(noise(*entry, "flops"))),
        "parameters": round(1e6 * (2 + noise(*entry, "parameters"))),
        "train_gflops_per_image": 0.01 * (2 + noise(*entry, "parameters")),
        "images": 0 if real else images,
        "train_seconds": 0 if real else 40.0 * done,
        "train_flops": 0 if real else 1e7 * images,
    }
