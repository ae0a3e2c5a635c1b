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
from PIL import Image

from bench.config import Budget, LoggerSettings, TrainerSettings
from bench.data import sources
from bench.data.batches import BatchStream
from bench.data.dataset import Dataset, Split, few_images
from bench.data.folder import load_folder
from bench.errors import RunError, one_sentence
from bench.runs.directory import RunDirectory, Status
from bench.runs.reload import rebuild, trained_or
from bench.schema import eval_columns
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import DataSpec, GenerativeModel
from models.hybrid import Hybrid

GAN = {
    "_target_": "models.gan.gan.GAN",
    "_partial_": True,
    "latent_dim": 3,
    "generator": {"_target_": "models.gan.networks.dcgan.Generator", "_partial_": True, "width": 4},
    "discriminator": {
        "_target_": "models.gan.networks.dcgan.Discriminator",
        "_partial_": True,
        "width": 4,
    },
    "objective": {"_target_": "models.gan.objectives.non_saturating"},
}
DDPM = {
    "_target_": "models.diffusion.gaussian.GaussianDiffusion",
    "_partial_": True,
    "samplers": ["ddim-2"],
    "betas": {
        "_target_": "models.diffusion.schedules.linear_betas",
        "num_timesteps": 20,
        "beta_first": 1e-3,
        "beta_last": 0.2,
    },
    "network": {
        "_target_": "models.diffusion.networks.unet.UNet",
        "_partial_": True,
        "channels": 4,
        "channel_mult": [1, 1],
        "num_res_blocks": 1,
        "groups": 2,
    },
}
REAL = {"_target_": "models.stored.RealData", "_partial_": True}


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


def recorded_folder(root: Path, **values: Any) -> Path:
    """A run of real data on a folder of images, whose configuration says also these values."""
    images = root / "images"
    images.mkdir()
    for k in range(24):
        pixels = np.random.default_rng(k).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{k:02}.png")
    load = {"_target_": "bench.data.folder.load_folder", "_partial_": True, "name": "pets"}
    load |= {"path": str(images), "image_size": 8}
    known = load_folder(path=str(images), image_size=8, data_root=root, cache_root=root / "own")
    config = {
        "seed": 0,
        "threads": None,
        "precision": "fp32",
        "device": "auto",
        "data_root": "data",
        "cache_root": str(root / "theirs"),
        "results_root": "results",
        "dataset": {"name": "pets", "flip": False, "load": load},
        "model": {"name": "real", "build": REAL, "training": {}},
        "budget": vars(Budget(images=8)),
        "trainer": vars(TrainerSettings()),
        "logger": vars(LoggerSettings()),
        "evaluator": {"samples": None, "batch_size": 8, "cost_seconds": 0, "resamples": 0}
        | {"extractor": None, "weights": {}},
        "data_hash": known.hash,
    } | values
    with RunDirectory(root / "run") as records:
        records.write_config(config)
        records.write_status(Status("finished"))
    return root / "run"


def test_nothing_is_written_where_a_recorded_configuration_says(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    run = recorded_folder(tmp_path, data_root=str(tmp_path / "elsewhere"))
    with pytest.raises(RunError) as error, one_sentence():
        rebuild(run, "cpu")
    assert "too few" in str(error.value) or "scored" in str(error.value)
    assert (tmp_path / "ours").is_dir()
    assert not (tmp_path / "theirs").exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"threads": 10**9}, "threads must be at most 1024 or null"),
        ({"threads": "many"}, "threads must be a whole number or null"),
        ({"precision": "fp8"}, "precision must be auto, fp32 or bf16, got 'fp8'"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807"),
        ({"dataset": {"name": "../../x"}}, "dataset.name must be 1 to 100 printable characters"),
        ({"evaluator": {"samples": 10**12, "batch_size": 8}}, "evaluator.samples=1000000000000"),
        ({"evaluator": None}, "config.yaml: evaluator.samples is missing: bring"),
        ({"evaluator": []}, "config.yaml: evaluator.samples is missing: bring"),
        ({"evaluator": {"batch_size": "???"}}, "evaluator.batch_size must be a whole number"),
        ({"dataset": {"load": "???"}}, "dataset.load must name what to call"),
        ({"precision": "???"}, "config.yaml: precision must be auto, fp32 or bf16, got '???'"),
        ({"data_root": None}, "data_root must be text, got None"),
    ],
    ids=str,
)
def test_recorded_settings_are_checked_as_those_of_the_command_line(
    tmp_path, monkeypatch, values, said
):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    run = recorded_folder(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in values.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError) as error, one_sentence():
        rebuild(run, "cpu")
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["seed", "threads", "precision", "dataset", "evaluator"])
def test_recorded_settings_that_are_missing_are_named_with_their_file(tmp_path, key):
    run = recorded_folder(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config[key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with (
        pytest.raises(RunError, match=rf"config\.yaml: {key}.* is missing") as error,
        one_sentence(),
    ):
        rebuild(run, "cpu")
    assert str(error.value).endswith("bring the file back, or do not use this run")


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


def recorded_mnist(root: Path, data_root: Path) -> Path:
    """A run of real data on MNIST, whose configuration says that it lay in data_root."""
    run = recorded_folder(root, data_root=str(data_root))
    config = yaml.safe_load((run / "config.yaml").read_text())
    load = {"_target_": "bench.data.sources.load_mnist", "_partial_": True}
    config["dataset"] = {"name": "mnist", "flip": False, "load": load}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


@pytest.mark.parametrize("loader", ["sources.load_mnist", "stacked.load_stacked_mnist"])
def test_nothing_is_downloaded_into_a_recorded_folder(tmp_path, monkeypatch, loader):
    """Only into one's own: the folder given, or the default one."""
    downloads = []

    class DownloadedError(Exception):
        pass

    def download(source, data_root):
        downloads.append(data_root)
        raise DownloadedError

    monkeypatch.setattr(sources, "_download", download)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    theirs = tmp_path / "theirs-data"
    theirs.mkdir()
    run = recorded_mnist(tmp_path, theirs)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("sources.load_mnist", loader))
    with pytest.raises(RunError) as error, one_sentence():
        rebuild(run, "cpu")
    assert str(error.value) == (
        f"MNIST is not at {theirs}/MNIST/raw, and nothing is downloaded to where a recorded run "
        "had its data: name a folder that has it, or that it may be downloaded to, with --data-root"
    )
    assert not list(theirs.iterdir())
    with pytest.raises(DownloadedError):  # who names the folder wants it there
        rebuild(run, "cpu", theirs)
    theirs.rmdir()
    with pytest.raises(DownloadedError):
        rebuild(run, "cpu")
    assert downloads == [theirs, tmp_path / "data"]


def test_data_is_downloaded_to_the_own_folder_if_the_run_had_it_there(tmp_path, monkeypatch):
    downloads = []
    monkeypatch.setattr(sources, "_download", lambda source, root: downloads.append(root))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        rebuild(recorded_mnist(tmp_path, tmp_path / "data"), "cpu")
    assert downloads == [tmp_path / "data"]
