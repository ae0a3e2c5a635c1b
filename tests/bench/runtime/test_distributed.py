"""Two processes under torchrun equal one process with the joint batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "support" / "distributed_worker.py"


def train(out: Path, world: int, *more: str) -> dict[str, torch.Tensor]:
    launcher = [sys.executable]
    if world > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    command = [*launcher, str(SCRIPT), str(out), *more]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return torch.load(out, weights_only=True)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_ranks_give_the_gradients_and_the_sums_of_the_joint_batch(tmp_path: Path) -> None:
    one = train(tmp_path / "one.pt", 1)
    for more in ((), ("cpu", "4")):  # each rank's share at once, and in four parts
        two = train(tmp_path / "two.pt", 2, *more)
        assert one.keys() == two.keys()
        assert one["kept.value"][1] == two["kept.value"][1] == 48
        for name, gradient in one.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(two[name], gradient, rtol=1e-6, atol=1e-6)
