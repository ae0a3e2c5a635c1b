"""`python -m bench.decide` with real runs: claims, killed on the way."""

import subprocess
import sys
from pathlib import Path

from bench.runs.directory import read_status
from bench.runs.looks import read_look

COMMAND = [
    *(sys.executable, "-m", "bench.decide", "experiment=claims_small"),
    *("sweep=points_gan,points_diffusion,other_real", "dataset=ring8", "hours=1", "seeds=3"),
    *("budget.seconds=null", "budget.images=640", "evaluator.samples=100"),
    *("evaluator.resamples=0", "evaluator.cost_seconds=0"),
]


def test_claims_are_asked_seed_by_seed_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Three seeds cannot settle the claims, so that all of them are run."""
    command = [*COMMAND, f"results_root={tmp_path / 'results'}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as killed:
        assert killed.stderr is not None
        for line in killed.stderr:
            if "✓".encode() in line:  # the first run has ended
                break
        killed.kill()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "results" / "runs" / "ring8"
    made = sorted((run.parts[-3], run.name) for run in runs.glob("*/*/seed=*"))
    trained = [(model, f"seed={k}") for model in ("ddpm_mlp", "mlp_gan_points") for k in range(3)]
    assert made == [*trained, ("real", "seed=0")]
    looks = {}
    for run in runs.glob("*/*/seed=*"):
        status = read_status(run)
        assert status is not None
        assert status.status == "finished"
        looks[run.parts[-3], run.name] = read_look(status.sequential)
    assert all(look is not None for look in looks.values())
    assert "open:" in done.stdout
    assert "claim gan-diversity, test 1, ring8" in done.stdout
    page = tmp_path / "results" / "comparison" / "claims.md"
    assert str(page) in done.stdout
    assert "gan-diversity" in page.read_text(encoding="utf-8")
