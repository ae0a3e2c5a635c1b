"""Grids of experiments as command lines; each of their runs can be built."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.overrides import TorchFunctionMode

from bench.command_line import expand, read_grids
from bench.config import Budget
from models.base import Batch, DataSpec, GenerativeModel

EXPERIMENTS = sorted(
    file.name.removesuffix(".yaml")
    for file in (files("conf") / "experiment").iterdir()
    if file.name.endswith(".yaml")
)
SWEEPS = [name for name in EXPERIMENTS if read_grids(name)]


def test_a_line_without_grids_stays_as_it_is():
    line = ["-m", "model=mlp_gan,real", "experiment=quickstart"]
    assert expand(line) == [line]
    assert expand(["model=mlp_gan"]) == [["model=mlp_gan"]]


def test_every_grid_becomes_a_multirun_of_its_overrides():
    lines = expand(["-m", "experiment=families", "dataset=digits"])
    assert lines == [
        ["-m", "experiment=families", "dataset=digits", "model=real"],
        [
            *("-m", "experiment=families", "dataset=digits"),
            "seed=0,1,2",
            "model=gan_r1_ema_small,v_diffusion_small,rectified_flow_small,meanflow_small,drifting_small,"
            "dcgan_small,ddpm_small",
        ],
    ]


def test_the_command_line_replaces_a_grids_override_and_picks_grids():
    line = ["experiment=families", "--multirun", "seed=7", "sweep=families", "+x=1"]
    (only,) = expand(line)
    assert only[:4] == ["experiment=families", "--multirun", "seed=7", "+x=1"]
    assert [word for word in only if word.startswith("seed=")] == ["seed=7"]
    assert expand([*line, "sweep=real"]) == [[*only[:4], "model=real"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ["-m", "experiment=families", "sweep=nothing"],
            "experiment=families: there are real, families$",
        ),
        (["-m", "experiment=quickstart", "sweep=a"], "experiment=quickstart has no grids"),
        (["-m", "sweep=a"], "no experiment is named"),
        (["experiment=claims_small"], "is a sweep: add -m"),
        (["experiment=scale", "seed=0"], "name one run of it, as in model="),
    ],
)
def test_what_cannot_be_expanded_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        expand(line)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sweep: [a, b]", "own.yaml: sweep must map names to grids of overrides"),
        ("[sweep]", "own.yaml: sweep must map names to grids of overrides"),
        ("defaults: [families]", "own.yaml inherits the grids of another experiment"),
    ],
)
def test_grids_of_an_own_experiment_are_read_or_refused(tmp_path, content, message):
    file = tmp_path / "experiment" / "own.yaml"
    file.parent.mkdir()
    line = ["-m", f"--config-dir={tmp_path}", "experiment=own", "seed=1"]
    file.write_text("sweep: {a: {model: mlp_gan, seed: 0}, b: {model: ddpm_mlp}}")
    assert expand(line) == [[*line, "model=mlp_gan"], [*line, "model=ddpm_mlp"]]
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        expand(line)


def test_several_experiments_are_all_expanded():
    both = expand(["-m", "experiment=families,scale", "dataset=digits"])
    one, other = (
        expand(["-m", "dataset=digits", f"experiment={n}"]) for n in ("families", "scale")
    )
    assert both == one + other
    assert expand(["-m", "+experiment=scale"]) == [
        [word.replace("exp", "+exp") for word in line]
        for line in expand(["-m", "experiment=scale"])
    ]


def test_one_run_of_a_sweep_needs_no_multirun():
    line = ["experiment=claims_small", "model=dcgan_small", "seed=0"]
    assert expand(line) == [line]


def test_there_are_sweeps_for_the_common_questions():
    wanted = {"families", "stabilisers", "schedules", "samplers", "sensitivity", "resolution"}
    assert wanted | {"scale", "claims_small", "claims_cifar10"} <= set(SWEEPS)
    assert "quickstart" in EXPERIMENTS


SHAPES = {  # of data sets whose configuration does not say, and classes of those that have some
    "ring8": ((2,), 8),
    "grid25": ((2,), 25),
    "stacked_digits": ((3, 8, 8), 0),
    "stacked_mnist": ((3, 28, 28), 0),
    "japanese_vowels": ((12, 25), 9),
    "italy_power": ((1, 24), 2),
}


@pytest.mark.parametrize("experiment", SWEEPS)
def test_every_value_of_every_grid_makes_a_run(experiment):
    """Its configuration is whole, its model can be built for its data, its optimizers made."""
    models: dict[str, GenerativeModel] = {}
    checked = set()
    with initialize_config_module("conf", version_base="1.3"):
        for line in expand(["-m", f"experiment={experiment}"]):
            for overrides in runs(line[1:]):
                cfg = composed(overrides)
                budget = cfg.budget
                Budget(images=budget.images, seconds=budget.seconds, flops=budget.flops)
                assert budget.images or budget.seconds or budget.flops
                shape, num_classes = data(cfg)
                key = json.dumps([OmegaConf.to_container(cfg.model.build), shape])
                if key not in models:
                    models[key] = build(cfg, shape, num_classes)
                    assert models[key].samplers
                recipe = json.dumps(OmegaConf.to_container(cfg.model.training))
                if (key, recipe) not in checked:
                    checked.add((key, recipe))
                    make_optimizers(cfg, models[key])


def runs(words: list[str]) -> Iterator[list[str]]:
    """A sweep's first run, and for every further value of every key the run that has it.

    Of seeds, which choose nothing, the first stands for the others.
    """
    options = [values(word) for word in words]
    first = [option[0] for option in options]
    yield first
    for k, option in enumerate(options):
        if option[0].startswith("seed="):
            assert all(value.partition("=")[2].isdigit() for value in option)
            continue
        for value in option[1:]:
            yield [*first[:k], value, *first[k + 1 :]]


def values(word: str) -> list[str]:
    """An override for each value of one, as Hydra's sweeper makes them."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    return [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]


def composed(overrides: list[str]) -> DictConfig:
    """The configuration of one run, resolved as a job does it."""
    cfg = compose("config", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        cfg.pop("hydra")
        cfg.pop("sweep", None)
    OmegaConf.resolve(cfg)
    return cfg


def data(cfg: DictConfig) -> tuple[tuple[int, ...], int]:
    """Shape and number of classes of a run's data."""
    if cfg.dataset.name in SHAPES:
        return SHAPES[cfg.dataset.name]
    size = cfg.dataset.image_size
    return (cfg.dataset.channels, size, size), 10


class Unfilled(TorchFunctionMode):
    """Leaves weights as memory was: to draw them is most of a large model's construction."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.uniform_, torch.Tensor.normal_):
            return args[0]
        return func(*args, **(kwargs or {}))


def build(cfg: DictConfig, shape: tuple[int, ...], num_classes: int) -> GenerativeModel:
    """A run's model, without initial weights."""

    def batch(n: int, uniform: bool = True) -> Batch:
        return Batch(torch.zeros(n, *shape), torch.arange(n) % num_classes)

    spec = DataSpec(
        shape,
        num_classes,
        lambda index: torch.zeros(len(index), *shape),
        12,
        batch if num_classes else None,
    )
    with Unfilled():
        model = instantiate(cfg.model.build, _convert_="all")(spec)
    assert isinstance(model, GenerativeModel)
    return model


def make_optimizers(cfg: DictConfig, model: GenerativeModel) -> None:
    """Make what trains each of the phases."""
    recipe = instantiate(cfg.model.training, _convert_="all")
    for phase in model.phases:
        recipe.optimizers[phase.updated_by](phase.module.parameters())


JOB = """
import sys
from pathlib import Path
import hydra
from omegaconf import OmegaConf
from bench.variant import run_directory
from bench.command_line import expand

@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def job(cfg):
    OmegaConf.resolve(cfg)
    print(run_directory(Path("results"), cfg.dataset.name, cfg.model.name, [], cfg.seed))

for line in expand(sys.argv[1:]):
    sys.argv[1:] = line
    job()
"""


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((), ("fashion_mnist_8", "fashion_mnist_16", "fashion_mnist_28")),
        (("dataset=mnist",), ("mnist_8", "mnist_16", "mnist_28")),
        (
            ("dataset=folder", "dataset.path=images", "dataset.image_size=16,64"),
            ("folder_16", "folder_64"),
        ),
        (
            (
                "dataset=folder",
                "dataset.image_size=8,16",
                "dataset.name=mine_${dataset.image_size}",
            ),
            ("mine_8", "mine_16"),
        ),
    ],
    ids=["default", "another", "folder", "named"],
)
def test_every_size_of_every_data_set_has_a_name_of_its_own(tmp_path, given, names):
    """By a multirun of Hydra itself, whose jobs alone know which data set was chosen."""
    (tmp_path / "job.py").write_text(JOB)
    root = Path(__file__).parents[2]
    line = [sys.executable, "job.py", "-m", "experiment=resolution", "seed=0", *given]
    done = subprocess.run(
        line,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    models = (("real",), ("dcgan_small", "ddpm_small"))
    wanted = [
        f"results/runs/{name}/{model}/default/seed=0"
        for grid in models
        for name in names
        for model in grid
    ]
    assert done.stdout.splitlines() == wanted
