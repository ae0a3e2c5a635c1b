from copy import deepcopy

import pytest
import torch

from models.base import DataSpec
from models.stored import Stored, StoredSamples

VALUES = torch.linspace(-1, 1, 7).reshape(7, 1, 1, 1)  # (N, C, H, W)


def make(take: str | None = None) -> StoredSamples:
    def read(shape: tuple[int, ...]) -> Stored:
        assert shape == (1, 1, 1)
        return Stored(lambda index: VALUES[index], len(VALUES), "abc")

    return StoredSamples(DataSpec((1, 1, 1), 0, lambda index: -VALUES[index], 7), read, take)


@pytest.fixture
def model() -> StoredSamples:
    return make()


def test_nothing_is_trained_and_the_cost_is_unknown(model):
    assert model.phases == ()
    assert list(model.samplers) == ["stored-abc"]
    assert model.samplers["stored-abc"].nfe is None
    assert model.samplers["stored-abc"].calls is None
    assert model.samplers["stored-abc"].limit == 7
    assert model.samplers["stored-abc"].ordered


@pytest.mark.parametrize("sizes", [(7,), (3, 3, 1), (1, 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_samples_are_dealt_out_as_stored(model, sizes, seed):
    generator, sampler = torch.Generator().manual_seed(seed), model.samplers["stored-abc"]
    state = generator.get_state()
    assert torch.equal(torch.cat([sampler.generate(n, generator, None) for n in sizes]), VALUES)
    assert torch.equal(generator.get_state(), state)


def test_every_access_of_samplers_starts_a_fresh_pass(model):
    for _ in range(2):
        first = model.samplers["stored-abc"].generate(2, torch.Generator(), None)
        assert torch.equal(first, VALUES[:2])


def test_a_copy_shares_the_samples(model):
    assert deepcopy(model).stored.gather is model.stored.gather


def test_more_than_is_stored_is_refused(model):
    with pytest.raises(ValueError, match=r"only 7 samples, 8 were.*samples to at most 7"):
        model.samplers["stored-abc"].generate(8, torch.Generator(), None)


def part(n: int, seed: int) -> list[float]:
    sampler = make("random").samplers["stored-abc-random"]
    return sampler.generate(n, torch.Generator().manual_seed(seed), None).flatten().tolist()


def test_a_random_part_is_chosen_by_the_seed_without_replacement():
    sampler = make("random").samplers["stored-abc-random"]
    assert (sampler.limit, sampler.ordered, sampler.nfe) == (7, False, None)
    assert part(5, seed=3) == part(5, seed=3)
    assert len({tuple(part(5, seed)) for seed in range(5)}) == 5
    assert len(set(part(5, seed=3))) == 5
    assert sorted(part(7, seed=3)) == VALUES.flatten().tolist()


def test_every_sample_is_as_likely_to_be_taken():
    """Each of 7 is among 3 in 3/7 of 2,000 parts: within five standard deviations of 857."""
    taken = torch.zeros(7)
    for seed in range(2000):
        taken += torch.tensor([value in part(3, seed) for value in VALUES.flatten().tolist()])
    assert (taken - 2000 * 3 / 7).abs().max() < 5 * (2000 * 3 / 7 * 4 / 7) ** 0.5


@pytest.mark.parametrize("take", ["first", "", 10, True])
def test_other_parts_are_refused(take):
    with pytest.raises(ValueError, match=r"model.take must be random or null, got"):
        make(take)
