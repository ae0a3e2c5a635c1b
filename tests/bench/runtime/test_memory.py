import sys

import pytest
import torch

from bench.runtime.memory import PeakMemory

CPU = torch.device("cpu")


def test_peak_memory_sees_a_passing_allocation():
    memory = PeakMemory(CPU)
    if memory.mib() is None:
        pytest.skip(f"no resident peak on {sys.platform} here")
    block = torch.ones(64 * 2**18)  # 64 MiB
    del block
    assert 60 < memory.mib() < 100
    assert PeakMemory(CPU).mib() < 30


def test_what_is_excluded_counts_as_there_before():
    def touched(mib: int) -> torch.Tensor:
        return torch.ones(mib * 2**18)

    memory = PeakMemory(CPU)
    if memory.mib() is None:
        pytest.skip("no peak memory here")
    with memory.excluding():
        kept = touched(200)
    assert memory.mib() < 100
    more = touched(150)
    assert 100 < memory.mib() < 250
    assert len(kept) + len(more) > 0
