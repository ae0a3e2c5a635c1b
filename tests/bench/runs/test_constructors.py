"""Which functions a recorded configuration may call, and with which arguments."""

import inspect
import re
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

from bench.build import plain
from bench.runs.constructors import check_targets, constructors, parents

CONF = Path(str(files("conf")))
FILE = Path("config.yaml")
GAN = {
    "_target_": "models.gan.gan.GAN",
    "_partial_": True,
    "generator": {"_target_": "models.gan.networks.mlp.Generator", "_partial_": True},
    "discriminator": {"_target_": "models.gan.networks.mlp.Discriminator", "_partial_": True},
    "objective": {"_target_": "models.gan.objectives.non_saturating"},
    "regularisers": [{"_target_": "models.gan.regularisers.R1", "weight": 1}],
}


def called(tree: object) -> set[str]:
    """What a YAML file calls, but for its recipe, which is not called for recorded runs."""
    if isinstance(tree, dict):
        branches = [branch for key, branch in tree.items() if key != "training"]
        here = {tree["_target_"]} if "_target_" in tree else set()
        return here.union(*map(called, branches))
    return set().union(*map(called, tree)) if isinstance(tree, list) else set()


def test_all_that_models_and_data_sets_here_call_is_listed():
    named = set()
    for file in [*CONF.glob("model/*.yaml"), *CONF.glob("dataset/*.yaml")]:
        named |= called(yaml.safe_load(file.read_text(encoding="utf-8")))
    for file in CONF.rglob("*.yaml"):  # overrides of experiments and claims
        named |= set(re.findall(r"model\.build\S*_target_=([\w.]+)", file.read_text("utf-8")))
    assert len(named) > 50
    assert named - constructors() == set()


def test_all_that_is_listed_is_a_public_class_or_function_of_its_module():
    for name in constructors():
        module, _, own = name.rpartition(".")
        made = resolve_name(name)
        assert inspect.isclass(made) or inspect.isfunction(made), name
        assert (made.__module__, made.__name__) == (module, own)
        assert "._" not in f".{name}"


def composed(*overrides: str) -> dict:
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose("config", [*overrides])
    OmegaConf.resolve(cfg)
    return plain(cfg)


@pytest.mark.parametrize(
    "overrides",
    [
        *(
            (f"model={file.stem}",)
            for file in sorted(CONF.glob("model/*.yaml"))
            if not file.stem.endswith("_small")
        ),
        *((f"dataset={file.stem}",) for file in sorted(CONF.glob("dataset/*.yaml"))),
        (
            "+model.build.weighting={_target_: models.diffusion.parameterisations.min_snr}",
            "model=ddpm",
        ),
        ("dataset=folder", "dataset.image_size=null", "dataset.path=images"),
    ],
    ids="-".join,
)
def test_our_own_configurations_pass(overrides):
    check_targets(composed(*overrides), FILE)


def refusal(build: object) -> str:
    with pytest.raises(ValueError, match=r"^config\.yaml") as error:
        check_targets({"model": {"build": build}}, FILE)
    assert "do not use this run" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "target",
    [
        "bench.data.dataset.content_hash",  # defined in the package of data sets, and no loader
        "bench.data.sources._check_native",  # a private helper
        "bench.data.cache.default_cache_root",
        "models.base.Batch",
        "models.gan.gan.torch.zeros",  # through a module of ours
        "builtins.dict",
        "models.gan.gan.GAN.mro",
        "",
    ],
)
def test_what_is_not_listed_is_not_called(target):
    for build in ({"_target_": target}, GAN | {"generator": {"_target_": target}}):
        assert f"calls {target!r}, which conf/constructors.yaml does not list" in refusal(build)
    nested = {"models.gan.regularisers.R1": GAN | {"regularisers": [{"_target_": target}]}}
    assert "does not list" in refusal(nested["models.gan.regularisers.R1"])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (None, "model.build must name what to call by _target_"),
        ([GAN], "model.build must name what to call by _target_"),
        ({"width": 3}, "model.build must name what to call by _target_"),
        ({"_target_": ["models.gan.gan.GAN"]}, "model.build must name what to call by _target_"),
        (GAN | {"_partial_": "yes"}, "model.build._partial_ must be true or false"),
        (GAN | {"_args_": [1]}, "model.build._args_ is no argument of models.gan.gan.GAN"),
        (GAN | {"_recursive_": False}, "model.build._recursive_ is no argument of"),
        (GAN | {"_convert_": "all"}, "model.build._convert_ is no argument of"),
        (GAN | {"speed": 9}, "model.build.speed is no argument of models.gan.gan.GAN"),
        (GAN | {"latent_dim": "9"}, "model.build.latent_dim='9' is no value that"),
        (GAN | {"latent_dim": 1.5}, "model.build.latent_dim=1.5 is no value that"),
        (GAN | {"latent_dim": True}, "model.build.latent_dim=True is no value that"),
        (GAN | {"latent_dim": GAN}, "model.build.latent_dim={'_target_'"),
        (GAN | {"generator": "models.gan.networks.mlp.Generator"}, "model.build.generator='models"),
        (GAN | {"generator": {"width": 3}}, "model.build.generator={'width': 3} is no value"),
        (GAN | {"regularisers": "R1"}, "model.build.regularisers='R1' is no value"),
        (GAN | {"regularisers": ["R1"]}, "model.build.regularisers=['R1'] is no value"),
    ],
    ids=str,
)
def test_arguments_are_those_that_are_taken(build, said):
    assert said in refusal(build)


@pytest.mark.parametrize(
    "target", ["models.gan.objectives.hinge", "bench.data.samples.read_samples"]
)
def test_what_is_listed_and_loads_no_data_set_is_not_called_for_one(target):
    load = {"_target_": target, "_partial_": True}
    said = f"config.yaml: dataset.load calls {target!r}, which loads no data set: do not use"
    with pytest.raises(ValueError, match=re.escape(said)):
        check_targets({"model": {"build": GAN}, "dataset": {"load": load}}, FILE)


def test_values_from_elsewhere_are_refused():
    for config in (
        {"model": {"build": GAN}, "budget": {"images": "${oc.env:HOME}"}},
        {"model": {"build": GAN | {"latent_dim": "${seed}"}}},
        {"model": {"build": GAN, "${seed}": 1}},
    ):
        with pytest.raises(ValueError, match=r"refers to other values by \$\{…\}"):
            check_targets(config, FILE)


def test_a_part_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match=r"config\.yaml: dataset must be a mapping"):
        check_targets({"model": {"build": GAN}, "dataset": ["load"]}, FILE)


def test_parents_are_the_runs_that_a_model_is_made_of():
    part = {"_target_": "bench.runs.reload.trained_or", "build": GAN, "run": "a"}
    build = {"draft": part, "refine": part | {"run": None}, "more": [part | {"run": "b"}]}
    config = {"model": {"build": build}, "other": part | {"run": "c"}}
    assert set(parents(config, "bench.runs.reload.trained_or", "run")) == {"a", "b"}
    assert set(parents({}, "bench.runs.reload.trained_or", "run")) == set()
