"""Every conf/model/*.yaml keeps the contract of models/base.py.

With --config-dir DIR, as of `python -m bench`, those of DIR/model/*.yaml are checked instead.
"""

import re
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import DictConfig
from slow_operators import DirectConvolutions, SlowOperators

import conf
from bench.cost.measure import step_flops
from bench.cost.network_calls import capture_calls
from bench.runtime import winograd
from bench.runtime.isolation import eval_mode, evaluating
from bench.runtime.jobs import quoted
from bench.schema import HELD_OUT as HELD_OUT_COLUMNS
from models.base import Batch, DataSpec, GenerativeModel, Phase
from models.layers.convolutions import DoublesSides
from models.layers.forms import Form
from models.layers.norms import GroupNorm
from models.layers.prepared import prepared

OURS = Path(conf.__file__).parent
CASES = {
    "8x8-labelled": ((1, 8, 8), 3),
    "8x8": ((1, 8, 8), 0),
    "28x28-labelled": ((1, 28, 28), 3),
    "signals": ((2, 25), 3),
    "points": ((2,), 0),
}
REFUSALS = {
    "signals": r"data_shape .*got \(2, 25\)",
    "points": r"data_shape .*got \(2,\)|needs class labels",
    "8x8": "needs class labels",
}
FIRST = next(iter(CASES))
LARGE = 2_000_000  # parameters; larger models are checked in the first case only
MAX_NFE = 50  # of the samplers whose calls are counted
MOST_STATES = 10  # of a trajectory
HELD_OUT = 12
PROGRESS = (0.0, *(k / 20 + 1e-3 for k in range(20)))
"""Shares of the budget at which phases are tried, until all parameters were reached."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests their models: each file, or each with every case.

    All tests of a model and case are adjacent (scope="module"), so they share what is built.
    """
    files = sorted((metafunc.config.getoption("--config-dir") / "model").glob("*.yaml"))
    if "case" in metafunc.fixturenames:
        pairs = [(file, case) for file in files for case in CASES]
        names = [f"{file.stem}-{case}" for file, case in pairs]
        metafunc.parametrize("case", pairs, indirect=True, ids=names, scope="module")
    elif "file" in metafunc.fixturenames:
        names = [file.stem for file in files]
        metafunc.parametrize("file", files, ids=names, scope="module")


@cache
def composed(file: Path) -> DictConfig:
    """The configuration with the model of this file."""
    more = [f"hydra.searchpath=[{quoted(f'file://{file.parents[1]}')}]"]
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", [f"model={file.stem}", *(more if file.parents[1] != OURS else ())])


def load(file: Path) -> DictConfig:
    """A copy of a model's part of the composed configuration, at its place."""
    return deepcopy(composed(file)).model


@lru_cache(maxsize=4)
def build(file: Path, case: str) -> GenerativeModel:
    shape, num_classes = CASES[case]
    held_out = torch.rand(HELD_OUT, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def labelled(n: int, *, uniform: bool) -> Batch:
        return Batch(torch.rand(n, *shape) * 2 - 1, labels(n, num_classes))

    data = DataSpec(
        shape,
        num_classes,
        lambda index: held_out[index],
        HELD_OUT,
        labelled if num_classes else None,
    )
    config = load(file)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        if "path" in config:  # a model that reads samples
            config.path = f"{folder}/samples.npy"
            stored = held_out.add(1).mul(127.5).byte() if len(shape) == 3 else held_out
            np.save(config.path, stored.numpy())
        return instantiate(config.build, _convert_="all")(data)


@cache
def is_large(file: Path) -> bool:
    return sum(parameter.numel() for parameter in build(file, FIRST).parameters()) > LARGE


@cache
def refuses(file: Path, case: str) -> bool:
    """Whether the model is one of other data, and says so."""
    try:
        build(file, case)
    except ValueError as error:
        words = REFUSALS.get(case)
        if words is None or (file.parents[1] == OURS and not re.search(words, str(error))):
            raise
        return True
    return False


@pytest.fixture
def case(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A model's file and a case."""
    file, case = request.param
    if case != FIRST and is_large(file):
        pytest.skip("large model: checked in the first case only")
    if refuses(file, case):
        pytest.skip("model of other data, which says so")
    return file, case


@pytest.fixture
def of_any_size(case: tuple[Path, str]) -> None:
    """Skip large models that have a small one of the same parts: size changes nothing here."""
    file, _ = case
    if is_large(file) and file.with_stem(f"{file.stem}_small").exists():
        pytest.skip("large model: its small one is checked")


@pytest.fixture
def model(case: tuple[Path, str]) -> GenerativeModel:
    return deepcopy(build(*case))


@pytest.fixture
def batch(case: tuple[Path, str]) -> Batch:
    shape, num_classes = CASES[case[1]]
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(3, *shape, generator=generator) * 2 - 1
    return Batch(x, labels(3, num_classes))


def labels(n: int, num_classes: int) -> torch.Tensor | None:
    return torch.arange(n) % num_classes if num_classes else None


def draw(model: GenerativeModel, num_classes: int) -> torch.Tensor:
    """Draw two samples with the cheapest sampler, (2, *data_shape)."""
    sampler = min(model.samplers.values(), key=lambda sampler: sampler.nfe)
    model.eval()
    with torch.inference_mode():
        return sampler.generate(2, torch.Generator().manual_seed(7), labels(2, num_classes))


def test_a_model_is_named_after_its_file_and_has_a_name_of_its_own(file):
    assert load(file).name == file.stem
    named_alike = OURS / "model" / file.name
    assert named_alike == file or not named_alike.exists(), f"bench has a model {file.stem}: rename"


def test_there_are_models(request):
    folder = request.config.getoption("--config-dir") / "model"
    assert list(folder.glob("*.yaml")), f"{folder} has no *.yaml"


@pytest.mark.usefixtures("of_any_size")
def test_samples_have_shape_type_and_range(model, case):
    x = draw(model, CASES[case[1]][1])
    assert x.shape == (2, *model.data_shape)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    assert x.min() >= -1
    assert x.max() <= 1


@pytest.mark.usefixtures("of_any_size")
def test_the_generator_alone_decides_the_samples(model, case):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = draw(model, CASES[case[1]][1])
    assert torch.equal(state, torch.get_rng_state()), "drawing used the global generator"
    torch.manual_seed(2)
    assert torch.equal(first, draw(model, CASES[case[1]][1]))


def test_declared_nfe_is_counted(model, case, monkeypatch):
    model.eval()
    cheap = {
        name: sampler
        for name, sampler in model.samplers.items()
        if sampler.nfe is None or sampler.nfe <= MAX_NFE
    }
    assert cheap, f"no sampler with NFE up to {MAX_NFE}"
    for name, sampler in cheap.items():
        calls = []
        for network in sampler.calls or {} if is_large(case[0]) else ():
            monkeypatch.setattr(network, "forward", cache_first(network.forward))
        handles = [
            network.register_forward_pre_hook(lambda module, _, calls=calls: calls.append(module))
            for network in sampler.calls or {}
        ]
        with torch.inference_mode():
            sampler.generate(1, torch.Generator().manual_seed(0), labels(1, CASES[case[1]][1]))
        for handle in handles:
            handle.remove()
        assert Counter(calls) == (sampler.calls or {}), name


def test_default_samplers_are_cheap_together(model, case):
    """No family is evaluated with many more network calls per sample than the others."""
    if case[0].parents[1] == OURS:
        assert sum(sampler.nfe or 0 for sampler in model.samplers.values()) <= MAX_NFE


def test_losses_are_finite_scalars_and_reach_only_the_phase_module(model, batch):
    """Every parameter is reached at some progress, none at any by another phase."""
    model.train()
    missed = {
        (phase.updated_by, name)
        for phase in model.phases
        for name, parameter in model.named_parameters()
        if any(parameter is own for own in phase.module.parameters())
    }
    assert bool(missed) == bool(model.phases)
    for progress in PROGRESS:
        model.progress.fill_(progress)
        for phase in (phase for phase in model.phases if phase.active(progress)):
            missed -= {(phase.updated_by, name) for name in reached_by(phase, model, batch)}
        if not missed:
            break
    assert not missed


def reached_by(phase: Phase, model: GenerativeModel, batch: Batch) -> list[str]:
    """Names of the parameters that the phase's loss reaches, all its own."""
    own = {id(parameter) for parameter in phase.module.parameters()}
    assert own, phase.name
    for parameter in model.parameters():
        parameter.grad = None
        parameter.requires_grad_(id(parameter) in own)
    logs = phase.loss(batch)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in logs.values())
    assert not any(value.requires_grad for key, value in logs.items() if key != "loss")
    logs["loss"].backward()
    reached = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
    for name, parameter in reached:
        assert id(parameter) in own, f"{phase.name} reaches {name}"
        assert torch.isfinite(parameter.grad).all(), name
    return [name for name, _ in reached]


@pytest.mark.usefixtures("of_any_size")
def test_losses_train_under_bfloat16_autocast(model, batch):
    model.train()
    for phase in model.phases:
        with torch.autocast("cpu", torch.bfloat16):
            loss = phase.loss(batch)["loss"]
        assert loss.dtype == torch.float32, phase.name
        assert torch.isfinite(loss), phase.name


@pytest.mark.usefixtures("of_any_size")
def test_losses_accept_channels_last(model, batch):
    if batch.x.ndim != 4:
        pytest.skip("points and signals have no channels to come last")
    model.train().to(memory_format=torch.channels_last)
    x = batch.x.contiguous(memory_format=torch.channels_last)
    for phase in model.phases:
        assert torch.isfinite(phase.loss(Batch(x, batch.y))["loss"]), phase.name


@pytest.mark.usefixtures("of_any_size")
def test_the_cost_of_a_step_grows_with_the_pairs_of_samples_only_where_a_phase_says_so(model, case):
    """The FLOPs of a whole batch are extrapolated from few samples: see `count_step`."""
    shape, num_classes = CASES[case[1]]
    for progress in (0.0, 0.5) if case[1] == FIRST else ():
        few, more, most = (
            step_flops(
                model, Batch(torch.zeros(n, *shape), labels(n, num_classes)), progress=progress
            )
            for n in (model.batch_unit, 2 * model.batch_unit, 3 * model.batch_unit)
        )
        pairwise = any(phase.pairwise and phase.active(progress) for phase in model.phases)
        assert (most - more > more - few) == pairwise
        assert pairwise or most - more == more - few


@pytest.mark.usefixtures("of_any_size")
def test_state_dict_restores_the_samples(model, case):
    model.train()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():  # away from the shared initialisation
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    model.progress.fill_(0.5)
    expected = draw(model, CASES[case[1]][1])
    restored = deepcopy(build(*case))
    restored.load_state_dict(model.state_dict())
    assert restored.progress == 0.5
    assert torch.equal(draw(restored, CASES[case[1]][1]), expected)


@pytest.mark.usefixtures("of_any_size")
def test_a_copy_binds_to_its_own_modules(model, batch):
    copy = deepcopy(model)
    own, copied = set(model.modules()), set(copy.modules())
    for phase in copy.phases:
        assert phase.module in copied
        assert phase.module not in own
    for sampler in copy.samplers.values():
        assert all(network in copied for network in sampler.calls or {})
    for phase in copy.phases:
        phase.loss(batch)["loss"].backward()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.usefixtures("of_any_size")
def test_other_software_can_make_the_calls_of_samplers(model, case):
    """They are functions of tensors, of each sample alone, and together they call every network."""
    model.eval()
    networks = {network for s in model.samplers.values() for network in s.calls or {}}
    called = set()
    for network in networks:
        network.register_forward_pre_hook(lambda module, _: called.add(module))
    generator, state = torch.Generator().manual_seed(1), torch.get_rng_state()
    for call in model.network_calls.values():
        given = [each.examples(3, generator) for each in call.inputs]
        with torch.no_grad():
            together, alone = call.compute(*given), call.compute(*(x[1:2] for x in given))
        assert len(together) == len(alone) == len(call.outputs)
        for every, one in zip(together, alone, strict=True):
            assert every.dtype == torch.float32
            assert torch.isfinite(every).all()
            torch.testing.assert_close(every[1:2], one, rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), state)
    if case[0].parents[1] == OURS or model.network_calls:
        assert called == networks


def test_each_phase_has_its_optimizer(file):
    model = build(file, FIRST)
    optimizers = load(file).training.get("optimizers", {})
    assert set(optimizers) == {phase.updated_by for phase in model.phases}
    for phase in model.phases:
        optimizer = instantiate(optimizers[phase.updated_by], _convert_="all")(
            phase.module.parameters()
        )
        assert isinstance(optimizer, torch.optim.Optimizer)


def test_every_moment_of_training_has_a_phase(model):
    for progress in PROGRESS if model.phases else ():
        assert any(phase.active(progress) for phase in model.phases), progress


@pytest.mark.usefixtures("of_any_size")
def test_held_out_scores_are_one_value_per_sample_and_leave_the_global_generator(model, batch):
    model.eval()
    state = torch.get_rng_state()
    with torch.inference_mode():
        scores = model.held_out_scores(batch, torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.get_rng_state())
    assert scores.keys() <= set(HELD_OUT_COLUMNS)
    for name, values in scores.items():
        assert values.shape == (len(batch.x),), name
        assert torch.isfinite(values).all(), name


@pytest.mark.usefixtures("of_any_size")
def test_trajectories_end_in_what_is_drawn(model, case):
    shown = [sampler for sampler in model.samplers.values() if sampler.trajectory is not None]
    if not shown:
        pytest.skip("nothing on the way")
    sampler = min(shown, key=lambda sampler: sampler.nfe)
    asked = labels(2, CASES[case[1]][1])
    model.eval()
    state = torch.get_rng_state()
    with torch.inference_mode():
        states = sampler.trajectory(2, torch.Generator().manual_seed(7), asked)
        drawn = sampler.generate(2, torch.Generator().manual_seed(7), asked)
    assert torch.equal(state, torch.get_rng_state())
    assert 2 <= len(states) <= MOST_STATES
    assert all(x.shape == drawn.shape and torch.isfinite(x).all() for x in states)
    assert torch.equal(states[-1], drawn)
    assert not torch.equal(states[0], drawn)


@pytest.mark.usefixtures("of_any_size")
def test_held_out_curves_have_one_value_per_sample_and_leave_the_global_generator(model, batch):
    model.eval()
    state = torch.get_rng_state()
    with torch.inference_mode():
        curves = model.held_out_curves(batch, torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.get_rng_state())
    for name, points in curves.items():
        places = [at for at, _ in points]
        assert places == sorted(set(places)), name
        for _, values in points:
            assert values.shape == (len(batch.x),), name
            assert torch.isfinite(values).all(), name


def test_wide_convolutions_of_every_model_have_the_same_kernel(model, case, monkeypatch):
    """No network may go without the faster convolution that others are sampled with."""
    monkeypatch.setattr(winograd, "FEWEST_TILES", 0)  # these images are small
    model.progress.fill_(1.0)  # at the end, networks that grow have all their layers
    sampler = min(model.samplers.values(), key=lambda sampler: sampler.nfe)
    for network in sampler.calls or {}:
        monkeypatch.setattr(network, "forward", cache_first(network.forward))
    with evaluating(model), DirectConvolutions() as direct:
        sampler.generate(1, torch.Generator().manual_seed(7), labels(1, CASES[case[1]][1]))
    assert direct.weights == []


PREPARED = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear, GroupNorm)
"""Kinds of layers that compute in a prepared form while a model is evaluated."""


def test_layers_of_every_model_are_prepared_for_sampling(model):
    """No network may be sampled without what equal layers of others are sampled with."""
    for sampler in model.samplers.values():
        layers = [m for network in sampler.calls or {} for m in network.modules()]
        layers = [m for m in layers if isinstance(m, (*PREPARED, DoublesSides))]
        with prepared(model):
            left = [
                type(m) for m in layers if not any(isinstance(v, Form) for v in vars(m).values())
            ]
        assert left == []


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_prepared_networks_of_every_model_compute_what_they_did(model, case, bf16):
    """As exactly as before: in float32 to rounding, in bfloat16 as near to float32."""
    model.progress.fill_(1.0)
    sampler = min(model.samplers.values(), key=lambda sampler: sampler.nfe)
    y = labels(1, CASES[case[1]][1])
    if not sampler.calls:
        pytest.skip("has no network")
    generator = torch.Generator().manual_seed(7)
    with evaluating(model):
        calls = capture_calls(sampler.calls, lambda: sampler.generate(1, generator, y))
    with eval_mode(model), torch.inference_mode():
        for call in calls:
            exact = call.network(*call.args, **call.kwargs).double()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                plain = call.network(*call.args, **call.kwargs)
                with prepared(model):
                    result = call.network(*call.args, **call.kwargs)
            assert result.dtype == plain.dtype
            allowed = 2e-5 * exact.abs().max()
            if bf16:
                allowed = 2 * (plain - exact).abs().max() + 1e-2 * exact.abs().max()
            assert (result - exact).abs().max() <= allowed


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_norms_and_transposed_convolutions_of_every_model_have_the_same_kernels(
    model, batch, dtype
):
    """No network may train with the slow operators that others do without."""
    model.train()
    model.progress.fill_(PROGRESS[-1])  # networks that grow have all their layers
    with (
        SlowOperators() as slow,
        torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None),
    ):
        for phase in model.phases:
            phase.loss(batch)
    assert slow.called == set()


def cache_first(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Answer every call with the result of the first one of its size, which saves time."""
    results: dict[torch.Size, torch.Tensor] = {}

    def answer(x: torch.Tensor, *args, **kwargs):
        if x.shape not in results:
            results[x.shape] = forward(x, *args, **kwargs)
        return results[x.shape].clone()

    return answer
