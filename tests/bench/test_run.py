"""Refusals of a run before any work, and where a run writes."""

import csv
import logging
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from bench.config import recipe_hash, run_directory
from bench.errors import RunError
from bench.run import run

ROOT = Path(__file__).resolve().parents[2]


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("budget.images=-5", "budget.images must be positive, got -5"),
        ("budget.checkpoints=0", "budget.checkpoints must be at least 1, got 0"),
        ("precision=fp8", "precision must be auto, fp32 or bf16, got 'fp8'"),
        ("device=cuda:99", "device=cuda:99, but torch sees no CUDA device|invalid device"),
        ("device=abacus", "device must be auto, cpu, cuda"),
        ("evaluator.samples=-1", "evaluator.samples must be at least 10, got -1"),
        ("evaluator.batch_size=0", "evaluator.batch_size must be at least 1"),
        ("evaluator.extractor=inceptoin", "evaluator.extractor is 'inceptoin'"),
        ("evaluator.extractor=[]", "evaluator.extractor must name extractors"),
        ("evaluator.weights.inception=x.pth", "evaluator.weights are given for .'inception'."),
        ("evaluator.weights.domain=nowhere", "nowhere: there is no such file"),
        ("model.training.batch_size=0", "training.batch_size must be at least 1, got 0"),
        ("model.training.clip_norm=0", "training.clip_norm must be positive or null, got 0"),
        ("model.training.ema_decay=1.5", "training.ema_decay must be in .0, 1., got 1.5"),
        ("threads=0", "threads must be at least 1 or null, got 0"),
        ("evaluator.samples=9", "evaluator.samples must be at least 10, got 9"),
        ("evaluator.samples=0", "evaluator.samples must be at least 10, got 0"),
        ("evaluator.samples=many", "evaluator.samples must be a whole number or null, got 'many'"),
        ("evaluator.cost_seconds=null", "evaluator.cost_seconds must be a number, got None"),
        ("evaluator.cost_seconds=-1", "evaluator.cost_seconds must not be negative, got -1"),
        ("budget.images=many", "budget.images must be a number or null, got 'many'"),
        ("budget.checkpoints=2.5", "budget.checkpoints must be a whole number, got 2.5"),
        ("seed=0.5", "seed must be a whole number, got 0.5"),
        ("seed=a", "seed must be a whole number, got 'a'"),
        ("threads=two", "threads must be a whole number or null, got 'two'"),
        ("~trainer.log_every", "trainer.log_every is missing: it must be a whole number"),
        ("trainer.compile=1", "trainer.compile must be true or false, got 1"),
        ("+trainer.speed=9", "trainer.speed is no setting: there are log_every, "),
        ("+model.build.speed=9", "model.build: .*speed"),
        ("trainer.log_every=0", "trainer.log_every must be at least 1"),
        (
            "logger.wandb=sometimes",
            "logger.wandb must be disabled, offline or online, got",
        ),
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
