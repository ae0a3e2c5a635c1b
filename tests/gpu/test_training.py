"""Training on the device: resumption, bf16, several processes, no waiting, kernels and costs."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import in_process
import pytest
import torch
from small_models import built, trainer_of
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.cost.measure import sampling_cost, synchronize
from bench.runtime.device import choose_device, to_device
from bench.runtime.isolation import evaluating
from bench.runtime.memory import PeakMemory
from bench.training.callbacks import SilentObserver
from bench.training.trainer import Trainer
from models.base import GenerativeModel, Sampler

WORKER = Path(__file__).parents[1] / "support" / "distributed_worker.py"
ROOT = Path(__file__).parents[2]


def weights_of(trainer: Trainer) -> Tensor:
    """All floating-point weights and buffers, trained and averaged, as one vector on the CPU."""
    tensors = [t for m in (trainer.model, trainer.evaluated) for t in m.state_dict().values()]
    return torch.cat(
        [t.detach().double().flatten().cpu() for t in tensors if t.is_floating_point()]
    )


class KilledError(Exception):
    pass


class Killer(SilentObserver):
    """Ends training after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step(self) -> None:
        self.left -= 1
        if not self.left:
            raise KilledError


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.slow_on_cpu
def test_a_killed_run_ends_as_an_undisturbed_one(
    device: torch.device, precision: str, tmp_path: Path
) -> None:
    """Exactly, or as differently as two undisturbed runs end where the device's sums are not
    reproducible.
    """
    for name in ("dcgan_small", "ddpm_small", "latent_diffusion_small"):

        def trainer(folder: str, name: str = name) -> Trainer:
            place = tmp_path / name / folder
            every = {"precision": precision, "checkpoint_seconds": 0.0}
            return trainer_of(name, device, place, steps=6, **every)

        ends = []
        for folder in ("whole", "again"):
            whole = trainer(folder)
            whole.fit(SilentObserver())
            ends.append(weights_of(whole))
        with pytest.raises(KilledError):
            trainer("killed").fit(Killer(4))
        torch.rand(3, device=device)  # the resumed process has another random state
        resumed = trainer("killed")
        resumed.resume()
        assert 0 < resumed.spent.step < 6
        resumed.fit(SilentObserver())
        assert resumed.spent.step == 6
        repeated = float((ends[0] - ends[1]).norm())
        difference = float((ends[0] - weights_of(resumed)).norm())
        size = float(ends[0].norm())
        assert difference <= 10 * repeated + (1e-4 * size if device.type == "cuda" else 0.0), name
        assert repeated <= 1e-2 * size, name


@pytest.mark.slow_on_cpu
def test_a_checkpoint_of_the_device_is_read_on_the_cpu(
    device: torch.device, tmp_path: Path
) -> None:
    trained = trainer_of("ddpm_small", device, tmp_path, steps=2)
    trained.fit(SilentObserver())
    read = trainer_of("ddpm_small", torch.device("cpu"), tmp_path, steps=2)
    read.resume()
    assert read.spent.step == 2
    assert torch.equal(weights_of(read), weights_of(trained))


@pytest.mark.slow_on_cpu
def test_bf16_trains(device: torch.device, tmp_path: Path) -> None:
    """The denoiser's error on one batch falls by a third in 40 steps; weights stay float32."""
    trainer = trainer_of("ddpm_small", device, tmp_path, steps=40, precision="bf16", batch_size=32)
    batch = trainer.batch(0)

    def error() -> float:
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            return float(sum(trainer.model.denoiser_loss(batch)["loss"] for _ in range(8)))

    before = error()
    trainer.fit(SilentObserver())
    assert error() < before / 1.5
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}


class Reads(TorchDispatchMode):
    """Counts what reads a value from a tensor, for which a device has to be waited for."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name.removeprefix("aten::") in self.WAITS:
            self.seen.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@contextmanager
def waiting_is_an_error(device: torch.device) -> Iterator[None]:
    """On CUDA, raise where something waits for the device."""
    if device.type != "cuda":
        yield
        return
    synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_steps_between_logs_do_not_wait_for_the_device(
    name: str, device: torch.device, tmp_path: Path
) -> None:
    trainer = trainer_of(name, device, tmp_path, steps=100)
    if name.startswith("progan"):
        pytest.skip("its networks grow with model.progress, which it reads from the device")
    for _ in range(2):  # what is made once
        trainer.step()
    for _ in range(2):
        with waiting_is_an_error(device):
            with Reads() as reads:
                trainer.step()
            trainer._agree_on_seconds()  # the least of all ranks, from a tensor of the CPU
        assert reads.seen == []


def test_reading_a_value_is_found(device: torch.device) -> None:
    x = torch.ones(3, device=device)
    with Reads() as reads:
        x.sum().item()
    assert reads.seen == ["aten::_local_scalar_dense"]
    if device.type == "cuda":
        with pytest.raises(RuntimeError, match="synchroniz"), waiting_is_an_error(device):
            x.sum().item()


def test_copies_to_the_device_keep_values_and_layout(device: torch.device) -> None:
    x = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with waiting_is_an_error(device):
        copy = to_device(x, device)
    assert copy.device == device or device.type == "cpu"
    assert copy.stride() == x.stride()
    assert torch.equal(copy.cpu(), x)


class OwnOperators(TorchDispatchMode):
    """Operators that the bench brought along."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "bench":
            self.seen.add(func._schema.name)
        return func(*args, **(kwargs or {}))


def test_kernels_for_cpus_are_used_there_only(device: torch.device, tmp_path: Path) -> None:
    network = nn.Conv2d(96, 96, 3, padding=1).to(device)
    with evaluating(Around(network)), OwnOperators() as own:
        network(torch.zeros(1, 96, 32, 32, device=device))
    assert own.seen == ({"bench::winograd"} if device.type == "cpu" else set())
    if device.type == "cuda":
        for name in ("dcgan_small", "ddpm_small"):
            model = built(name, device)
            sampler = min(model.samplers.values(), key=lambda sampler: sampler.nfe or 0)
            with OwnOperators() as own:
                trainer_of(name, device, tmp_path / name).step()
                with evaluating(model):
                    sampler.generate(2, torch.Generator(device), None)
            assert own.seen == set()


class Around(GenerativeModel):
    """A model around one network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__((1, 8, 8))
        self.network = network
        self.to(next(network.parameters(), torch.empty(0)).device)

    @property
    def samplers(self) -> dict[str, Sampler]:
        def generate(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
            return self.network(torch.zeros(n, 1, 8, 8, device=generator.device))

        return {"one": Sampler(generate, {self.network: 1})}


class Busy(nn.Module):
    """Keeps the device busy for a known time, without the caller waiting for it."""

    def __init__(self, cycles: int) -> None:
        super().__init__()
        self.cycles = cycles
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            torch.cuda._sleep(self.cycles)
        else:
            time.sleep(0.02)
        return x + self.weight


def test_latency_includes_what_the_device_still_has_to_do(device: torch.device) -> None:
    cycles, expected_ms = 10_000_000, 20.0
    if device.type == "cuda":
        torch.cuda._sleep(cycles)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.cuda._sleep(cycles)
        end.record()
        synchronize(device)
        expected_ms = start.elapsed_time(end)
    model = Around(Busy(cycles).to(device))
    cost = sampling_cost(model, model.samplers["one"], seconds=0.5, device=device)
    assert cost.latency_ms is not None
    assert expected_ms * 0.8 <= cost.latency_ms
    if device.type == "cuda":
        assert cost.latency_ms <= 1.5 * expected_ms + 2
    assert cost.images_per_second is not None
    assert cost.images_per_second >= 1000 / cost.latency_ms / 2


def test_peak_memory_of_the_device_is_counted(device: torch.device) -> None:
    memory = PeakMemory(device)
    if memory.mib() is None:
        pytest.skip("this system does not count a CPU's peak")
    x = torch.ones(64, 2**18, device=device)  # 64 MiB
    del x
    counted = memory.mib()
    assert counted is not None
    assert counted >= 63
    if device.type == "cuda":
        assert counted <= 70


@pytest.mark.parametrize("model", ["dcgan_small", "ddpm_small"])
@pytest.mark.slow_on_cpu
def test_a_run_fills_the_columns_of_cost(device: torch.device, model: str, tmp_path: Path) -> None:
    in_process.bench(
        f"model={model}",
        "dataset=digits",
        f"device={device.type}",
        "precision=bf16",
        "budget.images=1024",
        "evaluator.samples=200",
        "evaluator.cost_seconds=1",
        f"results_root={tmp_path}",
        f"cache_root={tmp_path}/cache",
    )
    (file,) = tmp_path.rglob("eval.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["latency_ms"]]
    assert rows
    for row in rows:
        columns = ("latency_ms", "images_per_second", "gflops_per_sample", "train_flops")
        columns += ("sampling_memory_mib", "train_memory_mib", "fid_domain")
        assert {column: float(row[column]) > 0 for column in columns} == dict.fromkeys(
            columns, True
        )
        if device.type == "cuda":
            assert row["device"] == torch.cuda.get_device_name()


@pytest.mark.slow_on_cpu
def test_two_processes_take_the_steps_of_one(device: torch.device, tmp_path: Path) -> None:
    """With nccl where there are two GPUs, with gloo where both share one."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ends = []
    for launch, name in (([sys.executable], "one.pt"), (launcher, "two.pt")):
        file = tmp_path / name
        subprocess.run(
            [*launch, str(WORKER), str(file), device.type],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=True,
            timeout=180,
        )
        ends.append(torch.load(file, map_location="cpu"))
    one, two = ends
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
def test_a_compiled_loss_is_that_of_eager_mode(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    from torch._inductor import config

    trainer = trainer_of("ddpm_small", choose_device("cuda"), tmp_path)
    batch, loss = trainer.batch(0), trainer.model.denoiser_loss
    losses = []
    with config.patch(fallback_random=True):  # else compiled code has a generator of its own
        for function in (loss, torch.compile(loss)):
            torch.manual_seed(0)
            losses.append(float(function(batch)["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
