"""Time and memory of `python -m bench.compare` on many runs, and whether both are linear.

Every stage is a fresh process, on synthetic runs of 10 evaluation points and two samplers each:
reading, reading and all tables, and the whole command line with everything that it writes.
Command: python scripts/benchmarks/compare.py [--runs 250 500 1000] [--seeds 5] [--clock cpu]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import clocks
import numpy as np

from bench.runtime.atomic_files import csv_text
from bench.schema import eval_columns, quality_columns

READ = """
from pathlib import Path
from bench.compare.read import read_runs
read_runs([Path(sys.argv[1])])
"""

TABLES = """
from pathlib import Path
from bench.compare.writers.csv import to_frame
from bench.compare.topics.page import Section
from bench.compare.writers.markdown import page
from bench.compare.read import read_runs
from bench.compare.comparison import compare_runs
comparison = compare_runs(read_runs([Path(sys.argv[1])]))
page("synthetic", [Section(comparison)], "")
to_frame(comparison).to_csv()
"""

COMMAND = """
import contextlib, io
from bench.compare.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main([sys.argv[1], "--out", sys.argv[1] + "_results"])
sys.exit(code) if code else None
"""

MEASURED = """
import sys, time, json
started = {{"wall": time.perf_counter(), "cpu": time.process_time()}}
{program}
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps({{
    "wall": time.perf_counter() - started["wall"],
    "cpu": time.process_time() - started["cpu"],
    "mib": int(peak.split()[1]) / 1024,
}}))
"""
"""A process's own account: imports count, the start of Python does not."""

STAGES = {"read": READ, "tables": TABLES, "command": COMMAND}

MODELS = tuple(
    f"{name}_small"
    for name in (
        *("dcgan", "dcgan_sn", "dcgan_r1", "wgan_gp", "sngan", "cgan", "progan", "r3gan", "sgan"),
        *("ddpm", "ddpm_cosine", "improved_ddpm", "cond_ddpm", "edm", "dit", "simple_unet"),
        *("x0_diffusion", "staged_diffusion", "ddgan", "latent_diffusion", "hybrid", "vae"),
    )
)
"""Names under which claims look for runs; more models than these are variants of them."""

POINTS = 10
"""Evaluation points of a run."""

PROTOCOL = {
    "data_hash": "0123456789abcdef",
    "image_shape": "1x28x28",
    "reference": "train",
    "reference_size": "60000",
    "samples": "2000",
    "extractors": "domain:fedcba98",
    "preprocessing": "domain:none",
    "metric_backend": "bench metrics 1; as torch-fidelity 0.4.0: FID, KID, IS, precision, recall",
    "budget": "seconds=600",
    "precision": "bf16",
    "device": "cpu: Example CPU",
    "threads": "1",
    "processes": "1",
    "recipe": "0a1b2c3d4e5f",
    "torch_version": "2.14",
    "bench_version": "0.1",
    "commit": "abc1234",
    "evaluated_at": "2026-01-01T00:00:00",
}


def write_run(folder: Path, model: int, seed: int, rng: np.random.Generator) -> None:
    """Write a run whose FID falls as a power of its training; models differ in speed and level."""
    name, again = MODELS[model % len(MODELS)], model // len(MODELS)
    variant = f"{again:08x}" if again else "default"
    path = folder / "synthetic" / name / variant / f"seed={seed}"
    path.mkdir(parents=True)
    speed, level = 100 * 1.3 ** (model % len(MODELS)), 8 + model % 7
    rows = []
    for point in range(1, POINTS + 1):
        for steps in (10, 50):
            fid = level * (POINTS / point) ** 0.7 * (1 + 2 / steps) * rng.normal(1, 0.05)
            quality = {c: rng.normal(0.7, 0.05) for c in quality_columns(("domain",))}
            quality["is_domain"] += 7
            cost = {"nfe": steps, "latency_ms": steps * rng.normal(8, 0.5), "parameters": 1e6}
            cost |= {"images_per_second": 2e3 / steps, "gflops_per_sample": 0.1 * steps}
            row = PROTOCOL | {"dataset": "synthetic", "model": name, "variant": variant}
            row |= {"seed": seed, "sampler": f"ddim-{steps}", "weights": "ema"}
            row |= {"checkpoint": point, "checkpoints": POINTS, "step": 100 * point}
            row |= {"train_seconds": 60.0 * point, "images": int(60 * point * speed)}
            row |= {
                "train_flops": 1e10 * point * speed,
                "overrides": f"model.build.width={again}" if again else "",
            }
            row |= quality | {"fid_domain": fid} | (cost if point == POINTS else {})
            rows.append([str(row.get(column, "")) for column in eval_columns(("domain",))])
    (path / "eval.csv").write_text(csv_text(eval_columns(("domain",)), rows), encoding="utf-8")
    status = {"status": "finished", "step": 1000, "command": f"python -m bench model={name}"}
    (path / "status.json").write_text(json.dumps(status), encoding="utf-8")


def measure(stage: str, folder: Path, threads: int) -> dict[str, float]:
    """Run a stage in a process of its own: its seconds by clock, and its peak memory in MiB.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(program=STAGES[stage]), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"stage {stage} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print, one line for each stage and number of runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of every model")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    clocks.add_options(parser)
    options = parser.parse_args()
    print(f"{'runs':>6}  {'stage':<8} {'seconds':>8}  {'ms per run':>10}  {'peak MiB':>8}")
    for runs in options.runs:
        with tempfile.TemporaryDirectory() as temporary:
            folder, rng = Path(temporary) / "runs", np.random.default_rng(0)
            for k in range(runs):
                write_run(folder, k // options.seeds, k % options.seeds, rng)
            for stage in options.stages:
                took = measure(stage, folder, options.threads)
                seconds = took[options.clock]
                print(
                    f"{runs:>6}  {stage:<8} {seconds:>8.2f}  {1e3 * seconds / runs:>10.2f}  "
                    f"{took['mib']:>8.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
