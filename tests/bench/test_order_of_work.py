"""Training comes first; what evaluations need comes with the first of them, once."""

import os
import time
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from PIL import Image

from bench.compare.live import LiveRuns
from bench.errors import RunError
from bench.evaluation import reference
from bench.evaluation.evaluator import Evaluator
from bench.evaluation.extractors import domain, imagenet
from bench.run import run
from bench.runs import writer
from bench.runs.writer import Recorder
from bench.training.trainer import Trainer
from models.gan.gan import GAN

SMALL = ("budget.images=64", "evaluator.cost_seconds=0", "evaluator.resamples=0")


def started(root: Path, *overrides: str):
    overrides = (
        "model=mlp_gan",
        "model.training.batch_size=16",
        *SMALL,
        f"results_root={root / 'results'}",
        *overrides,
    )
    overrides += (f"cache_root={root / 'cache'}",)
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return run(hydra.compose("config", list(overrides)), overrides)


def folder(root: Path, *, labelled: bool, images: int = 300, channels: int = 3) -> Path:
    """Pictures of two colours, in a folder for each where they are labelled."""
    generator = np.random.default_rng(0)
    for k in range(images):
        place = root / "pictures" / ("ab"[k % 2] if labelled else "")
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 100, (16, 16, channels), dtype=np.uint8) + 100 * (k % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{k}.png")
    return root / "pictures"


@pytest.fixture
def events(monkeypatch):
    """What happens in a run, in order."""
    happened = []

    def told(name, function):
        def call(*args, **kwargs):
            happened.append(name)
            return function(*args, **kwargs)

        return call

    for owner, attribute in (
        (reference, "cached_features"),
        (reference, "score_known_bad"),
        (domain, "train_and_save"),
        (Recorder, "on_step"),
        (Recorder, "on_point"),
    ):
        monkeypatch.setattr(owner, attribute, told(attribute, getattr(owner, attribute)))
    return happened


def test_a_standard_data_set_is_trained_on_before_its_features_are_extracted(tmp_path, events):
    assert started(tmp_path, "budget.checkpoints=2").status == "finished"
    first = events.index("on_point")
    assert events.index("on_step") < first < events.index("cached_features")
    assert events.count("cached_features") == 2  # the two splits, for both points


def test_a_classifier_of_own_images_is_trained_after_the_model(tmp_path, events, monkeypatch):
    monkeypatch.setattr(imagenet, "installed", lambda: False)
    data = folder(tmp_path, labelled=True)
    where = ("dataset=folder", f"dataset.path={data}", "dataset.image_size=16")
    assert started(tmp_path, *where, "dataset.name=two").status == "finished"
    for later in ("train_and_save", "cached_features", "score_known_bad"):
        assert events.index("on_step") < events.index(later), later
    assert events.count("train_and_save") == 1


def test_a_run_that_is_being_scored_shows_signs_of_life(tmp_path, monkeypatch):
    """By which a watched report is written again, although nothing is until the scores are."""
    live, evaluate, seen = LiveRuns([tmp_path / "results"]), Evaluator.evaluate, []

    def long(*arguments, **options):
        (before,) = live.read()
        end = time.monotonic() + 60
        now = before
        while now.changed <= before.changed or now.signature == before.signature:
            assert time.monotonic() < end  # one of them may be a moment ahead of the other
            (now,) = live.read()
        seen.append(now.state)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(Evaluator, "evaluate", long)
    monkeypatch.setattr(writer, "SIGN_OF_LIFE", 0.01)
    assert started(tmp_path).status == "finished"
    assert seen == ["running"]


class TrainedError(AssertionError):
    """Training began, although the run should have been refused."""


@pytest.fixture
def untrained(monkeypatch):
    def fit(*_):
        raise TrainedError

    monkeypatch.setattr(Trainer, "fit", fit)


def test_weights_that_do_not_fit_are_refused_before_training(tmp_path, untrained, monkeypatch):
    packaged = torch.load(imagenet._packaged_weights(), weights_only=True)
    packaged["_conv_head.weight"].fill_(torch.nan)
    path = tmp_path / "nan.pth"
    torch.save(packaged, path)
    data = folder(tmp_path, labelled=False)
    with pytest.raises(RunError, match=r"not finite: check evaluator.weights.efficientnet-lite0"):
        started(
            tmp_path,
            *("dataset=folder", f"dataset.path={data}", "dataset.image_size=16"),
            *("dataset.name=plain", f"evaluator.weights.efficientnet-lite0={path}"),
        )


@pytest.mark.parametrize(
    ("extractor", "words"),
    [
        ("domain", "has no class labels"),
        ("identity", "identity sees points"),
        ("inceptoin", "names no extractor by"),
        ("efficientnet-lite0", "needs two optional packages: .*imagenet"),
        ("patches", "need sides of at least 8"),
    ],
)
def test_an_extractor_that_cannot_be_used_is_refused_before_training(
    tmp_path, untrained, monkeypatch, extractor, words
):
    monkeypatch.setattr(imagenet, "installed", lambda: False)
    data = folder(tmp_path, labelled=False)
    side = 4 if extractor == "patches" else 16
    with pytest.raises(RunError, match=words):
        started(
            tmp_path,
            *("dataset=folder", f"dataset.path={data}", f"dataset.image_size={side}"),
            *("dataset.name=plain", f"evaluator.extractor={extractor}"),
        )


@pytest.mark.parametrize(
    ("judge", "own"),
    [("domain", ()), ("patches", ()), ("patches", ("evaluator.extractor=patches",))],
)
def test_a_model_is_not_scored_by_the_features_it_is_trained_on(
    tmp_path, untrained, monkeypatch, judge, own
):
    """Named, chosen for the data, or possibly chosen later: always before any work."""
    monkeypatch.setattr(imagenet, "installed", lambda: False)
    monkeypatch.setattr(GAN, "trains_on", (judge,))
    where = () if judge == "domain" else ("dataset=folder", "dataset.name=plain", *own)
    if where:
        data = folder(tmp_path, labelled=False)
        where += (f"dataset.path={data}", "dataset.image_size=16")
    with pytest.raises(RunError, match=f"extractor={judge} would score a model that is trained on"):
        started(tmp_path, *where)
    monkeypatch.setattr(GAN, "trains_on", ("inception",))
    with pytest.raises(TrainedError):
        started(tmp_path, *where)


def test_a_cache_that_cannot_be_written_is_refused_before_training(
    tmp_path, untrained, monkeypatch
):
    cache = tmp_path / "cache"
    cache.mkdir()
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: path != cache and access(path, mode))
    with pytest.raises(RunError, match="cannot be written: set cache_root"):
        started(tmp_path)


def test_what_cannot_be_prepared_at_the_first_point_is_one_sentence(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(reference, "cached_features", full)
    with pytest.raises(RunError, match="the disk is full"):
        started(tmp_path)
    monkeypatch.undo()
    assert started(tmp_path).status == "finished"  # what was trained is kept


def test_every_sampler_is_scored_before_the_last_point_only_if_asked(tmp_path):
    """Without it other samplers have no learning curve; a repeated call redoes nothing."""
    few = ("model=meanflow_small", "dataset=digits", "budget.checkpoints=2", "evaluator.samples=64")
    for every, rows in ((False, 4), (True, 6)):
        words = (*few, f"evaluator.every_sampler={str(every).lower()}")
        for _ in range(2):
            assert started(tmp_path, *words).status == "finished"
        (file,) = (tmp_path / "results").glob("runs/digits/meanflow_small/*/seed=0/eval.csv")
        assert len(file.read_text().splitlines()) == 1 + rows
        (tmp_path / "results").rename(tmp_path / f"results-{rows}")
