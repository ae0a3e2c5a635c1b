"""Runs of earlier versions: finished ones are skipped, unfinished ones resumed."""

import csv
import io
import json
import re
from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import DictConfig

from bench.build import plain
from bench.errors import RunError
from bench.former import (
    ABSENT,
    FORMER,
    FORMER_DEFAULTS,
    FORMER_SAMPLERS,
    FORMER_TARGETS,
    overrides_of_before,
    recipe_hash,
    value_at,
    with_former_samplers,
)
from bench.run import run
from bench.runs.directory import RunDirectory
from bench.runtime.atomic_files import csv_text
from bench.schema import eval_columns, is_later

SMALL = ("budget.images=256", "budget.checkpoints=2", "evaluator.cost_seconds=0")
SMALL += ("evaluator.resamples=0", "evaluator.samples=100")


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", list(overrides))


def without(tree: dict, key: str) -> None:
    """Remove a setting such as "evaluator.class_labels" where it is."""
    *above, name = key.split(".")
    for part in above:
        tree = tree.get(part, {})
    tree.pop(name, None)


def as_before(path: Path) -> None:
    """Leave in a run's files what commit 19b336e wrote."""
    config = yaml.safe_load((path / "config.yaml").read_text())
    for key in FORMER:
        without(config, key)
    text = yaml.safe_dump(config, sort_keys=False)
    for former, present in FORMER_TARGETS.items():
        text = re.sub(rf"_target_: {re.escape(present)}$", f"_target_: {former}", text, flags=re.M)
    (path / "config.yaml").write_text(text)
    rows = list(csv.DictReader(io.StringIO((path / "eval.csv").read_text())))
    columns = tuple(name for name in rows[0] if not is_later(name))
    text = csv_text(columns, ([row[column] for column in columns] for row in rows))
    (path / "eval.csv").write_text(text)


def interrupt(path: Path) -> None:
    """Take a finished run of two evaluation points back to its first one."""
    status = json.loads((path / "status.json").read_text()) | {"status": "running"}
    (path / "status.json").write_text(json.dumps(status))
    first, second = sorted(
        (path / "checkpoints").glob("step=*.pt"), key=lambda file: int(file.stem.split("=")[1])
    )
    second.unlink()
    lines = (path / "eval.csv").read_text().splitlines(keepends=True)
    (path / "eval.csv").write_text("".join(line for line in lines if not _is_last(line, lines)))
    assert first.exists()


def _is_last(line: str, lines: list[str]) -> bool:
    at = lines[0].split(",").index("checkpoint")
    return line is not lines[0] and next(csv.reader([line]))[at] == "2"


def made_before(root: Path, *overrides: str, former: tuple[str, ...] = ()) -> Path:
    """A finished run as commit 19b336e made it, whose defaults `former` gives."""
    given = (*overrides, *SMALL)
    today = ("evaluator.class_labels=uniform", "precision=fp32")
    cfg = compose(*given, *former, *today, f"results_root={root}")
    path = run(cfg, given).directory
    as_before(path)
    return path


def again(root: Path, *overrides: str):
    given = (*overrides, *SMALL)
    return run(compose(*given, f"results_root={root}"), given)


def fids(path: Path) -> list[str]:
    with (path / "eval.csv").open(newline="") as file:
        return [row["fid_domain"] for row in csv.DictReader(file)]


def test_a_finished_run_of_before_is_skipped(tmp_path: Path) -> None:
    path = made_before(tmp_path, "model=dcgan_small")
    files = {file: file.read_bytes() for file in path.iterdir() if file.is_file()}
    result = again(tmp_path, "model=dcgan_small")
    assert (result.directory, result.status) == (path, "finished")
    changed = [file.name for file, content in files.items() if file.read_bytes() != content]
    assert changed in ([], [".lock"])  # which names the process


def test_an_unfinished_run_of_before_is_gone_on_with(tmp_path: Path) -> None:
    path = made_before(tmp_path, "model=dcgan_small")
    whole, config = fids(path), (path / "config.yaml").read_bytes()
    interrupt(path)
    assert fids(path) == whole[:1]
    assert again(tmp_path, "model=dcgan_small").directory == path
    assert fids(path) == whole
    assert (path / "config.yaml").read_bytes() == config
    header = (path / "eval.csv").read_text().splitlines()[0].split(",")
    assert header == list(eval_columns(("domain",)))


def test_a_class_conditional_run_of_before_goes_on_by_its_former_setting(tmp_path: Path) -> None:
    path = made_before(tmp_path, "model=cgan_small")
    with pytest.raises(RunError) as refused:
        again(tmp_path, "model=cgan_small")
    assert str(refused.value) == (
        f"run {path} was made by an earlier version, whose default was another one "
        '(evaluator.class_labels: "uniform" → "data"): give the command with '
        "evaluator.class_labels=uniform to continue it, or keep it and set another results_root"
    )
    whole = fids(path)
    interrupt(path)
    result = again(tmp_path, "model=cgan_small", "evaluator.class_labels=uniform")
    assert result.directory == path
    assert fids(path) == whole
    with (path / "eval.csv").open(newline="") as file:
        assert [row["class_labels"] for row in csv.DictReader(file)] == ["uniform", "uniform"]
    assert [folder.name for folder in path.parents[1].iterdir()] == [path.parent.name]


def test_a_run_of_today_is_never_taken_for_one_of_before(tmp_path: Path) -> None:
    today = again(tmp_path, "model=cgan_small")
    uniform = again(tmp_path, "model=cgan_small", "evaluator.class_labels=uniform")
    assert today.directory != uniform.directory
    assert fids(today.directory) != fids(uniform.directory)


def test_every_former_setting_is_one_of_today() -> None:
    configs = [plain(compose("dataset=folder", "dataset.path=x"))]
    configs += [
        plain(compose(f"model={name}", "++model.path=x"))
        for name in ("samples", "sgan", "drifting")
    ]
    for key in {**FORMER, **FORMER_DEFAULTS}:
        assert any(value_at(config, key) is not ABSENT for config in configs), key


@pytest.mark.parametrize(
    ("recorded", "present", "words"),
    [
        ({"dataset": {"flip": True, "load": {"flip": True}}},
         {"dataset": {"flip": False, "load": {"flip": False}}},
         "(dataset.flip: true → false): give the command with dataset.flip=true to continue"),
        ({"dataset": {"channels": 3}},
         {"dataset": {"channels": None, "fit": "pad"}},
         'dataset.channels: 3 → null; dataset.fit: "crop" → "pad"): give the command with '
         "dataset.channels=3 dataset.fit=crop to continue"),
        ({"dataset": {"flip": False}}, {"dataset": {"flip": True}},
         "made with another configuration (dataset.flip: false → true): delete"),
        ({"model": {"build": {"lr": 1}}},
         {"model": {"build": {"lr": 2, "label_classes": "data"}}},
         'another configuration (model.build.label_classes: "uniform" → "data"; '
         "model.build.lr: 1 → 2)"),
    ],
)  # fmt: skip
def test_what_differs_from_before_is_said_with_the_way_on(tmp_path, recorded, present, words):
    with RunDirectory(tmp_path / "seed=0") as records:
        records.write_config(recorded)
        with pytest.raises(ValueError, match="seed=0 was made") as refused:
            records.check_config(present)
    assert words in str(refused.value)


def test_settings_of_before_are_taken_as_recorded(tmp_path):
    dataset = {"fit": "crop", "bits": None, "load": {"fit": "crop", "bits": None}}
    model = {"take": None, "build": {"take": None}}
    with RunDirectory(tmp_path / "seed=0") as records:
        records.write_config({"dataset": {"load": {}}, "model": {"build": {}}})
        records.check_config({"dataset": dataset, "model": model})


def test_the_recipe_of_a_run_of_before_is_what_it_was():
    assert recipe("model=dcgan_small") == "12378d7630af"  # those of commit 19b336e
    assert recipe("model=samples", "model.path=x") == "234c0d707782"
    assert recipe("model=sgan_small", "model.build.label_classes=uniform") == "5042f21fb273"


def test_a_recipe_tells_new_settings_apart_where_they_change_something():
    stored = "model=samples", "model.path=x"
    assert recipe(*stored, "model.take=random") != recipe(*stored)
    assert recipe("model=sgan_small") != recipe(
        "model=sgan_small", "model.build.label_classes=uniform"
    )


@pytest.mark.parametrize("model", FORMER_SAMPLERS)
def test_a_recipe_does_not_change_with_its_default_samplers(model: str) -> None:
    """Explicit samplers are hashed as they are: that is how runs of before were hashed."""
    config = plain(compose(f"model={model}"))
    for key, (former, present) in FORMER_SAMPLERS[model].items():
        assert value_at(config, key) == present
        assert former != present
    before = with_former_samplers(config["model"], ())
    for key, (former, _) in FORMER_SAMPLERS[model].items():
        assert value_at({"model": before}, key) == former
    today = recipe_hash(config["model"], flip=False)
    assert today == recipe_hash(before, flip=False)
    given = [f"{key}=…" for key in FORMER_SAMPLERS[model]]
    assert today != recipe_hash(config["model"], flip=False, overrides=given)


def test_the_recipe_of_a_run_of_before_is_todays() -> None:
    """Hashes that commit 19b336e recorded with its default samplers."""
    assert recipe("model=ddpm_small", "dataset=digits") == "dc0dc2433865"
    assert recipe("model=hybrid_small", "dataset=digits") == "fae5825c7926"


def test_a_command_that_names_former_samplers_is_that_of_before() -> None:
    key = "model.build.samplers"
    config = plain(compose("model=ddpm_small", f"{key}=[ddim-50,ddim-10]"))
    given = (f"{key}=[ddim-50,ddim-10]", "budget.seconds=60")
    assert list(overrides_of_before(given, config)) == [("budget.seconds=60",)]
    other = plain(compose("model=ddpm_small", f"{key}=[ddim-10]"))
    assert list(overrides_of_before((f"{key}=[ddim-10]",), other)) == []


def recipe(*overrides: str) -> str:
    cfg = compose(*overrides)
    return recipe_hash(plain(cfg.model), flip=cfg.dataset.flip)


def test_commands_of_before_are_those_without_some_former_settings():
    config = {"dataset": {"flip": True, "channels": 3}, "evaluator": {"class_labels": "data"}}
    given = ("dataset.flip=true", "seed=1", "dataset.channels=3", "evaluator.class_labels=data")
    assert list(overrides_of_before(given, config)) == [
        ("seed=1", "evaluator.class_labels=data"),
        ("seed=1", "dataset.channels=3", "evaluator.class_labels=data"),
        ("dataset.flip=true", "seed=1", "evaluator.class_labels=data"),
    ]
