"""`bench.load`: samples of a recorded run in a process that stays as it was."""

import contextlib
import copy
import doctest
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from in_process import bench, compose

from bench import load
from bench.data.dataset import Scale
from bench.errors import RunError
from bench.evaluation.options import EvaluatorOptions
from bench.export import main as export
from bench.runs import loaded
from bench.runs.data_record import DataRecord
from bench.runs.directory import RunDirectory
from bench.runs.loaded import LoadedModel
from bench.runs.reload import RecordedRun
from models.base import DataSpec, GenerativeModel

ROOT = Path(__file__).resolve().parents[3]
RUN = Path("results/runs/digits/ddpm_small/default/seed=0")
TINY = (
    "dataset=digits",
    "evaluator.samples=60",
    "evaluator.batch_size=24",
    "evaluator.cost_seconds=0",
    "evaluator.resamples=0",
    "threads=1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results/ of `python -m bench model=ddpm_small`, as small as it can be."""
    folder = tmp_path_factory.mktemp("place")
    tiny = (*TINY, "budget.images=256", f"results_root={folder}/results")
    made = bench("model=ddpm_small", *tiny).directory
    made.parent.rename(made.parent.with_name("default"))
    return folder


@pytest.fixture(scope="module")
def ddpm(place: Path) -> LoadedModel:
    return load(place / RUN, device="cpu")


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of a GAN."""
    root = f"results_root={tmp_path_factory.mktemp('results')}"
    return bench("model=mlp_gan", "budget.images=640", *TINY, root).directory


def of_recipe(name: str, shape: tuple[int, ...], classes: int = 0, **options: Any) -> LoadedModel:
    """A model with initial weights, as if it were that of a run."""
    names = tuple(f"class {k}" for k in range(classes))
    low, high = ((3.0,) * shape[0], (5.0,) * shape[0]) if len(shape) == 2 else (None, None)
    data = DataRecord("data", "0" * 16, shape, names, None, low, high, None, 100, 50)
    build = compose(f"model={name}").model.build
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: GenerativeModel = instantiate(build, _convert_="all")(data.spec(unread))
    given = EvaluatorOptions(**{"samples": 20, "batch_size": 8} | options)
    return LoadedModel(RecordedRun(f"data/{name}/default/seed=0", data, model, "raw", 3, given))


def unread() -> DataSpec:
    raise AssertionError("the data set was not to be read")


def test_the_documented_example_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    (example,) = doctest.DocTestFinder(recurse=False).find(loaded.load, globs={})
    assert len(example.examples) == 5
    runner = doctest.DocTestRunner()
    assert runner.run(example).failed == 0


def test_the_example_of_the_readme_runs(place, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use the model")[2]
    (code,) = re.findall(r"```python\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["images"].shape == (64, 8, 8, 1)
    assert len(names["scored"]) == 60
    assert "('dpmpp-10',)" in capsys.readouterr().out


def test_importing_bench_is_light():
    program = "import sys, bench; sys.exit(bool({'torch', 'hydra', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60).returncode == 0


def test_loading_imports_nothing_that_only_training_and_scoring_need(gan):
    heavy = ("scipy", "sklearn", "torchvision", "pandas", "numba", "wandb", "bench.build")
    program = (
        "import sys\nfrom bench import load\nload(sys.argv[1], 'cpu')\n"
        f"print(sorted({set(heavy)} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program, str(gan)]
    done = subprocess.run(command, cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_what_it_is_can_be_read(ddpm):
    assert repr(ddpm) == (
        "<digits/ddpm_small/default/seed=0: 8x8x1 images, samplers dpmpp-10; ema weights of step "
        "8, on cpu>"
    )
    assert ddpm.samplers == ("dpmpp-10",)
    assert ddpm.shape == (8, 8, 1)
    assert ddpm.device == torch.device("cpu")
    assert ddpm.scored == 60
    assert ddpm.classes == ()
    assert (ddpm.weights, ddpm.step, ddpm.seed) == ("ema", 8, 0)


def test_the_default_samples_are_those_that_are_exported_and_scored(ddpm, place, tmp_path):
    out = tmp_path / "out.npy"
    assert export([str(place / RUN), "--device", "cpu", "--out", str(out)]) == 0
    samples = ddpm.sample()
    assert samples.shape == (60, 8, 8, 1)
    assert np.array_equal(np.load(out), samples)
    assert np.array_equal(ddpm.sample(70)[:60], samples)
    assert np.array_equal(ddpm.sample(48), samples[:48])  # two whole batches
    first = np.concatenate(list(ddpm.batches(30)))
    assert np.array_equal(first, samples[:30])  # where the last batch is generated as a whole
    assert np.array_equal(ddpm.sample(60, "dpmpp-10", seed=0, batch_size=24), samples)


def test_seeds_decide_on_the_samples(ddpm):
    one, again, other = ddpm.sample(3, seed=1), ddpm.sample(3, seed=1), ddpm.sample(3, seed=2)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.flags.writeable


def test_samplers_that_were_not_scored_can_be_named(ddpm, place, tmp_path):
    """Those whose names say what they are."""
    assert ddpm.nfe() == 10
    assert ddpm.nfe("ddim-5") == 5
    (network,) = ddpm.module.samplers["dpmpp-10"].calls or {}
    calls = []
    hook = network.register_forward_pre_hook(lambda *_: calls.append(1))
    ddpm.sample(3, "ddim-5")
    hook.remove()
    assert len(calls) == 5
    assert ddpm.samplers == ("dpmpp-10",)
    out = tmp_path / "out.npy"
    options = ["--device", "cpu", "--sampler", "ddim-2", "--samples", "60"]
    assert export([str(place / RUN), "--out", str(out), *options]) == 0
    assert np.array_equal(np.load(out), ddpm.sample(60, "ddim-2"))
    for name in ("dpmp-10", "ddim-5-cfg2", "ddim-100000"):
        assert refused(lambda name=name: ddpm.sample(1, name)).startswith(
            f"{name!r} is no sampler of digits/ddpm_small/default/seed=0: "
        )
    assert "did you mean dpmpp-10? There is dpmpp-10" in refused(lambda: ddpm.sample(1, "dpmp-10"))
    assert refused(lambda: ddpm.sample(1, "ddim-100000")).endswith(": take at most 1000 steps")
    assert "leave out -cfg" in refused(lambda: ddpm.sample(1, "ddim-5-cfg2"))


def test_batches_bound_what_is_generated_at_once(monkeypatch):
    model = of_recipe("mlp_gan", (1, 8, 8))
    sizes = []
    network = model.module.samplers["generator"].calls
    assert network is not None
    (generator,) = network
    generator.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    assert len(model.sample(10, batch_size=4)) == 10
    assert sizes == [4, 4, 2]
    sizes.clear()
    assert len(model.sample(1)) == 1
    assert sizes == [1]


@pytest.mark.parametrize(
    ("name", "shape", "kind", "dtype"),
    [
        ("mlp_gan", (3, 8, 16), (8, 16, 3), np.uint8),
        ("mlp_gan_points", (2,), (2,), np.float32),
        ("dcgan_small", (2, 24), (2, 24), np.float64),
    ],
)
def test_samples_have_the_form_of_their_kind(name, shape, kind, dtype):
    model = of_recipe(name, shape)
    samples = model.sample(5)
    assert samples.shape == (5, *kind) == (5, *model.shape)
    assert samples.dtype == dtype
    if model.kind == "signals":
        assert samples.min() >= 3 - 1e-6
        assert samples.max() <= 5 + 1e-6
        assert samples.max() > 4
        assert isinstance(model.data.scale, Scale)


def test_classes_can_be_asked_for():
    model = of_recipe("cond_rectified_flow_small", (1, 8, 8), classes=3)
    assert model.classes == ("class 0", "class 1", "class 2")
    assert "8x8x1 images of 3 classes" in repr(model)
    asked: list[Any] = []
    kept = type(model.module).samplers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.module), "samplers", property(lambda own: seen(kept, own, asked)))
        model.sample(10, labels=2)
        model.sample(10, labels=[0, 1, 2, 2, 1, 0, 0, 1, 2, 2])
        model.sample(3, labels=torch.tensor([2, 1, 0]))
        model.sample(2, labels=np.array([1, 0], np.uint8))
        model.sample(1, labels=np.int64(1))
        model.sample(20)
    sizes = [[2] * 8, [2] * 2, [0, 1, 2, 2, 1, 0, 0, 1], [2, 2], [2, 1, 0], [1, 0], [1]]
    assert asked[:7] == sizes
    assert {label for batch in asked[7:] for label in batch} == {0, 1, 2}


def seen(kept: Any, own: GenerativeModel, asked: list[Any]) -> dict[str, Any]:
    """The samplers of a model, which note the labels that they are asked for."""

    def noting(sampler: Any) -> Any:
        def generate(n: int, generator: torch.Generator, y: torch.Tensor | None) -> torch.Tensor:
            assert y is not None
            asked.append(y.tolist())
            return torch.zeros(n, *own.data_shape)

        changed = copy.copy(sampler)
        object.__setattr__(changed, "generate", generate)
        return changed

    return {name: noting(sampler) for name, sampler in kept.fget(own).items()}


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match=r"\w") as error:
        call()
    said = str(error.value)
    assert "\n" not in said
    return said


UNCONDITIONAL = "data/mlp_gan/default/seed=0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n": -3}, "n must be at least 1, got -3"),
        ({"n": 2.0}, "n must be a whole number, got 2.0"),
        ({"n": True}, "n must be a whole number, got True"),
        ({"n": "2"}, "n must be a whole number, got '2'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807, got 9223372036854775808"),
        (
            {"sampler": "generater"},
            f"'generater' is no sampler of {UNCONDITIONAL}: did you mean generator? There is "
            "generator",
        ),
        ({"sampler": "ddim-50"}, f"'ddim-50' is no sampler of {UNCONDITIONAL}: there is generator"),
        ({"sampler": 5}, "sampler must be a name, such as generator, got 5"),
        ({"labels": 1}, f"{UNCONDITIONAL} is not class-conditional: leave out labels"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(arguments, said):
    assert refused(lambda: of_recipe("mlp_gan", (1, 8, 8)).sample(**{"n": 2} | arguments)) == said


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (3, "labels must be in 0..2, the classes of data/cgan_small/default/seed=0, got 3"),
        (-1, "labels must be in 0..2, the classes of data/cgan_small/default/seed=0, got -1"),
        ([0, 1, 5], "labels must be in 0..2, the classes of data/cgan_small/default/seed=0, got 5"),
        ([0, 1], "labels must be one class or 3, one per sample, got 2"),
        ([], "labels must be a whole number or a list of 3, got []"),
        (1.5, "labels must be a whole number or a list of 3, got 1.5"),
        (True, "labels must be a whole number or a list of 3, got True"),
        ("cat", "labels must be a whole number or a list of 3, got 'cat'"),
        ([[0, 1, 2]], "labels must be a whole number or a list of 3, got [[0, 1, 2]]"),
        ([[0], [1, 2]], "labels must be a whole number or a list of 3, got [[0], [1, 2]]"),
    ],
    ids=str,
)
def test_bad_labels_are_named(labels, said):
    model = of_recipe("cgan_small", (1, 8, 8), classes=3)
    assert refused(lambda: model.sample(3, labels=labels)) == said


def test_samples_that_are_not_finite_are_refused():
    model = of_recipe("mlp_gan", (1, 8, 8))
    for parameter in model.module.parameters():
        parameter.data.fill_(float("nan"))
    said = f"{UNCONDITIONAL}: sampler generator returned values that are not finite"
    assert refused(lambda: model.sample(2)) == said


def state() -> dict[str, Any]:
    """What a process has set, as far as loading and sampling could change it."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "tf32": (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32),
        "benchmark": torch.backends.cudnn.benchmark,
        "warnings": len(__import__("warnings").filters),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
    }


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "setting",
    [
        contextlib.nullcontext,
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        float64,
        lambda: threads(3),
        lambda: torch.device("meta"),
    ],
    ids=["nothing", "no_grad", "inference", "autocast", "float64", "threads", "device"],
)
def test_the_process_stays_as_it_is_and_decides_nothing(gan, setting):
    expected = load(gan, device="cpu").sample(5)
    with setting():
        before = state()
        model = load(gan, device="cpu")
        assert state() == before
        samples = model.sample(5)
        assert state() == before
        batches = model.batches()
        next(batches)
        assert state() == before  # while it waits for the next one, too
        assert isinstance(repr(model), str)
        assert all(p.requires_grad and not p.is_inference() for p in model.module.parameters())
        assert {p.device.type for p in model.module.parameters()} == {"cpu"}
    assert np.array_equal(samples, expected)


def test_the_module_can_be_trained_and_samples_follow(gan):
    model = load(gan, device="cpu")
    before = model.sample(4)
    assert not any(module.training for module in model.module.modules())
    optimizer = torch.optim.SGD(model.module.parameters(), lr=0.5)
    model.module.train()
    x = model.module.samplers["generator"].generate(8, torch.Generator().manual_seed(0), None)
    (x - 1).square().mean().backward()
    optimizer.step()
    after = model.sample(4)
    assert all(module.training for module in model.module.modules())
    assert not np.array_equal(before, after)
    again = LoadedModel(model._run)  # with nothing prepared for former weights
    assert np.array_equal(again.sample(4), after)
    copied = copy.deepcopy(model)
    assert np.array_equal(copied.sample(4), after)


def test_layers_that_are_replaced_are_evaluated_too():
    model = of_recipe("mlp_gan", (1, 8, 8))
    before = model.sample(4)
    calls = model.module.samplers["generator"].calls
    assert calls
    ((parent, place, layer), *_) = [
        (parent, place, layer)
        for parent in next(iter(calls)).modules()
        for place, layer in parent.named_children()
        if isinstance(layer, torch.nn.Linear)
    ]
    setattr(parent, place, torch.nn.Sequential(layer, torch.nn.Dropout(0.9)))
    assert np.array_equal(model.sample(4), before)
    with torch.no_grad():
        layer.weight.mul_(2)
    assert not np.array_equal(model.sample(4), before)


def failure(run: Path | str, **options: Any) -> str:
    with pytest.raises(RunError) as error:
        load(run, **{"device": "cpu"} | options)
    said = str(error.value)
    assert "\n" not in said
    return said


def altered(run: Path, to: Path, status: str) -> Path:
    """A copy of a run, with another status.json."""
    shutil.copytree(run, to)
    (to / "status.json").write_text(status)
    return to


def test_only_finished_runs_are_loaded_unless_others_are_asked_for(gan, tmp_path):
    running = altered(gan, tmp_path / "running", '{"status": "running"}')
    assert failure(running) == (
        f"{running} has not finished: give its command again to go on with it, or unfinished=True "
        "to take its last checkpoint"
    )
    failed = altered(gan, tmp_path / "failed", '{"status": "failed", "reason": "NaN at step 3"}')
    assert failure(failed) == (
        f"{failed} failed (NaN at step 3): name another run, or unfinished=True to take it"
    )
    for run in (running, failed):
        assert np.array_equal(load(run, "cpu", unfinished=True).sample(2), load(gan).sample(2))
    with RunDirectory(running):
        assert re.match(r"run .* is in use by process \d+", failure(running, unfinished=True))


def test_a_folder_of_runs_says_which_there_are(gan, tmp_path):
    for seed in range(7):
        shutil.copytree(gan, tmp_path / "runs" / "gan" / f"seed={seed}")
    assert failure(tmp_path / "runs" / "gan") == (
        f"{tmp_path}/runs/gan is not a run directory, it has no config.yaml: name one of those in "
        "it, seed=0, seed=1, seed=2, seed=3, seed=4 and 2 more"
    )
    assert "of those in it, gan/seed=0, gan/seed=1," in failure(str(tmp_path / "runs"))
    assert failure(tmp_path / "none").endswith(
        "such as results/runs/<dataset>/<model>/<variant>/seed=<seed>"
    )


def test_a_run_from_elsewhere_is_loaded_where_its_code_is_trusted(gan, tmp_path, monkeypatch):
    code = tmp_path / "code" / "elsewhere_models"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text(
        "from models.gan.gan import GAN\n\n\nclass Own(GAN):\n    ''\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "code")
    run = tmp_path / "digits" / "own" / "default" / "seed=0"
    shutil.copytree(gan, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["build"]["_target_"] = "elsewhere_models.Own"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert failure(run) == (
        f"{run}/config.yaml: model.build calls 'elsewhere_models.Own', which "
        "conf/constructors.yaml does not list: do not use this run or, if you trust that code, add "
        'trust=("elsewhere_models",)'
    )
    expected = load(gan, "cpu").sample(2)
    for trust in (("elsewhere_models",), ["elsewhere_models"], "elsewhere_models"):
        assert np.array_equal(load(run, "cpu", trust=trust).sample(2), expected)
    assert failure(run, trust=("os",)).startswith('trust=("os",): os is a module of Python itself')


def test_other_devices_are_refused(gan):
    assert failure(gan, device="abacus") == (
        "device must be auto, cpu, cuda or cuda:N, got 'abacus'"
    )
    assert failure(gan, device="cuda:99").startswith("device=cuda:99, but torch sees")


def test_real_data_is_sampled_where_it_is(tmp_path):
    tiny = ("model=real", *TINY, f"results_root={tmp_path}")
    run = bench(*tiny).directory
    model = load(run, device="cpu")
    samples = model.sample()
    assert samples.shape == (60, 8, 8, 1)
    assert np.array_equal(samples, model.sample())
    assert refused(lambda: model.sample(701)).endswith("has 700 samples, 701 were asked for")
