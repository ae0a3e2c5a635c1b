"""Precision by machine; the allocator keeps freed memory for the next tensor, if it can."""

import platform
import subprocess
import sys

import pytest
import torch

from bench.runtime import device as machine
from bench.runtime.device import autocast, keep_freed_memory, lists_bf16, resolve_precision

GLIBC = platform.libc_ver()[0] == "glibc"
SIZE_MIB, ROUNDS = 50, 40

PROGRAM = f"""
import sys
from array import array

import torch
from bench.runtime.device import keep_freed_memory

def resident_mib():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

if sys.argv[1] == "keep":
    keep_freed_memory()
# What is noted down takes no memory while it is measured.
grown, addresses = array("d", [0.0] * {2 * ROUNDS}), array("q", [0] * {ROUNDS})
before = [resident_mib() for _ in range(3)][-1]
for k in range({ROUNDS}):
    x = torch.ones({SIZE_MIB} * 2**18)
    addresses[k] = x.data_ptr()
    grown[2 * k] = resident_mib() - before
    del x
    grown[2 * k + 1] = resident_mib() - before
print(len(set(addresses)), *grown)
"""


def rounds(mode: str) -> tuple[int, list[float], list[float]]:
    """Tensors made and freed in turn.

    Returns:
        The number of addresses that they had, and the MiB more than at first with each of them and
        after it was freed.
    """
    command = [sys.executable, "-c", PROGRAM, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    addresses, *grown = done.stdout.split()
    return int(addresses), [float(word) for word in grown[::2]], [float(x) for x in grown[1::2]]


@pytest.mark.skipif(not GLIBC, reason="another allocator than glibc's")
def test_freed_pages_stay_and_are_used_again():
    """Not always at once: up to glibc 2.37, a freed tensor is too small for one as large."""
    addresses, filled, freed = rounds("keep")
    assert filled[0] == pytest.approx(SIZE_MIB, rel=0.1)
    assert freed == pytest.approx(filled, rel=0.02)
    assert addresses < ROUNDS / 2
    assert filled[-1] == filled[ROUNDS // 2]  # nothing new is needed any more


@pytest.mark.skipif(not GLIBC, reason="another allocator than glibc's")
def test_freed_pages_are_given_back_otherwise():
    """Shows that the test above can fail."""
    _, filled, freed = rounds("default")
    assert filled[0] == pytest.approx(SIZE_MIB, rel=0.1)
    assert max(freed) < 0.1 * SIZE_MIB


class Library:
    """A C library without malloc's options."""


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_other_allocators_are_left_alone(monkeypatch, system):
    def load(name: str | None) -> Library:
        assert system == "linux", "no C library is looked for elsewhere"
        return Library()

    monkeypatch.setattr("bench.runtime.device.sys.platform", system)
    monkeypatch.setattr("bench.runtime.device.ctypes.CDLL", load)
    keep_freed_memory()


@pytest.mark.parametrize(
    ("cpuinfo", "has_units"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd i8mm bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("model name\t: avx512_bf16\nflags\t\t: fpu\n", False),
        ("", False),
    ],
    ids=["AVX-512", "AMX", "Arm", "older", "only its name", "nothing listed"],
)
def test_units_for_bf16_are_listed_by_the_processor(cpuinfo, has_units):
    assert lists_bf16(cpuinfo) is has_units


@pytest.mark.parametrize(
    ("asked", "has_units", "precision"),
    [
        ("auto", True, "bf16"),
        ("auto", False, "fp32"),
        ("bf16", True, "bf16"),
        ("bf16", False, "fp32"),
        ("fp32", True, "fp32"),
        ("fp32", False, "fp32"),
    ],
)
def test_precision_is_what_the_machine_has_units_for(monkeypatch, asked, has_units, precision):
    monkeypatch.setattr(machine, "computes_bf16", lambda device: has_units)
    found, said = resolve_precision(asked, torch.device("cpu"))
    assert found == precision
    falls_back = asked == "bf16" and precision == "fp32"
    sentence = "precision=bf16, but this cpu has no units for bf16: computing in fp32"
    assert said == (sentence if falls_back else "")


def test_a_precision_that_is_not_decided_yet_computes_nothing():
    with pytest.raises(ValueError, match="must be fp32 or bf16 here, got 'auto'"):
        autocast(torch.device("cpu"), "auto")
