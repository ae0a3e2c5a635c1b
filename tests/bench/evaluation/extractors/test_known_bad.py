"""Known bad samples, and extractors that detect them or do not."""

import numpy as np
import pytest
import torch
from smooth_images import checked, smooth_images
from tiny_datasets import tiny_dataset, tiny_points
from torch import Tensor, nn

from bench.data.dataset import Dataset, Split
from bench.evaluation.blind_spots import (
    BLURRED,
    GAUSSIAN,
    KINDS,
    MEAN,
    NEAR_COPIES,
    REPEATED,
    UNIFORM,
)
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.known_bad import known_bad


class Brightness(Extractor):
    """Sees nothing but how bright each quarter is; noise is of medium brightness everywhere."""

    def __init__(self) -> None:
        super().__init__("brightness", nn.AdaptiveAvgPool2d(2), "none")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network(images.float()).flatten(1), None


class Pixels(Extractor):
    """Sees every pixel."""

    def __init__(self) -> None:
        super().__init__("pixels", nn.Flatten(), "none")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network(images.float()), None


def samples(data: Dataset, kind: str, batch_size: int = 250) -> Tensor:
    chosen = known_bad(data)
    assert chosen is not None
    return torch.cat(list(chosen.batches(kind, batch_size)))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_a_function_of_the_data_alone(kind):
    data = smooth_images()
    first = samples(data, kind)
    assert first.dtype == torch.uint8
    assert first.shape == (100, 1, 16, 16)
    torch.testing.assert_close(samples(data, kind, batch_size=7), first, rtol=0, atol=0)


def test_each_kind_is_what_its_name_says():
    data = smooth_images()
    train = torch.from_numpy(data.train.images).float()
    uniform, gaussian = samples(data, UNIFORM).float(), samples(data, GAUSSIAN).float()
    assert uniform.mean() == pytest.approx(127.5, abs=2)
    assert uniform.std() == pytest.approx(256 / 12**0.5, rel=0.02)
    error = gaussian.mean(0) - train.mean(0)
    assert error.abs().mean() < 4
    assert gaussian.std(0).mean() == pytest.approx(float(train.std(0).mean()), rel=0.05)
    mean = samples(data, MEAN)
    assert (mean == train.mean(0).round().to(torch.uint8)).all()
    repeated = samples(data, REPEATED)
    assert (repeated == repeated[0]).all()
    assert (torch.from_numpy(data.train.images) == repeated[0]).all((1, 2, 3)).any()
    noise = samples(data, NEAR_COPIES).float()[:, None] - train  # (100, 120, 1, 16, 16)
    assert noise.square().mean((2, 3, 4)).sqrt().amin(1).max() < 5


def test_blurred_images_keep_their_mean_and_lose_their_detail():
    rng = np.random.default_rng(0)
    parts = [Split(rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)) for _ in range(2)]
    data = Dataset("noise", parts[0], parts[1], (), False, "hash")
    blurred = samples(data, BLURRED).float()
    assert blurred.mean() == pytest.approx(127.5, abs=2)
    assert blurred.std() < 15  # of 74


def test_an_extractor_that_sees_only_brightness_is_blind_to_noise():
    found = {(spot.metric, spot.kind) for spot in checked(Brightness(), smooth_images())}
    assert {("precision", UNIFORM), ("density", UNIFORM), ("precision", MEAN)} <= found
    assert ("coverage", REPEATED) not in found


def test_an_extractor_that_sees_pixels_is_not():
    found = {(spot.metric, spot.kind) for spot in checked(Pixels(), smooth_images())}
    assert not found & {("precision", UNIFORM), ("precision", GAUSSIAN), ("density", UNIFORM)}
    assert not {kind for metric, kind in found if metric in ("fid", "kid")} & {UNIFORM, GAUSSIAN}


def test_points_and_a_few_images_are_not_checked():
    assert known_bad(tiny_points()) is None
    assert known_bad(tiny_dataset()) is None  # 16 held-out images
