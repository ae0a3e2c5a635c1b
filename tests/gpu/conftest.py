"""Tests that compare a device with the CPU: marked gpu on CUDA, a self-test of them on the CPU.

A test that takes `device` exists twice. That on the CPU runs wherever the others do, for the models
of `QUICK` alone unless slow tests are asked for; what it cannot see is named in docs/gpu.md.
"""

import json
from pathlib import Path

import pytest
import torch

import conf
from bench.runtime.device import choose_device

QUICK = ("dcgan_small", "ddpm_small", "ddpm_mlp")
POINTS = ("ddpm_mlp", "mlp_gan_points")
MODELS = sorted(
    {file.stem for file in (Path(conf.__file__).parent / "model").glob("*_small.yaml")}
    | {"mlp_gan", *POINTS}
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every device, and every model where a test asks for a model that is trained."""
    if "device" not in metafunc.fixturenames:
        return
    slow = metafunc.definition.get_closest_marker("slow_on_cpu") is not None
    cpu = [pytest.mark.slow] if slow else []
    if "name" not in metafunc.fixturenames:
        values = [pytest.param("cpu", marks=cpu), pytest.param("cuda", marks=pytest.mark.gpu)]
        metafunc.parametrize("device", values, indirect=True)
        return
    pairs = []
    for name in MODELS:
        own = cpu if name in QUICK else [pytest.mark.slow]
        pairs += [
            pytest.param(name, "cpu", marks=own, id=f"{name}-cpu"),
            pytest.param(name, "cuda", marks=pytest.mark.gpu, id=f"{name}-cuda"),
        ]
    metafunc.parametrize(("name", "device"), pairs, indirect=["device"])


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device to compare with the CPU, in float32 without TF32."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return choose_device(request.param)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, help="file for the outcomes of tests, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow_on_cpu: its self-test on the CPU is slow")
    file = config.getoption("--outcomes", None)
    if file is not None and not hasattr(config, "workerinput"):  # not in workers of pytest-xdist
        config.pluginmanager.register(Outcomes(file), "outcomes")


class Outcomes:
    """Writes the outcome of each test as soon as it is known: a run may be cut short."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write what was skipped or failed in any stage, and what passed."""
        if report.when != "call" and report.passed:
            return
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = str(crash.message if crash else report.longrepr)
        row = {
            "test": report.nodeid,
            "outcome": report.outcome,
            "seconds": report.duration,
            "said": said.splitlines()[0] if said else "",
        }
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
