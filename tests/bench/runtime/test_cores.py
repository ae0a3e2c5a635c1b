"""bench.runtime.cores: limits of control groups, and threads that wait for a core."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.runtime import cores as module
from bench.runtime.cores import CoreMeter, cores, quota, waits


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {}, math.inf),
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
        ("0::/a", {"a/cpu.max": "max 100000\n"}, math.inf),
        ("3:cpu,cpuacct:/d/x", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),  # noqa: E501
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("no control group", {}, math.inf),
    ],
)  # fmt: skip
def test_the_strictest_control_group_limits_cpu_time(tmp_path, own, files, expected):
    write(tmp_path / "proc" / "cgroup", f"{own}\n")
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert quota(tmp_path / "proc", tmp_path / "groups") == expected


@pytest.mark.parametrize(("limit", "expected"), [(0.3, 1), (1.9, 1), (math.inf, 3), (2.0, 2)])
def test_cores_are_those_of_the_limit_if_it_is_lower(monkeypatch, limit, expected):
    monkeypatch.setattr(module, "quota", lambda: limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert cores() == expected


def test_a_kernel_that_does_not_count_is_no_kernel_without_waiting(tmp_path):
    write(tmp_path / "7" / "schedstat", "0 0 0\n")
    assert waits(tmp_path) == {}
    write(tmp_path / "8" / "schedstat", "1000 2000000000 3\n")
    assert waits(tmp_path) == {"7": 0.0, "8": 2.0}
    assert waits(tmp_path / "none") == {}


def test_the_meter_adds_what_threads_wait_and_leaves_out_what_it_is_told_to(monkeypatch):
    readings = iter([{"a": 1.0}, {"a": 3.0, "b": 0.5}, {"a": 10.0, "b": 9.0}, {"b": 9.25}])
    monkeypatch.setattr(module, "waits", lambda: next(readings))
    meter = CoreMeter()
    meter.start()
    with meter.stopped():  # 2 s of a, 0.5 s of the new b before it; what is inside does not count
        pass
    meter.stop()  # a has ended
    assert meter.waiting == pytest.approx(2.5 + 0.25)
    with meter.stopped():  # it is not measuring
        pass
    assert meter.waiting == pytest.approx(2.75)
    readings = iter([{}, {}])
    meter.start()
    meter.stop()
    assert math.isnan(meter.waiting)


SPIN = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
print("spinning", flush=True)
end = time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end:
    pass
"""


@pytest.mark.skipif(not waits(), reason="this kernel does not count waiting")
def test_a_process_that_shares_its_core_waits_for_half_of_the_time():
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    command = [sys.executable, "-c", SPIN, str(core), "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "spinning\n"
            os.sched_setaffinity(0, {core})
            meter = CoreMeter()
            meter.start()
            end = time.perf_counter() + 1.5
            while time.perf_counter() < end:
                pass
            meter.stop()
        finally:
            os.sched_setaffinity(0, allowed)
            other.kill()
    assert meter.waiting > 0.3 * 1.5
    assert meter.cpu + meter.waiting == pytest.approx(1.5, abs=0.4)
