"""Synthetic runs on disk, and the values of their evaluation rows."""

from pathlib import Path
from typing import Any

from bench.runs.directory import RunDirectory, Status
from bench.schema import eval_columns

PROTOCOL = {
    "data_hash": "0123456789abcdef",
    "train_images": "all",
    "image_shape": "1x8x8",
    "reference": "train",
    "reference_size": 1437,
    "samples": 700,
    "extractors": "domain:fedcba98",
    "preprocessing": "domain:none",
    "metric_backend": "torch-fidelity 0.4.0",
    "budget": "120 s",
    "precision": "fp32",
    "device": "cpu: Example CPU",
    "threads": 2,
    "processes": 1,
}
FLOOR = PROTOCOL | {"budget": "", "precision": "", "device": "", "threads": "", "processes": ""}


POINTS = PROTOCOL | {
    "image_shape": "2",
    "samples": 2500,
    "extractors": "identity:00000000",
    "preprocessing": "identity:none",
}
STACKED = PROTOCOL | {"image_shape": "3x28x28", "samples": 26000}


def scores(
    fid: float, kid: float = 0.002, inception: float = 8.0, precision: float = 0.9
) -> dict[str, Any]:
    """Quality under the domain extractor, as at the last evaluation point."""
    metrics = {
        "fid": fid,
        "kid": kid,
        "is": inception,
        "precision": precision,
        "recall": precision / 2,
        "density": precision * 1.1,
        "coverage": precision - 0.05,
    }
    return {
        **{f"{name}_domain": value for name, value in metrics.items()},
        **{f"{name}_low_domain": 0.96 * value for name, value in metrics.items()},
        **{f"{name}_high_domain": 1.05 * value for name, value in metrics.items()},
        "kid_std_domain": kid / 10,
        "is_std_domain": 0.1,
        "duplicates_domain": 0.012,
        "fid_infinity_domain": 0.9 * fid,
        "authpct_domain": 48.25,
        "nn_ratio_domain": 0.987,
        "mifid_domain": 1.2 * fid,
        "modes": 10,
        "class_kl": 0.0123,
        "class_tv": 0.05,
    }


def mode_scores(modes: int, high_quality: float, reverse_kl: float, fid: float) -> dict[str, Any]:
    """Scores of points on eight modes; no logits, so neither IS nor classes of an extractor."""
    return {
        "fid_identity": fid,
        "kid_identity": fid / 100,
        "kid_std_identity": fid / 1000,
        "precision_identity": 0.7,
        "recall_identity": 0.6,
        "density_identity": 0.8,
        "coverage_identity": 0.75,
        "duplicates_identity": 0.01,
        "modes": modes,
        "class_kl": reverse_kl,
        "class_tv": 0.1,
        "high_quality": high_quality,
        "reverse_kl": reverse_kl,
        "modes_perfect": 8.0,
        "high_quality_perfect": 0.988891,
        "reverse_kl_perfect": 0.00140106,
    }


def stacked_scores(modes: int, reverse_kl: float) -> dict[str, Any]:
    """Scores of stacked digits."""
    return scores(12.0) | {
        "modes": modes,
        "reverse_kl": reverse_kl,
        "modes_perfect": 999.99999,
        "reverse_kl_perfect": 0.0235,
        "classifier_error": 0.0093,
    }


def costs(nfe: int, latency: float) -> dict[str, Any]:
    """What sampling and training cost."""
    return {
        "nfe": nfe,
        "latency_ms": latency,
        "latency_iqr_ms": latency / 20,
        "images_per_second": 1000 / latency,
        "images_per_second_iqr": 1.0,
        "best_batch_size": 64,
        "gflops_per_sample": nfe * 0.00123456,
        "sampling_memory_mib": 12.5,
        "parameters": 1_071_234,
        "train_images_per_second": 1500.0,
        "train_gflops_per_image": 0.0037,
        "train_memory_mib": 200.0,
        "step": 2812,
        "images": 180_000,
        "train_seconds": 120.0,
        "train_flops": 6.6e11,
    }


def write_run(
    folder: Path,
    model: str,
    seed: int,
    rows: dict[str, dict[str, Any]],
    *,
    root: str = "runs",
    dataset: str = "digits",
    variant: str = "default",
    status: Status | None = None,
    protocol: dict[str, Any] = PROTOCOL,
    checkpoint: int = 1,
    checkpoints: int | None = None,
    extractors: tuple[str, ...] = ("domain",),
) -> Path:
    """Write a run below folder: rows={sampler: values}; again with another checkpoint to add it."""
    path = folder / root / dataset / model / variant / f"seed={seed}"
    command = f"python -m bench model={model} dataset={dataset} seed={seed}"
    with RunDirectory(path) as run:
        identity = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
        point = {"checkpoint": checkpoint, "checkpoints": checkpoints or checkpoint}
        common = {**identity, **point, "weights": "ema", "commit": "abc1234", **protocol}
        written = [{**common, "sampler": name, **values} for name, values in rows.items()]
        if written:
            run.append_eval(written, eval_columns(extractors))
        run.write_status(status or Status("finished", step=100, command=command))
    return path
