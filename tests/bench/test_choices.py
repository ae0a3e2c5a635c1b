"""bench.choices: unknown names are refused for every job of a line, known ones never."""

import pytest

from bench.choices import GROUPS, check_choices
from bench.command_line import each_value, expand, first_folder
from bench.errors import did_you_mean, nearest_of


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["model=ddpm_small", "model.build.network.channels=16"],
        ["+model.training.lr_schedule={_target_: x, floor: 1}"],
        ["+mine.first=1", "mine.first=2"],
        ["~budget.flops", "budget=default"],
        ["evaluator.extractor=[domain,inception]", "evaluator.weights.inception=x"],
        ["-m", "seed=range(0,3)", "model=glob(vae*)", "dataset=digits,mnist"],
        ["-m", "experiment=families", "hydra/launcher=basic", "hydra.job.chdir=false"],
        ["--cfg", "job", "model=dcgan"],
        ["--config-name", "theirs", "anything=1"],
    ],
)
def test_what_exists_is_accepted(line):
    check_choices(line)


def test_every_grid_of_every_experiment_is_accepted():
    for experiment in ("families", "samplers", "sensitivity"):
        for line in expand(["-m", f"experiment={experiment}"]):
            check_choices(line)


def test_a_setting_that_only_a_later_model_lacks_is_refused_before_the_first_job():
    line = ["-m", "model=ddpm_small,dcgan_small", "model.build.network.channels=16,32"]
    with pytest.raises(
        ValueError, match=r"^model\.build\.network\.channels is no setting: .*model"
    ):
        check_choices(line)
    check_choices([line[0], "model=ddpm_small,ddpm_cosine_small", line[2]])


def test_models_and_groups_of_users_own_are_known(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [dcgan_small, _self_]\nwidth: 3\n")
    (tmp_path / "schedule").mkdir()
    (tmp_path / "schedule" / "slow.yaml").write_text("# @package _global_\n")
    given = ["--config-dir", str(tmp_path)]
    check_choices([*given, "model=mine", "model.width=4", "+schedule=slow"])
    with pytest.raises(ValueError, match=r"^model=min names no model: did you mean mine"):
        check_choices([*given, "model=min"])
    (tmp_path / "model" / "broken.yaml").write_text("width: {3")
    with pytest.raises(ValueError, match=r"^a file of --config-dir is no YAML: .*broken"):
        check_choices([*given, "model=broken"])


def test_groups_are_the_defaults_of_the_configuration():
    import yaml

    import conf

    with open(f"{next(iter(conf.__path__))}/config.yaml", encoding="utf-8") as file:
        defaults = yaml.safe_load(file)["defaults"]
    names = {name for entry in defaults if isinstance(entry, dict) for name in entry}
    assert {name for name in names if not name.startswith("override")} == set(GROUPS)


def test_a_glob_stands_for_the_models_that_it_matches():
    assert each_value("model=glob(vae*)") == ["model=vae", "model=vae_small"]
    assert first_folder(["-m", "model=glob(vae*)"]) == "results"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dcgan_smal", "did you mean dcgan_small?"),
        ("DDPM", "did you mean ddpm?"),
        ("gan_small", "did you mean cgan_small or sgan_small?"),
        ("xyz", ""),
    ],
)
def test_the_nearest_names_are_suggested(word, said):
    known = ["cgan_small", "dcgan_small", "ddpm", "ddpm_small", "sgan_small"]
    assert did_you_mean(word, known) == said
    there = f"here are {', '.join(known)}"
    assert nearest_of(word, known) == (f"{said} T{there}" if said else f"t{there}")


def test_the_last_part_of_a_setting_counts_most():
    known = ["evaluator.samples", "evaluator.seed", "trainer.log_every"]
    assert did_you_mean("sample", known) == "did you mean evaluator.samples?"
    assert did_you_mean("evaluator.foo", known) == ""
    assert did_you_mean("training.log_evry", known) == "did you mean trainer.log_every?"
