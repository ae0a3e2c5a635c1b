import pytest
import torch

from models.base import DataSpec
from models.stored import RealData


@pytest.fixture
def model() -> RealData:
    held_out = torch.linspace(-1, 1, 7).reshape(7, 1, 1, 1)  # (N, C, H, W)
    return RealData(DataSpec((1, 1, 1), 0, lambda index: held_out[index], 7))


def test_nothing_is_trained_and_nothing_is_called(model):
    assert model.phases == ()
    assert model.samplers["held-out"].nfe == 0
    assert model.samplers["held-out"].calls == {}


def test_successive_draws_are_one_pass_without_replacement(model):
    generator = torch.Generator().manual_seed(0)
    sampler = model.samplers["held-out"]
    x = torch.cat([sampler.generate(n, generator, None) for n in (3, 3, 1)])
    assert torch.equal(x.flatten().sort().values, torch.linspace(-1, 1, 7))


def test_the_generator_shuffles_and_the_chunks_do_not_matter(model):
    def draw(seed: int, *sizes: int) -> list[float]:
        generator, sampler = torch.Generator().manual_seed(seed), model.samplers["held-out"]
        return torch.cat([sampler.generate(n, generator, None) for n in sizes]).flatten().tolist()

    assert draw(0, 7) == draw(0, 2, 5)
    assert draw(0, 7) != draw(1, 7)


def test_every_access_of_samplers_starts_a_fresh_pass(model):
    for _ in range(2):
        model.samplers["held-out"].generate(7, torch.Generator().manual_seed(0), None)


def test_more_than_is_held_out_is_refused(model):
    sampler = model.samplers["held-out"]
    sampler.generate(5, torch.Generator().manual_seed(0), None)
    with pytest.raises(
        ValueError, match=r"only 7 samples, 8 were.*set evaluator\.samples to at most 7"
    ):
        sampler.generate(3, torch.Generator().manual_seed(0), None)


def test_the_classes_are_those_of_the_samples_that_were_returned():
    held_out = torch.linspace(-1, 1, 7).reshape(7, 1, 1, 1)  # (N, C, H, W)
    classes = torch.tensor([4, 0, 3, 1, 2, 0, 5])
    spec = DataSpec((1, 1, 1), 6, held_out.__getitem__, 7, held_out_labels=classes.__getitem__)
    sampler = RealData(spec).samplers["held-out"]
    assert sampler.labels is not None
    assert sampler.labels().tolist() == []
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([sampler.generate(n, generator, None) for n in (3, 2)]).flatten()
    which = ((x + 1) * 3).round().long()
    assert sampler.labels().tolist() == classes[which].tolist()


def test_of_unlabelled_data_nobody_knows_the_classes(model):
    assert model.samplers["held-out"].labels is None
