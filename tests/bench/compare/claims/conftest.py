"""Runs that claims are judged by."""

import pytest
from synthetic_runs import FLOOR, costs, scores, write_run


@pytest.fixture
def two_models(tmp_path):
    """Five seeds of a GAN whose FID is half the DDPM's, with common ups and downs; the floor."""
    for seed, luck in enumerate((1.0, 1.3, 0.8, 1.1, 0.9)):
        jitter = 1 + seed / 100
        gan = scores(10 * luck * jitter) | costs(1, 0.5)
        ddpm = scores(20 * luck, precision=0.8 + seed / 1e3) | costs(50, 30 + seed)
        write_run(tmp_path, "dcgan_small", seed, {"generator": gan})
        write_run(tmp_path, "ddpm_small", seed, {"ddim-50": ddpm})
    floor = scores(1.0) | {"nfe": 0}
    write_run(tmp_path, "real", 0, {"held-out": floor}, protocol=FLOOR)
    return tmp_path / "runs"
