"""Settings: their kinds and ranges, with one sentence for each fault; names of data and models."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from bench.config import CLOSED, MAX_NAME, EvaluatorSettings, Settings, is_name, read_settings
from bench.variant import variant, varied

BAD = [
    "", ".", "..", ".hidden", "../../x", "a/b", "/a", "a\\b", "a\nb", "a\tb", "a\x1b[31m", "a\x7f",
    "a\u2028b", "a\u0085b", "\ud800", "a" * (MAX_NAME + 1), "é" * MAX_NAME,
]  # fmt: skip
GOOD = ["digits", "my images", "a.b", "-x", "ddim-20-eta0.5", "Ärzte", "$x_1", "=x", "a" * MAX_NAME]


def composed(**changes: Any) -> dict[str, Any]:
    """The configuration of conf/, with values at keys such as "evaluator.samples"."""
    with hydra.initialize_config_module("conf", version_base="1.3"):
        config: Any = OmegaConf.to_container(hydra.compose("config"), resolve=True)
    for key, value in changes.items():
        *above, last = key.split(".")
        section = config
        for part in above:
            section = section[part]
        section[last] = value
    return config


def test_the_configuration_and_the_fields_are_the_same_settings():
    config = composed()
    settings = read_settings(config)
    trust = {"trust"}  # the command's, see `bench.run`: no run has it
    assert {field.name for field in fields(Settings)} == config.keys() - trust
    for section in CLOSED:
        assert config[section].keys() <= vars(getattr(settings, section)).keys()
    assert settings.budget.images == config["dataset"]["images_by_default"]
    assert (settings.trainer.seed, settings.evaluator.precision) == (0, "auto")
    assert isinstance(settings.results_root, Path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("device", 0, "device must be text, got 0: quote it, as in 'device=\"0\"'"),
        ("threads", 1025, "threads must be at most 1024 or null, got 1025: this machine has "),
        ("evaluator.extractor", 5, "evaluator.extractor must be text, a list or null, got 5"),
        ("evaluator.weights.domain", 5, "evaluator.weights.domain must be text or null, got 5"),
        ("model.build", None, "model.build must be a group of settings, got None"),
        ("model.training", "adam", "model.training must be a group of settings, got 'adam'"),
        (
            "evaluator.sample",
            5,
            "evaluator.sample is no setting: did you mean samples? There are samples, ",
        ),
        ("trainer.seed", 5, "trainer.seed is set for the whole run: give seed=…"),
        ("budget", None, "budget.images is missing: it must be a number or null"),
        ("evaluator.resamples", True, "evaluator.resamples must be a whole number, got True"),
    ],
)
def test_a_setting_of_another_kind_or_name_is_refused(key, value, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        read_settings(composed(**{key: value}))


def test_a_recorded_run_that_lacks_a_setting_has_its_former_value():
    config = composed()
    del config["evaluator"]["class_labels"]
    with pytest.raises(ValueError, match=r"^evaluator\.class_labels is missing: it must be data"):
        read_settings(config)
    assert read_settings(config, recorded=True).evaluator.class_labels == "uniform"
    assert read_settings(config | {"evaluator": config["evaluator"] | {"old": 1}}, recorded=True)


def test_settings_cannot_be_made_of_what_is_refused():
    with pytest.raises(ValueError, match=r"^evaluator\.samples must be at least 10, got 9"):
        EvaluatorSettings(samples=9)


@pytest.mark.parametrize("name", GOOD)
def test_names_that_can_be_folders_are_accepted(tmp_path, name):
    assert is_name(name)
    (tmp_path / name).mkdir()
    read_settings(composed(**{"dataset.name": name, "dataset.load.name": name, "model.name": name}))


@pytest.mark.parametrize("name", BAD, ids=ascii)
@pytest.mark.parametrize("key", ["dataset.name", "dataset.load.name", "model.name"])
def test_other_names_are_refused_by_setting_and_value(name, key):
    assert not is_name(name)
    with pytest.raises(ValueError, match=rf"^{key} must be 1 to 100 printable") as error:
        read_settings(composed(**{key: name}))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("value", [None, 2024, 1.5, True, ["a"]])
def test_what_is_no_text_is_no_name(value):
    assert not is_name(value)
    with pytest.raises(ValueError, match=r"^dataset\.load\.name must be text, got "):
        read_settings(composed(**{"dataset.load.name": value}))


def test_what_a_command_trusts_is_no_part_of_a_variant():
    assert variant(["trust=[my_models]", "+trust=x", "seed=3"]) == "default"
    assert varied(["trust=[my_models]", "budget.images=64"]) == ("budget.images=64",)
