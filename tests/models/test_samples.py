from copy import deepcopy

import pytest
import torch

from models.base import DataSpec
from models.samples import StoredSamples
from models.stored import Stored

VALUES = torch.linspace(-1, 1, 7).reshape(7, 1, 1, 1)  # (N, C, H, W)


@pytest.fixture
def model() -> StoredSamples:
    def read(shape: tuple[int, ...]) -> Stored:
        assert shape == (1, 1, 1)
        return Stored(lambda index: VALUES[index], len(VALUES), "abc")

    return StoredSamples(DataSpec((1, 1, 1), 0, lambda index: -VALUES[index], 7), read)


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
    assert torch.equal(torch.cat([sampler.draw(n, generator, None) for n in sizes]), VALUES)
    assert torch.equal(generator.get_state(), state)


def test_every_access_of_samplers_starts_a_fresh_pass(model):
    for _ in range(2):
        first = model.samplers["stored-abc"].draw(2, torch.Generator(), None)
        assert torch.equal(first, VALUES[:2])


def test_a_copy_shares_the_samples(model):
    assert deepcopy(model).stored.gather is model.stored.gather


def test_more_than_is_stored_is_refused(model):
    with pytest.raises(ValueError, match=r"only 7 samples, 8 were.*samples to at most 7"):
        model.samplers["stored-abc"].draw(8, torch.Generator(), None)
