"""Where numba keeps compiled loops, and where it cannot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.layers import small_batches

ROOT = Path(__file__).resolve().parents[3]

USE = """
import torch
from models.layers import kernels
from models.layers.norms import RELU, BatchNorm2d
print(kernels.available(), flush=True)
print(BatchNorm2d(2, activation=RELU)(torch.ones(2, 2, 1, 2)).sum().item())
"""


def test_where_nothing_can_be_kept_kernels_are_compiled_in_memory_and_it_is_said_once(
    tmp_path,
):
    """The package, home and NUMBA_CACHE_DIR cannot be written, not even by root."""
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=lambda *_: ["__pycache__"])
    (tmp_path / "models" / "layers" / "__pycache__").touch()  # no folder
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "NUMBA_CACHE_DIR": "/dev/null/a"}
    made = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, **nowhere, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == ["True", "0.0"]
    assert made.stderr.count("NUMBA_CACHE_DIR") == 1
    assert "every process compiles its kernels anew" in made.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["convolution", "group_norm"])
def test_kernels_close_over_numbers_only_so_that_other_processes_find_them(
    kernel, dtype, monkeypatch
):
    """Numba's key is a pickle of the closure, and compiled functions have another in each process.

    With one in it every process compiles the kernel anew and leaves one more file.
    """
    functions = []

    def remember(*_, **__):
        return lambda function: functions.append(function) or SimpleNamespace(ctypes=None)

    monkeypatch.setattr(small_batches, "cfunc", remember)
    getattr(small_batches, kernel).__wrapped__(dtype)
    (function,) = functions
    assert function.__closure__
    for cell in function.__closure__:
        assert isinstance(cell.cell_contents, int | np.number)
