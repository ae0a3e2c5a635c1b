"""Refusals of a run before any work, and where a run writes."""

import csv
import logging
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from bench.errors import RunError
from bench.former import recipe_hash
from bench.run import dry_run, run
from bench.runtime.outlook import ENDED, NEW, REPEATED
from bench.runtime.progress import TrainingProgress
from bench.schema import PROTOCOL
from bench.variant import run_directory

ROOT = Path(__file__).resolve().parents[2]


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("budget.images=-5", "budget.images must be positive, got -5"),
        ("device=cuda:99", "device=cuda:99, but torch sees no CUDA device|invalid device"),
        ("evaluator.weights.inception=x.pth", "x.pth: there is no such file"),
        ("evaluator.weights.domain=nowhere", "nowhere: there is no such file"),
        ("model.training.clip_norm=0", "training.clip_norm must be positive or null, got 0"),
        ("evaluator.samples=9", "evaluator.samples must be at least 10, got 9"),
        ("evaluator.cost_seconds=null", "evaluator.cost_seconds must be a number, got None"),
        ("budget.checkpoints=2.5", "budget.checkpoints must be a whole number, got 2.5"),
        ("seed=a", "seed must be a whole number, got 'a'"),
        ("threads=two", "threads must be a whole number or null, got 'two'"),
        ("~trainer.log_every", "trainer.log_every is missing: it must be a whole number"),
        ("trainer.compile=1", "trainer.compile must be true or false, got 1"),
        ("+trainer.speed=9", "trainer.speed is no setting: there are log_every, "),
        ("dataset.path=nowhere", "nowhere"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, override: str, sentence: str) -> None:
    cfg = compose(override, f"results_root={tmp_path}")
    with pytest.raises(RunError, match=sentence) as refused:
        run(cfg, [override])
    assert len(str(refused.value).splitlines()) == 1


def test_more_samples_than_held_out_images_are_refused(tmp_path: Path) -> None:
    cfg = compose("model=real", "evaluator.samples=701", f"results_root={tmp_path}")
    with pytest.raises(RunError, match="700"):
        run(cfg)


def test_optimizers_must_be_the_phases(tmp_path: Path) -> None:
    cfg = compose("~model.training.optimizers.generator", f"results_root={tmp_path}")
    with pytest.raises(RunError, match=r"training.optimizers must name the model's phases"):
        run(cfg)


@pytest.mark.parametrize(
    ("asked", "units", "precision"),
    [("bf16", False, "fp32"), ("auto", False, "fp32"), ("auto", True, "bf16")],
)
def test_the_precision_recorded_is_what_was_computed_in(
    tmp_path: Path, monkeypatch, caplog, asked: str, units: bool, precision: str
) -> None:
    """A machine without units for bf16 says in one sentence that it falls back."""
    monkeypatch.setattr("bench.runtime.device.computes_bf16", lambda device: units)
    monkeypatch.setattr(logging.getLogger("bench"), "propagate", True)  # as before bench.cli
    small = ("model=mlp_gan", "dataset=digits", "budget.images=64", "evaluator.samples=20")
    given = [*small, "evaluator.cost_seconds=0", "evaluator.resamples=0", f"precision={asked}"]
    path = run(compose(*given, f"results_root={tmp_path}"), given).directory
    assert OmegaConf.load(path / "config.yaml").precision == precision
    (row,) = csv.DictReader((path / "eval.csv").read_text().splitlines())
    assert row["precision"] == precision
    said = [record.message for record in caplog.records if "no units for bf16" in record.message]
    sentence = "⚠ precision=bf16, but this cpu has no units for bf16: computing in fp32"
    assert said == ([sentence] if asked == "bf16" else [])


def test_a_run_goes_on_in_the_precision_that_it_was_begun_in(tmp_path: Path, monkeypatch) -> None:
    """On whichever machine; `precision=auto` also goes on with runs of versions without it."""
    small = ("model=mlp_gan", "dataset=digits", "budget.images=64", "evaluator.samples=20")
    given = [*small, "evaluator.cost_seconds=0", "evaluator.resamples=0"]
    for units in (False, True):
        monkeypatch.setattr("bench.runtime.device.computes_bf16", lambda device, u=units: u)
        result = run(compose(*given, f"results_root={tmp_path}"), given)
        assert OmegaConf.load(result.directory / "config.yaml").precision == "fp32"
    bf16 = compose(*given, f"results_root={tmp_path}", "precision=bf16")
    with pytest.raises(RunError, match=r"precision: .*fp32.* → .*bf16"):
        run(bf16, given)


def test_the_directory_is_a_function_of_the_configuration() -> None:
    def directory(overrides: list[str]) -> Path:
        return run_directory(Path("results"), "digits", "dcgan_small", overrides, 3)

    plain = directory(["seed=3", "model=dcgan_small"])
    assert plain == Path("results/runs/digits/dcgan_small/default/seed=3")
    one = directory(["budget.images=5", "precision=bf16", "seed=3"])
    other = directory(["precision=bf16", "budget.images=5", "logger.wandb=offline"])
    assert one == other
    assert one.parent.name != "default"
    assert one != directory(["budget.images=6", "precision=bf16"])


def test_the_recipe_is_what_decides_what_is_learned() -> None:
    def recipe(*overrides: str) -> str:
        cfg = compose("model=mlp_gan", *overrides)
        model = OmegaConf.to_container(cfg.model, resolve=True)
        assert isinstance(model, dict)
        return recipe_hash({str(k): v for k, v in model.items()}, flip=cfg.dataset.flip)

    assert recipe("seed=1", "budget.seconds=9") == recipe()
    assert recipe("model.training.optimizers.generator.lr=1e-3") != recipe()
    assert recipe("dataset.flip=true") != recipe()


def test_an_error_within_training_is_shown_as_the_bug_it_is(tmp_path: Path, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("not enough values to unpack")

    monkeypatch.setattr("models.gan.gan.GAN.discriminator_loss", broken)
    cfg = compose("model=mlp_gan", "budget.images=64", f"results_root={tmp_path}")
    with pytest.raises(RuntimeError, match=r"a bug, .*not enough values") as error:
        run(cfg)
    assert isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda file: file.stem
)
def test_an_experiment_decides_what_it_names(file: Path) -> None:
    cfg = compose(f"experiment={file.stem}")
    wanted = OmegaConf.load(file)
    wanted.pop("defaults", None)  # which other files it takes
    assert OmegaConf.merge(cfg, wanted) == cfg


def test_only_the_command_line_can_name_what_is_trusted(tmp_path: Path) -> None:
    cfg = compose("trust=[my_models]", f"results_root={tmp_path}")
    with pytest.raises(RunError, match=r"trust is \[my_models\] in a configuration file"):
        run(cfg, ["seed=1"])
    assert list(tmp_path.iterdir()) == []


def test_a_single_run_says_how_long_it_takes_before_it_starts(
    tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    def extract(*_: object) -> None:
        raise KeyError("features of the real data")

    monkeypatch.setattr("bench.job.SHORT", 0.0)
    monkeypatch.setattr("bench.job.build_evaluator", extract)
    quick = ("budget.checkpoints=90", "evaluator.samples=100", "evaluator.resamples=0", "threads=1")
    words = ["model=mlp_gan", "budget.seconds=90", *quick, f"results_root={tmp_path}"]
    progress = TrainingProgress("mlp_gan")
    with caplog.at_level("INFO", "bench"), pytest.raises(KeyError, match="features"):
        run(compose(*words), words, progress=progress)
    said = [record.getMessage() for record in caplog.records]
    assert any(text.startswith("  1 run: about ") for text in said), said
    assert progress.forecast is not None
    assert progress.forecast.training == 90


@pytest.mark.parametrize("model", ["mlp_gan", "real"])
def test_the_plan_names_the_protocol_that_the_rows_will_have(tmp_path: Path, model: str) -> None:
    words = [f"model={model}", "budget.images=64", "evaluator.samples=100", "threads=1"]
    words += ["evaluator.cost_seconds=0", "evaluator.resamples=0", "dataset.train_images=200"]
    composed = (*words, f"results_root={tmp_path}")
    planned = dry_run(compose(*composed), words, known={}).protocol
    path = run(compose(*composed), words).directory
    (row,) = csv.DictReader((path / "eval.csv").read_text().splitlines())
    assert planned == {field: row[field] for field in planned}
    later = {"reference", "reference_size", "preprocessing", "class_labels", "processes"}
    of_training = {"budget", "precision", "device", "threads"} if model == "real" else set()
    assert set(planned) == set(PROTOCOL) - later - of_training


REAL = ("model=real", "evaluator.samples=100", "evaluator.resamples=0", "threads=1")


def test_what_does_not_depend_on_the_seed_runs_once(tmp_path: Path) -> None:
    def real(seed: int, *earlier: int, root: str = "a", plan: bool = False):
        words = [*REAL, f"seed={seed}", f"results_root={tmp_path / root}"]
        before = [str(directory(root, other)) for other in earlier]
        cfg = compose(*words)
        return dry_run(cfg, words, earlier=before) if plan else run(cfg, words, earlier=before)

    def directory(root: str, seed: int) -> Path:
        return run_directory(tmp_path / root, "digits", "real", list(REAL), seed)

    assert real(1, 0, plan=True).state == REPEATED  # seed 0 comes first in the same sweep
    assert real(1, 0).status == "repeated"
    assert not (tmp_path / "a").exists()
    assert real(0).status == "finished"
    assert real(0, plan=True).state == ENDED
    second = real(1)
    assert second.status == "repeated"
    assert second.reason == f"its scores do not depend on the seed: see {directory('a', 0)}"
    assert real(2, 0, 1).reason == second.reason
    assert [path.name for path in directory("a", 0).parent.iterdir()] == ["seed=0"]
    status = directory("a", 0) / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"failed"'))
    assert real(1, 0).status == "finished"  # a failed one stands for nothing, in its sweep neither
    assert real(1).status == "finished"  # and what is recorded is not given up


def test_a_run_of_another_configuration_stands_for_nothing(tmp_path: Path) -> None:
    words = [*REAL, f"results_root={tmp_path}"]
    assert run(compose(*words), words).status == "finished"
    (config,) = tmp_path.rglob("config.yaml")
    config.write_text(config.read_text().replace("samples: 100", "samples: 99"))
    other = [*words, "seed=1"]
    assert dry_run(compose(*other), other).state == NEW


def test_samples_that_a_seed_chooses_run_for_each_seed(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8))
    for take, state in (("random", NEW), ("null", REPEATED)):
        words = ["model=samples", f"model.path={tmp_path / 'x.npy'}", f"model.take={take}"]
        words += ["evaluator.samples=50", f"results_root={tmp_path / take}", "seed=1"]
        first = run_directory(tmp_path / take, "digits", "samples", words, 0)
        assert dry_run(compose(*words), words, earlier=[str(first)]).state == state
