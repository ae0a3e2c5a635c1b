"""What a run refuses, in one sentence and before any work; where it writes."""

from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from bench.errors import RunError
from bench.run import run, run_directory

ROOT = Path(__file__).resolve().parents[2]


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("budget.images=-5", "budget.images must be positive, got -5"),
        ("budget.checkpoints=0", "budget.checkpoints must be at least 1, got 0"),
        ("precision=fp8", "precision must be one of .*got 'fp8'"),
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
        ("budget.images=many", "budget: "),
        ("+trainer.speed=9", "trainer: .*speed"),
        ("+model.build.speed=9", "model.build: .*speed"),
        ("trainer.log_every=0", "trainer.log_every must be at least 1"),
        ("logger.wandb=sometimes", "logger.wandb.*sometimes"),
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


def test_the_directory_is_a_function_of_the_configuration() -> None:
    cfg = compose("seed=3", "budget.images=5")
    plain = run_directory(cfg, ["seed=3", "model=dcgan_small"])
    assert plain == Path("results/runs/digits/dcgan_small/default/seed=3")
    one = run_directory(cfg, ["budget.images=5", "precision=bf16", "seed=3"])
    other = run_directory(cfg, ["precision=bf16", "budget.images=5", "logger.wandb=offline"])
    assert one == other
    assert one.parent.name != "default"
    assert one != run_directory(cfg, ["budget.images=6", "precision=bf16"])


@pytest.mark.parametrize(
    "file", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda file: file.stem
)
def test_an_experiment_decides_what_it_names(file: Path) -> None:
    cfg = compose(f"experiment={file.stem}")
    wanted = OmegaConf.load(file)
    assert OmegaConf.merge(cfg, wanted) == cfg
