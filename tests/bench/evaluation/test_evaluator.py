"""The evaluator leaves training untouched and repeats its samples; the recorder records."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.config import Budget, LoggerSettings
from bench.data.batches import BatchStream
from bench.data.dataset import Dataset, Split, as_stored, gather
from bench.data.mixtures import load_ring8
from bench.data.sources import load_digits
from bench.evaluation import reference as reference_module
from bench.evaluation.evaluator import Evaluator
from bench.evaluation.extractors.base import IdentityExtractor, extract
from bench.evaluation.extractors.classifier import DomainClassifier
from bench.evaluation.extractors.domain import DomainExtractor
from bench.evaluation.metrics import fid
from bench.evaluation.metrics import quality as quality_module
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import Reference
from bench.evaluation.sampling import SamplesNotFiniteError
from bench.runs.directory import RunDirectory
from bench.runs.looks import Call
from bench.runs.provenance import provenance
from bench.runs.wandb_mirror import WandbLogger
from bench.runs.writer import Instruments, Recorder, Scoring
from bench.runtime.memory import PeakMemory
from bench.runtime.progress import TrainingProgress
from bench.schema import COST, INTERVAL_METRICS, MEMORISATION
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import GenerativeModel, Sampler
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import non_saturating
from models.stored import RealData, Stored, StoredSamples


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(
        data_root=Path(), name="digits", flip=False, image_size=8, channels=1, path=None
    )


def make_evaluator(digits: Dataset, cache: Path, samples: int = 60, batch: int = 25) -> Evaluator:
    torch.manual_seed(0)
    extractor = DomainExtractor(DomainClassifier((1, 8, 8), 10, width=4).eval())
    reference = Reference(digits, [extractor], device=torch.device("cpu"), cache_dir=cache)
    options = EvaluatorOptions(samples, batch, seed=1, cost_seconds=0.05, resamples=20)
    return Evaluator(reference, options)


def make_trainer(digits: Dataset, path: Path, points: int = 2) -> Trainer:
    torch.manual_seed(0)
    model = GAN(
        digits.spec(),
        generator=partial(Generator, width=8),
        discriminator=partial(Discriminator, width=8),
        objective=non_saturating(),
        latent_dim=4,
    )
    adam = torch.optim.Adam
    recipe = Recipe(8, {"discriminator": adam, "generator": adam}, ema_decay=0.9)
    batches = BatchStream(digits.train, 8, seed=0, flip=False)
    budget = Budget(images=64, checkpoints=points)
    return Trainer(model, recipe, budget, batches, path / "checkpoints")


def frozen(trainer: Trainer) -> list[Tensor]:
    models = (trainer.model, trainer.evaluated)
    return [tensor.clone() for model in models for tensor in model.state_dict().values()]


def test_training_state_is_untouched_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    trainer = make_trainer(digits, tmp_path)
    trainer.step()
    trainer.model.discriminator.eval()  # a part that someone froze on purpose stays as it is
    before = frozen(trainer)
    modes = [module.training for module in trainer.model.modules()]
    gradients = [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]
    evaluator = make_evaluator(digits, tmp_path)
    random_state = torch.get_rng_state()
    for model in (trainer.model, trainer.evaluated):
        evaluator.evaluate(model, last=True)
    assert torch.equal(random_state, torch.get_rng_state())
    assert [module.training for module in trainer.model.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(before, frozen(trainer), strict=True))
    after = [p.grad for p in trainer.model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(gradients, after, strict=True))


def test_the_same_model_gets_the_same_scores(digits: Dataset, tmp_path: Path) -> None:
    model = make_trainer(digits, tmp_path).model
    first = make_evaluator(digits, tmp_path).evaluate(model, last=False)
    torch.rand(5)
    second = make_evaluator(digits, tmp_path).evaluate(model, last=False)
    assert torch.equal(first[0].shown, second[0].shown)
    for column, value in first[0].values.items():
        assert second[0].values[column] == pytest.approx(value, rel=1e-6)


def test_held_out_data_is_closer_to_the_train_split_than_an_untrained_gan(
    digits: Dataset, tmp_path: Path
) -> None:
    evaluator = make_evaluator(digits, tmp_path, samples=300)
    real = evaluator.evaluate(RealData(digits.spec()), last=True)[0].values
    gan = evaluator.evaluate(make_trainer(digits, tmp_path).model, last=False)[0].values
    assert real["fid_domain"] < gan["fid_domain"]
    assert real["nfe"] == 0
    assert "latency_ms" not in real


def test_samples_that_are_not_finite_or_of_another_shape_are_refused(
    digits: Dataset, tmp_path: Path
) -> None:
    class Broken(RealData):
        def __init__(self, value: Tensor) -> None:
            super().__init__(digits.spec())
            self.value = value

        @property
        def samplers(self) -> dict[str, Sampler]:
            return {"broken": Sampler(lambda n, generator, y: self.value.expand(n, -1, -1, -1), {})}

    evaluator = make_evaluator(digits, tmp_path)
    with pytest.raises(SamplesNotFiniteError, match="sampler broken returned values"):
        evaluator.evaluate(Broken(torch.full((1, 1, 8, 8), float("nan"))), last=False)
    with pytest.raises(ValueError, match=r"returned shape \(25, 1, 9, 8\), not \(25, 1, 8, 8\)"):
        evaluator.evaluate(Broken(torch.zeros(1, 1, 9, 8)), last=False)


def test_a_class_without_training_images_is_named(digits: Dataset, tmp_path: Path) -> None:
    from dataclasses import replace

    labels = digits.train.labels
    assert labels is not None
    kept = labels != 3
    part = replace(digits, train=Split(digits.train.images[kept], labels[kept]))
    with pytest.raises(ValueError, match="no training images of 3"):
        make_evaluator(part, tmp_path)


def instruments(trainer: Trainer, path: Path) -> Instruments:
    mirror = WandbLogger(LoggerSettings(), path, "n", {})
    return Instruments(mirror, TrainingProgress("test"), PeakMemory(trainer.device))


def record(digits: Dataset, path: Path) -> list[dict[str, str]]:
    trainer = make_trainer(digits, path)
    evaluator = make_evaluator(digits, path)
    with RunDirectory(path) as records:
        trainer.resume()
        recorder = Recorder(
            records,
            trainer,
            lambda: Scoring(
                evaluator,
                {"dataset": "digits", "model": "gan", "seed": 0} | provenance(evaluator, trainer),
            ),
            instruments(trainer, path),
            Call("python -m bench"),
        )
        trainer.fit(recorder)
    with (path / "eval.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_point_has_a_row_and_the_last_one_its_costs(digits: Dataset, tmp_path: Path) -> None:
    rows = record(digits, tmp_path)
    assert [(row["checkpoint"], row["images"], row["step"]) for row in rows] == [
        ("1", "32", "4"),
        ("2", "64", "8"),
    ]
    measured = [column for column in COST if column != "nfe"]
    measured += [f"{metric}_domain" for metric in MEMORISATION]
    measured += [f"{m}_{side}_domain" for m in INTERVAL_METRICS for side in ("low", "high")]
    assert not any(rows[0][column] for column in measured)
    optional = {"images_per_second_iqr", "train_memory_mib", "sampling_memory_mib", "mifid_domain"}
    assert all(rows[1][column] for column in measured if column not in optional)
    assert float(rows[1]["train_flops"]) == pytest.approx(
        64e9 * float(rows[1]["train_gflops_per_image"])
    )
    assert (tmp_path / "samples" / "checkpoint=2_generator.png").exists()
    assert rows[1]["budget"] == "images=64"


def test_a_kill_between_checkpoint_and_row_is_made_good(digits: Dataset, tmp_path: Path) -> None:
    whole = record(digits, tmp_path / "whole")

    class KilledError(Exception):
        pass

    class Kill(SilentObserver):
        def on_point(self) -> None:
            raise KilledError

    trainer = make_trainer(digits, tmp_path / "killed")
    with pytest.raises(KilledError):
        trainer.fit(Kill())
    rows = record(digits, tmp_path / "killed")
    assert [row["step"] for row in rows] == ["4", "8"]
    for a, b in zip(whole, rows, strict=True):
        assert float(a["fid_domain"]) == pytest.approx(float(b["fid_domain"]), rel=1e-6)


def test_rows_that_a_lost_checkpoint_made_are_made_again(digits: Dataset, tmp_path: Path) -> None:
    record(digits, tmp_path)
    (tmp_path / "checkpoints" / "step=8.pt").unlink()
    rows = record(digits, tmp_path)
    assert [row["checkpoint"] for row in rows] == ["1", "2"]
    assert (tmp_path / "checkpoints" / "step=8.pt").exists()


def test_points_are_scored_as_they_are(tmp_path: Path) -> None:
    ring = load_ring8(data_root=tmp_path)
    reference = Reference(
        ring, [IdentityExtractor()], device=torch.device("cpu"), cache_dir=tmp_path
    )
    evaluator = Evaluator(reference, EvaluatorOptions(500, 200, seed=1))
    scores = evaluator.evaluate(RealData(ring.spec()), last=False)[0]
    assert scores.shown.shape == (500, 2)
    assert scores.values["modes"] == 8
    assert scores.values["high_quality"] == pytest.approx(0.9889, abs=0.02)
    assert scores.values["fid_identity"] < 0.01
    assert "class_kl" in scores.values
    perfect = reference.perfect(500)
    assert set(perfect) == {"modes_perfect", "high_quality_perfect", "reverse_kl_perfect"}


def test_signs_of_collapse_reach_the_row_the_log_and_the_reader(
    digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An untrained generator draws nearly the same image again and again."""
    with caplog.at_level("WARNING", logger="bench.runs.writer"):
        rows = record(digits, tmp_path)
    assert "modes" in rows[0]["warning"]
    assert rows[0]["warning"] in caplog.text
    with (tmp_path / "train.csv").open() as file:
        logged = {row["key"]: row for row in csv.DictReader(file)}
    assert logged["warning/modes/generator"]["step"] == "8"
    assert float(logged["warning/modes/generator"]["value"]) == float(rows[1]["modes"])


def untrained_row(digits: Dataset, path: Path, model: GenerativeModel) -> dict[str, str]:
    """The row of a model without phases, recorded as `python -m bench` does."""
    batches = BatchStream(digits.train, 8, seed=0, flip=False)
    trainer = Trainer(model, Recipe(8, {}), Budget(images=8), batches, path / "c")
    evaluator = make_evaluator(digits, path)
    with RunDirectory(path / "run") as records:
        recorder = Recorder(
            records,
            trainer,
            lambda: Scoring(evaluator, {"dataset": "digits", "model": "stored", "seed": 0}),
            instruments(trainer, path),
            Call("python -m bench"),
        )
        trainer.fit(recorder)
        (row,) = records.eval_rows()
    return row


def test_real_data_is_not_in_training_and_never_warned_of(digits: Dataset, tmp_path: Path) -> None:
    assert untrained_row(digits, tmp_path, RealData(digits.spec()))["warning"] == ""


def test_copies_of_training_images_are_warned_of(
    digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Samples made elsewhere have no training to watch, but may be copies."""
    copied = torch.arange(0, 600, 10)

    def read(shape: tuple[int, ...]) -> Stored:
        return Stored(lambda i: gather(digits.train.images, copied[i].numpy()), len(copied), "abc")

    with caplog.at_level("WARNING", logger="bench.runs.writer"):
        row = untrained_row(digits, tmp_path, StoredSamples(digits.spec(), read))
    words = "copies: 100% of the samples all but coincide with one training image, 0.0% of held-out"
    assert row["warning"].startswith(words)
    assert float(row["nn_ratio_domain"]) == 0
    assert row["warning"] in caplog.text


def test_a_kill_between_warnings_and_rows_warns_once(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_eval", kill)
        with pytest.raises(KilledError):
            record(digits, tmp_path)
    record(digits, tmp_path)
    with (tmp_path / "train.csv").open() as file:
        keys = [(row["step"], row["key"]) for row in csv.DictReader(file)]
    assert ("4", "warning/modes/generator") in keys
    assert len(keys) == len(set(keys))


class TwoSamplers(RealData):
    """Held-out data under two names."""

    @property
    def samplers(self) -> dict[str, Sampler]:
        (sampler,) = super().samplers.values()
        return {"first": sampler, "second": sampler}


class Mean(DomainExtractor):
    """The same features under another name, and no classes."""

    names_classes = False

    def __init__(self) -> None:
        super().__init__(DomainClassifier((1, 8, 8), 10, width=4).eval())
        self.name = "mean"


@pytest.mark.parametrize("classes_last", [False, True])
def test_points_before_the_last_have_what_curves_and_collapse_need(
    digits: Dataset, tmp_path: Path, classes_last: bool
) -> None:
    """The first sampler and extractor; another extractor only for the classes of the samples."""
    torch.manual_seed(0)
    domain, mean = DomainExtractor(DomainClassifier((1, 8, 8), 10, width=4).eval()), Mean()
    extractors = [mean, domain] if classes_last else [domain, mean]
    reference = Reference(digits, extractors, device=torch.device("cpu"), cache_dir=tmp_path)
    evaluator = Evaluator(reference, EvaluatorOptions(60, 25, seed=1))
    model = TwoSamplers(digits.spec())
    (early,) = evaluator.evaluate(model, last=False)
    assert early.sampler == "first"
    first, second = (extractor.name for extractor in extractors)
    watched = {f"{metric}_{first}" for metric in ("fid", "duplicates", "precision", "recall")}
    assert watched | {"modes"} <= early.values.keys()
    assert not [column for column in early.values if column.endswith(f"_{second}")]
    last = evaluator.evaluate(model, last=True)
    assert [evaluation.sampler for evaluation in last] == ["first", "second"]
    for name in (first, second):
        assert all(f"fid_{name}" in evaluation.values for evaluation in last)
    for column, value in early.values.items():  # the same scores as at the end
        assert last[0].values[column] == pytest.approx(value, nan_ok=True)


def test_statistics_of_the_reference_are_computed_once(
    digits: Dataset, tmp_path: Path, monkeypatch
) -> None:
    """Not for every point, sampler and metric."""
    computed: list[int] = []

    def counted(features: Tensor):
        computed.append(len(features))
        return fid.statistics(features)

    for module in (quality_module, reference_module):
        monkeypatch.setattr(module, "statistics", counted)
    evaluator = make_evaluator(digits, tmp_path)
    model = TwoSamplers(digits.spec())
    scores = [evaluator.evaluate(model, last=last)[0].values for last in (False, False, True)]
    assert computed.count(len(digits.train)) == 1
    assert computed.count(60) == 4
    assert len({values["fid_domain"] for values in scores}) == 1


def test_the_validation_fid_has_samples_and_real_ones_of_its_own(
    digits: Dataset, tmp_path: Path
) -> None:
    seeds, made = [], []

    class Noted(RealData):
        @property
        def samplers(self) -> dict[str, Sampler]:
            def generate(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
                seeds.append(generator.initial_seed())
                made.append(torch.rand(n, 1, 8, 8, generator=generator) * 2 - 1)
                return made[-1]

            return {"first": Sampler(generate, {}), "second": Sampler(generate, {})}

    evaluator = make_evaluator(digits, tmp_path)
    found = evaluator.validation_fid(Noted(digits.spec()))
    assert len(made) == 3  # 60 samples of the first sampler, 25 at a time
    extractor = evaluator.reference.extractors[0]
    fake = extract(extractor, [as_stored(torch.cat(made))], torch.device("cpu")).features
    held_out = evaluator.reference.test(extractor).features
    expected = fid.frechet_distance(*fid.statistics(held_out), *fid.statistics(fake))
    assert found == pytest.approx(expected, rel=1e-4)
    evaluator.evaluate(Noted(digits.spec()), last=False)
    assert seeds[-1] != seeds[0]
    assert not torch.equal(made[0], made[3])
