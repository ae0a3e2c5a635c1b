"""Recorded models as parts of other models: their weights, and unusable runs."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from recorded_builds import DDPM, GAN, REAL

from bench.config import Budget
from bench.data.batches import BatchStream
from bench.data.dataset import Dataset, Split, few_images
from bench.errors import RunError, one_sentence
from bench.runs.directory import RunDirectory, Status
from bench.runs.reload import trained_or
from bench.schema import eval_columns
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import DataSpec, GenerativeModel
from models.hybrid import Hybrid


def data(side: int = 8, channels: int = 1) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (32, channels, side, side), dtype=np.uint8)
    split = Split(images)
    return Dataset("tiny", split, split, (), False, "0" * 16)


def builder(build: dict[str, Any]) -> Any:
    return instantiate(build, _convert_="all")


def configured(run: Path, build: dict[str, Any]) -> Path:
    """The directory of a run that has only just started."""
    with RunDirectory(run) as records:
        config = {"model": {"name": "parent", "build": build}, "data_hash": "0" * 16}
        records.write_config(config)
        records.write_status(Status("running"))
    return run


def trained(
    run: Path,
    build: dict[str, Any],
    *,
    ema: float | None,
    status: Literal["running", "finished", "failed"] = "finished",
) -> Trainer:
    """A run directory after two steps, and the trainer that took them."""
    configured(run, build)
    torch.manual_seed(1)
    model = builder(build)(data().spec())
    adam = partial(torch.optim.Adam, lr=0.01)
    recipe = Recipe(8, {phase.name: adam for phase in model.phases}, ema_decay=ema)
    batches = BatchStream(data().train, 8, seed=0, flip=False)
    trainer = Trainer(model, recipe, Budget(images=16), batches, run / "checkpoints")
    trainer.fit(SilentObserver())
    finish(run, status)
    return trainer


def finish(
    run: Path,
    status: Literal["running", "finished", "failed"] = "finished",
    train_images: str = "all",
) -> None:
    """Record an evaluation and how the run ended."""
    row = {"checkpoint": 1, "sampler": "any", "weights": "raw", "image_shape": "1x8x8"}
    row["train_images"] = train_images
    with RunDirectory(run) as records:
        records.append_eval([row], eval_columns(("domain",)))
        records.write_status(Status(status, step=2))


def same(one: GenerativeModel, other: GenerativeModel) -> bool:
    state, theirs = one.state_dict(), other.state_dict()
    return state.keys() == theirs.keys() and all(torch.equal(state[k], theirs[k]) for k in state)


def never(_: DataSpec) -> GenerativeModel:
    raise AssertionError("the recorded model was to be built, not the one of the configuration")


@pytest.mark.parametrize("build", [GAN, DDPM], ids=["gan", "ddpm"])
@pytest.mark.parametrize("ema", [0.9, None])
def test_the_weights_of_a_finished_run_are_those_that_were_scored(tmp_path, build, ema):
    trainer = trained(tmp_path / "run", build, ema=ema)
    model = trained_or(never, str(tmp_path / "run"))(data().spec())
    assert same(model, trainer.evaluated)
    assert same(model, trainer.model) == (ema is None)
    assert model.trained
    assert type(model) is type(trainer.model)


def test_a_loaded_model_draws_what_the_run_drew(tmp_path):
    trainer = trained(tmp_path / "run", DDPM, ema=0.9)
    model = trained_or(never, str(tmp_path / "run"))(data().spec())
    with torch.inference_mode():
        one, other = (
            m.eval().samplers["ddim-2"].generate(3, torch.Generator().manual_seed(0), None)
            for m in (model, trainer.evaluated)
        )
    assert torch.equal(one, other)


def test_without_a_run_the_model_is_fresh():
    fresh = trained_or(builder(GAN), None)
    torch.manual_seed(5)
    one = fresh(data().spec())
    torch.manual_seed(5)
    assert same(one, builder(GAN)(data().spec()))
    assert not one.trained


def test_the_run_is_read_and_not_written(tmp_path):
    trained(tmp_path / "run", GAN, ema=0.9)

    def contents() -> dict[Path, bytes]:
        files = (path for path in (tmp_path / "run").rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if path.name != ".lock"}

    before = contents()
    trained_or(never, str(tmp_path / "run"))(data().spec())
    assert contents() == before


def test_a_model_that_needs_no_training_needs_no_checkpoint(tmp_path):
    run = configured(tmp_path / "real", REAL)
    finish(run)
    model = trained_or(never, str(run))(data().spec())
    assert model.trained
    assert set(model.samplers) == {"held-out"}


def refusal(run: Path | str, dataset: Dataset | None = None) -> str:
    """What the user is told: one sentence."""
    with pytest.raises(RunError) as error, one_sentence():
        trained_or(never, str(run))((dataset or data()).spec())
    return str(error.value)


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    for run in (tmp_path / "missing", tmp_path):
        said = refusal(run)
        assert said.startswith(f"{run} is not a run directory, it has no config.yaml: name one")
    assert not (tmp_path / "missing").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_not_finished_is_refused(tmp_path):
    sentence = "{} has not finished: run its command again, or name another run"
    trained(tmp_path / "killed", GAN, ema=None, status="running")  # with a checkpoint
    trained(tmp_path / "failed", GAN, ema=None, status="failed")
    configured(tmp_path / "begun", GAN)
    configured(tmp_path / "lost", GAN)
    (tmp_path / "lost" / "status.json").unlink()
    for run in tmp_path.iterdir():
        assert refusal(run) == sentence.format(run)


@pytest.mark.parametrize("build", [GAN, DDPM], ids=["gan", "ddpm"])
def test_a_run_whose_checkpoints_are_gone_is_refused(tmp_path, build):
    finish(configured(tmp_path, build))
    assert refusal(tmp_path) == (
        f"{tmp_path} has no checkpoint any more: run its command again with another "
        "results_root to train it"
    )


def test_a_run_in_training_is_refused(tmp_path):
    trained(tmp_path, GAN, ema=None, status="running")
    with RunDirectory(tmp_path), pytest.raises(RunError) as error, one_sentence():
        trained_or(never, str(tmp_path))(data().spec())
    assert not error.value.in_use, "the larger run is nobody's: a sweep must not leave it"
    assert str(error.value) == (
        f"{tmp_path} is in training: give this command again once it has finished, or name "
        "another run"
    )


def test_a_run_that_others_read_is_read(tmp_path):
    trained(tmp_path, GAN, ema=None)
    with RunDirectory(tmp_path, reading=True):
        assert trained_or(never, str(tmp_path))(data().spec()).trained


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("model: [", "is damaged"),
        ("", "is not the configuration of a run"),
        ("- a\n- b\n", "is not the configuration of a run"),
        ("model: {build: {}}\n", "is not the configuration of a run"),
    ],
    ids=["broken", "empty", "a list", "another file"],
)
def test_a_damaged_configuration_is_refused(tmp_path, config, sentence):
    trained(tmp_path, GAN, ema=None)
    (tmp_path / "config.yaml").write_text(config)
    said = refusal(tmp_path)
    assert sentence in said
    assert said.endswith("delete the run and give its command again")


def test_a_recorded_configuration_calls_what_is_listed_and_nothing_else(tmp_path):
    trained(tmp_path, GAN, ema=None)
    path = tmp_path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for build, words in (
        ({"_target_": "bench.data.dataset.content_hash"}, "does not list"),
        ({"_target_": "bench.runs.reload._read", "run": "."}, "does not list"),
        (GAN | {"latent_dim": "${seed}"}, "refers to other values"),
        (GAN | {"latent_dim": [3]}, "latent_dim=[3] is no value that"),
    ):
        path.write_text(yaml.safe_dump(config | {"model": {"name": "x", "build": build}}))
        said = refusal(tmp_path)
        assert said.startswith(str(path))
        assert words in said
    path.write_text(yaml.safe_dump(config | {"model": {"name": "x"}}))
    assert "is not the configuration of a run" in refusal(tmp_path)


def parts(draft: Path, refine: Path) -> dict[str, Any]:
    """The configuration of a model that is made of two runs."""
    part = {"_target_": "bench.runs.reload.trained_or", "build": GAN}
    runs = {"draft": part | {"run": str(draft)}, "refine": part | {"run": str(refine)}}
    joined = {"_target_": "models.hybrid.Hybrid", "_partial_": True, "sampler": "ddim-4"}
    return joined | {"steps": [1]} | runs


def test_a_run_that_is_made_of_itself_is_refused(tmp_path):
    finish(configured(tmp_path / "one", parts(tmp_path / "one", tmp_path / "two")))
    finish(configured(tmp_path / "two", parts(tmp_path / "one", tmp_path / "two")))
    said = refusal(tmp_path / "one")
    assert said.startswith(f"{tmp_path / 'one'} is made of runs that are made of runs, 3 times")


def test_a_run_that_is_made_of_others_is_built_again(tmp_path):
    for name, build in (("gan", GAN), ("ddpm", DDPM)):
        trained(tmp_path / name, build, ema=0.9)
    finish(configured(tmp_path / "both", parts(tmp_path / "gan", tmp_path / "ddpm")))
    model = trained_or(never, str(tmp_path / "both"))(data().spec())
    assert isinstance(model, Hybrid)
    assert model.draft.trained
    assert model.refine.trained


def test_weights_of_another_configuration_are_refused(tmp_path):
    trained(tmp_path, GAN, ema=0.9)
    path = tmp_path / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for build in (GAN | {"latent_dim": 4}, DDPM):
        path.write_text(yaml.safe_dump(config | {"model": {"name": "x", "build": build}}))
        said = refusal(tmp_path)
        assert said.startswith(f"{tmp_path}: its weights do not fit the model (")
        assert "\n" not in said
        assert len(said) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("build", [GAN, DDPM], ids=["gan", "ddpm"])
@pytest.mark.parametrize(
    ("dataset", "shape"),
    [(data(16), "1x16x16"), (data(channels=3), "3x8x8")],
    ids=["size", "channels"],
)
def test_a_run_on_data_of_another_shape_is_refused(tmp_path, build, dataset, shape):
    """Even where the weights would fit: those of a U-Net are for images of any size."""
    trained(tmp_path, build, ema=0.9)
    assert refusal(tmp_path, dataset) == (
        f"{tmp_path} was made with data of shape 1x8x8, not {shape}: name one on this data"
    )


@pytest.mark.parametrize("build", [GAN, DDPM], ids=["gan", "ddpm"])
def test_a_run_on_other_data_of_equal_shape_is_refused(tmp_path, build):
    trained(tmp_path, build, ema=0.9)
    other = replace(data(), name="others", hash="1" * 16)
    assert refusal(tmp_path, other) == (
        f"{tmp_path} was trained on other data: its dataset.name=data had the hash {'0' * 16}, and "
        f"dataset.name=others has the hash {'1' * 16}: name a run on this data, or choose the data "
        "of that run"
    )


@pytest.mark.parametrize(
    ("recorded", "here", "said"),
    [
        ("16", None, "=16, and here it is null: set dataset.train_images=16, or name a run with"),
        ("16", 20, "=16, and here it is 20: set dataset.train_images=16, or name a run with 20"),
        ("all", 16, "=null, and here it is 16: set dataset.train_images=null, or name a run with"),
        ("", 16, "=null, and here it is 16: set dataset.train_images=null, or name a run with 16"),
    ],
    ids=["fewer", "other", "all", "before"],
)
def test_a_run_on_another_part_of_the_data_is_refused(tmp_path, recorded, here, said):
    finish(configured(tmp_path, REAL), train_images=recorded)
    assert refusal(tmp_path, few_images(data(), here)).startswith(
        f"{tmp_path} was trained with dataset.train_images{said}"
    )


@pytest.mark.parametrize(("recorded", "here"), [("16", 16), ("all", None), ("all", 32)])
def test_a_run_on_equally_many_images_is_taken(tmp_path, recorded, here):
    finish(configured(tmp_path, REAL), train_images=recorded)
    assert trained_or(never, str(tmp_path))(few_images(data(), here).spec()).trained


def test_checkpoints_that_are_all_damaged_are_refused(tmp_path):
    trained(tmp_path, GAN, ema=None)
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        path.write_bytes(b"none")
    assert "is damaged: delete the run to repeat it" in refusal(tmp_path)


def hybrid(draft: str | None, refine: str | None) -> Hybrid:
    return Hybrid(
        data().spec(),
        trained_or(builder(GAN), draft),
        trained_or(builder(DDPM), refine),
        sampler="ddim-4",
        steps=(1, 4),
    )


def test_a_model_made_of_trained_ones_is_not_trained_and_keeps_their_weights(tmp_path):
    parents = [
        trained(tmp_path / name, build, ema=0.9).evaluated
        for name, build in (("gan", GAN), ("ddpm", DDPM))
    ]
    model = hybrid(str(tmp_path / "gan"), str(tmp_path / "ddpm"))
    assert model.phases == ()
    assert same(model.draft, parents[0])
    assert same(model.refine, parents[1])
    copied = copy.deepcopy(model)
    assert copied.phases == ()
    assert hybrid(None, None).phases


def test_one_trained_parent_without_the_other_is_refused(tmp_path):
    trained(tmp_path / "gan", GAN, ema=None)
    with pytest.raises(RunError, match=r"give both .*refine_run, or none"), one_sentence():
        hybrid(str(tmp_path / "gan"), None)
