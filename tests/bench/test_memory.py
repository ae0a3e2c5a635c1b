import sys

import pytest
import torch

from bench.memory import PeakMemory

CPU = torch.device("cpu")


def test_peak_memory_sees_a_passing_allocation():
    memory = PeakMemory(CPU)
    if memory.mib() is None:
        pytest.skip(f"no resident peak on {sys.platform} here")
    block = torch.ones(64 * 2**18)  # 64 MiB
    del block
    assert 60 < memory.mib() < 100
    assert PeakMemory(CPU).mib() < 30
