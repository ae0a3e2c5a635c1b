import numpy as np
import pytest
import torch
from torchmetrics.image.mifid import _mifid_compute

from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import frechet_distance, statistics
from bench.evaluation.metrics.memorisation import (
    generalisation,
    memorisation,
    nearest_distances,
)
from bench.evaluation.metrics.resampling import METRIC_SEED, subset


def draw(n: int, seed: int, d: int = 16, *, mean: float = 0, dtype=torch.float64) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features((torch.randn(n, d, generator=generator, dtype=torch.float64) + mean).to(dtype))


def noisy(features: Features, seed: int, scale: float) -> Features:
    return Features(features.features + scale * draw(len(features), seed).features)


def test_nearest_distances():
    x = draw(200, seed=0).features
    squared = (x[:, None] - x).square().sum(2).fill_diagonal_(torch.inf)
    torch.testing.assert_close(nearest_distances(x, tile=64), squared.amin(1).sqrt())


def test_fresh_samples_show_no_sign_of_copying():
    scores = [
        memorisation(draw(2000, 3 * s), draw(500, 3 * s + 1), draw(600, 3 * s + 2))
        for s in range(5)
    ]
    assert np.mean([s["nn_ratio"] for s in scores]) == pytest.approx(1, abs=0.02)
    held_out = np.mean([memorisation(draw(2000, 9), draw(500, 8), draw(500, 7))["authpct"]])
    assert np.mean([s["authpct"] for s in scores]) == pytest.approx(held_out, abs=4)
    assert 30 < held_out < 80


@pytest.mark.parametrize("test_size", [100, 500, 2000])
def test_a_poor_generator_is_no_copier(test_size):
    far = Features(2 * draw(600, seed=2).features + 1)
    scores = memorisation(draw(2000, seed=0), draw(test_size, seed=1), far)
    assert scores["nn_ratio"] == pytest.approx(1, abs=0.06)
    assert scores["authpct"] > 95


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copies_of_training_data(dtype):
    """Also where the test set is far smaller, so that few copies have their original beside it."""
    train = draw(1000, seed=0, d=64, dtype=dtype)
    copies = Features(train.features[:400].clone())
    scores = memorisation(train, draw(100, seed=1, d=64, dtype=dtype), copies)
    assert scores["authpct"] == 0
    assert scores["nn_ratio"] == 0


def test_near_copies_of_training_data():
    train = draw(1000, seed=0)
    scores = memorisation(train, draw(200, seed=1), noisy(train, 2, scale=0.05))
    assert scores["authpct"] < 1
    assert scores["nn_ratio"] < 0.2


def test_test_samples_are_as_far_from_training_as_they_are():
    """The row of the real data: their distance to the test set is zero and says nothing."""
    test = draw(300, seed=1)
    scores = memorisation(draw(1000, seed=0), test, test)
    assert np.isnan(scores["nn_ratio"])
    assert 30 < scores["authpct"] < 80


def test_the_nearest_image_is_as_often_one_trained_on_as_their_share_but_for_the_split():
    """Over random splits of fixed images the share has the mean and the error that it states."""
    images, fake = draw(400, seed=0, d=8), draw(200, seed=1, d=8)
    found, errors = [], []
    for split in range(100):
        order = torch.randperm(400, generator=torch.Generator().manual_seed(split))
        train, test = (Features(images.features[part]) for part in (order[:320], order[320:]))
        scores = memorisation(train, test, fake)
        assert scores["nearest_trained_expected"] == 0.8
        found.append(scores["nearest_trained"])
        errors.append(scores["nearest_trained_error"])
    assert np.ptp(errors) < 1e-12  # it depends on the images, not on the split
    assert np.mean(found) == pytest.approx(0.8, abs=3 * errors[0] / 10)
    assert np.std(found) == pytest.approx(errors[0], rel=0.25)
    assert errors[0] > (0.8 * 0.2 / 200) ** 0.5  # several samples share their nearest image


def test_copies_have_nearest_images_that_were_trained_on():
    train, test = draw(800, seed=0), draw(200, seed=1)
    scores = memorisation(train, test, noisy(subset_of(train, 200), 2, scale=0.05))
    excess = scores["nearest_trained"] - scores["nearest_trained_expected"]
    assert excess == pytest.approx(0.2)
    assert excess > 5 * scores["nearest_trained_error"]
    assert np.isnan(memorisation(train, test, test)["nearest_trained"])


def test_one_image_that_all_samples_are_nearest_to_shows_nothing():
    train, test = draw(800, seed=0), draw(200, seed=1)
    one = Features(train.features[:1] + 1e-3 * draw(50, seed=2).features)
    scores = memorisation(train, test, one)
    assert scores["nearest_trained"] == 1.0
    assert scores["nearest_trained_error"] == pytest.approx(0.4, rel=1e-2)  # √(0.8 · 0.2)


def subset_of(features: Features, n: int) -> Features:
    return Features(features.features[:n])


def theirs(train: Features, fake: Features) -> float:
    sets = [each.features.double() for each in (train, fake)]
    moments = [(x.mean(0), torch.cov(x.T), x) for x in sets]
    return float(_mifid_compute(*moments[0], *moments[1]))


@pytest.mark.parametrize("noise", [0.02, 0.2, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
def test_mifid_equals_torchmetrics(noise, dtype, tolerance):
    train = draw(300, seed=0, d=40, mean=0.5)
    train.features[7] = 0  # torchmetrics leaves out features without a direction
    fake = Features(train.features + noise * draw(300, seed=1, d=40).features + 0.05)
    sets = [Features(each.features.to(dtype)) for each in (train, draw(50, 2, d=40), fake)]
    scores = memorisation(*sets)
    assert scores["mifid"] == pytest.approx(theirs(sets[0], sets[2]), rel=tolerance)
    fid = frechet_distance(*statistics(sets[0].features), *statistics(sets[2].features))
    assert (scores["mifid"] > 2 * fid) == (noise < 2)


def test_mifid_of_the_training_data_is_zero():
    train = draw(100, seed=0)
    assert memorisation(train, draw(50, seed=1), train, fid=0.0)["mifid"] == 0


@pytest.mark.parametrize("tile", [50, 333])
def test_what_is_passed_in_and_the_size_of_tiles_change_nothing(tile):
    train, test, fake = draw(400, seed=0), draw(150, seed=1), draw(300, seed=2)
    scores = memorisation(train, test, fake)
    again = memorisation(
        train,
        test,
        fake,
        nearest=nearest_distances(train.features, tile=tile),
        fid=frechet_distance(*statistics(train.features), *statistics(fake.features)),
        tile=tile,
    )
    assert again == pytest.approx(scores, rel=1e-9)


def test_the_global_random_state_is_untouched():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    memorisation(draw(60, seed=0), draw(30, seed=1), draw(40, seed=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_input():
    with pytest.raises(ValueError, match="1 test samples"):
        memorisation(draw(20, 0), draw(1, 1), draw(20, 2))
    with pytest.raises(ValueError, match="one distance for each training sample"):
        memorisation(draw(20, 0), draw(9, 1), draw(20, 2), nearest=torch.zeros(19))
    with pytest.raises(ValueError, match="features have shapes"):
        memorisation(draw(20, 0), draw(9, 1), draw(20, 2, d=3))


def test_median_distances_to_training_and_held_out_data():
    train, test = draw(300, seed=0), draw(100, seed=1)
    fake = draw(51, seed=2)
    scores = memorisation(train, test, fake)
    for name, real in (("nn_trained", train), ("nn_held_out", test)):
        nearest = torch.cdist(fake.features, real.features).amin(1)
        assert scores[name] == pytest.approx(float(nearest.median()))


def test_fid_to_either_set_is_that_of_as_many_images():
    trained, held_out, fake = (draw(n, seed).features for n, seed in ((300, 0), (100, 1), (200, 2)))
    scores = generalisation(trained, held_out, fake)
    expected = frechet_distance(*statistics(held_out), *statistics(fake))
    assert scores["fid_held_out"] == pytest.approx(expected)
    part = subset(trained, 100, seed=METRIC_SEED)
    expected = frechet_distance(*statistics(part), *statistics(fake))
    assert scores["fid_trained"] == pytest.approx(expected)


def test_the_two_fids_differ_only_for_a_model_that_remembers():
    """Fresh samples: no difference on average; copies of 50 images: far closer to these."""
    fresh = [
        generalisation(*(draw(n, 10 * s + k).features for k, n in enumerate((50, 400, 500))))
        for s in range(20)
    ]
    differences = [scores["fid_held_out"] - scores["fid_trained"] for scores in fresh]
    error = np.std(differences) / np.sqrt(len(differences))
    assert abs(np.mean(differences)) < 3 * error
    trained = draw(50, seed=0).features
    scores = generalisation(trained, draw(400, seed=1).features, trained.repeat(10, 1))
    assert scores["fid_trained"] < 0.02  # the samples' covariance is divided by 499, not 49
    assert scores["fid_held_out"] > 1
