"""bench.sweeps: what an experiment's grids are as command lines."""

from importlib.resources import files

import pytest
from hydra import compose, initialize_config_module

from bench.sweeps import expand, read_grids

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
            *("seed=0,1,2", "model=dcgan_small,dcgan_sn_small,ddpm_small"),
        ],
    ]


def test_the_command_line_replaces_a_grids_override_and_picks_grids():
    line = ["experiment=families", "--multirun", "seed=7", "sweep=families", "+x=1"]
    (only,) = expand(line)
    assert only[:4] == ["experiment=families", "--multirun", "seed=7", "+x=1"]
    assert [word for word in only if word.startswith("seed=")] == ["seed=7"]
    assert expand([*line, "sweep=floor"]) == [[*only[:4], "model=real"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["-m", "experiment=families", "sweep=nothing"], "has the grids floor, families"),
        (["-m", "experiment=quickstart", "sweep=a"], "experiment=quickstart has no grids"),
        (["-m", "sweep=a"], "no experiment is named"),
        (["experiment=claims_small"], "is a sweep: add -m"),
        (["experiment=scale", "seed=0"], "name one run of it, as in model="),
    ],
)
def test_what_cannot_be_expanded_is_refused(line, message):
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


@pytest.mark.parametrize("experiment", SWEEPS)
def test_the_first_run_of_every_grid_composes(experiment):
    with initialize_config_module("conf", version_base="1.3"):
        for line in expand(["-m", f"experiment={experiment}"]):
            first = [_first(word) for word in line[1:]]
            cfg = compose("config", overrides=first)
            assert cfg.budget.seconds or cfg.budget.flops or cfg.budget.images


def _first(word: str) -> str:
    """An override with the first of its values."""
    key, _, value = word.partition("=")
    if value.startswith("["):
        return f"{key}={value.partition(']')[0]}]"
    return f"{key}={value.partition(',')[0]}"
