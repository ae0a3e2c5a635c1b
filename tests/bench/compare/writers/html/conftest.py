"""A report of synthetic runs whose commands, reasons and warnings are hostile, and a browser."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_runs import FLOOR, costs, scores, write_run

from bench.compare.cli import main
from bench.runs.directory import Status

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
"""Does something that a test sees, wherever it is not escaped."""

MODELS = ("dcgan_small", "mlp_gan", "wgan_gp_small", "ddpm_small", "cond_ddpm_small")
SEEDS = range(3)
CHECKPOINTS = 3


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The page of three seeds of five models, evaluated at three points, and of a failed run."""
    folder = tmp_path_factory.mktemp("report")
    make_run = partial(write_run, folder)
    for k, model in enumerate(MODELS):
        for seed in SEEDS:
            for checkpoint in range(1, CHECKPOINTS + 1):
                path = make_run(
                    model,
                    seed,
                    rows(k, seed, checkpoint),
                    checkpoint=checkpoint,
                    checkpoints=CHECKPOINTS,
                    status=Status("finished", step=100, command=f"python -m bench {HOSTILE}"),
                )
            draw_samples(path, k, seed)
    floor = scores(0.912, 0.0001, 9.8, 0.97) | {"nfe": 0, "images": 0, "train_seconds": 0.0}
    make_run("real", 0, {"held-out": floor}, protocol=FLOOR)
    make_run("ddpm", 0, {}, status=Status("failed", HOSTILE, step=7, command=HOSTILE))
    out = folder / "out"
    assert main([str(folder / "runs"), "--out", str(out)]) == 0
    return out / "report" / "index.html"


def rows(k: int, seed: int, checkpoint: int) -> dict[str, dict]:
    """One evaluation point of a GAN, or of a diffusion model with two samplers."""
    done = checkpoint / CHECKPOINTS
    spent = {"images": 180_000 * done, "train_seconds": 120 * done, "train_flops": 6.6e11 * done}
    fid = (20 - 3 * k) * (1 + seed / 40) / done**0.5
    if not MODELS[k].endswith("ddpm_small"):
        text = {"warning": HOSTILE} if k == 0 else {}
        return {"generator": scores(fid) | costs(1, 0.5) | spent | text}
    fast = scores(1.3 * fid) | costs(10, 6.0 + k) | spent
    return {"ddim-50": scores(fid) | costs(50, 30.0 + k) | spent, "ddim-10": fast}


def draw_samples(run: Path, k: int, seed: int) -> None:
    """Pictures of samples, one of them damaged."""
    noise = np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8)
    folder = run / "samples"
    folder.mkdir(exist_ok=True)
    for name in ["generator"] if k < 3 else ["ddim-50", "ddim-10"]:
        for kind in ("", "_trajectory"):
            Image.fromarray(noise).save(folder / f"checkpoint={CHECKPOINTS}_{name}{kind}.png")
    if k == 1:
        (folder / f"checkpoint={CHECKPOINTS}_generator.png").write_bytes(b"not a picture")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium of the system's packages, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield made
        made.close()
