import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.batches import BatchStream
from bench.data.dataset import Split, gather
from bench.runtime.distributed import World


def numbered(n: int) -> Split:
    """Images that name themselves: pixel 0 holds the index; rows are not mirror-symmetric."""
    images = np.zeros((n, 1, 2, 2), np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    images[:, 0, 1] = [0, 255]
    return Split(images, np.arange(n, dtype=np.int64) % 3)


def stream(
    split: Split, batch_size: int, seed: int = 0, flip: bool = False, world: World | None = None
):
    return BatchStream(split, batch_size, seed, flip=flip, world=world)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**40))
def test_each_epoch_shows_every_image_once(n, batch_size, seed):
    batches = stream(numbered(n), batch_size, seed)
    seen = np.concatenate([batches.indices(k) for k in range(3 * n // batch_size + 1)])
    for epoch in range(len(seen) // n):
        assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    part=st.integers(1, 10),
    size=st.integers(1, 4),
    k=st.integers(0, 100),
    flip=st.booleans(),
)
def test_ranks_concatenate_to_the_joint_batch(n, part, size, k, flip):
    split = numbered(n)
    joint = stream(split, part * size, 5, flip)(k)
    parts = [stream(split, part * size, 5, flip, World(r, size))(k) for r in range(size)]
    assert torch.equal(torch.cat([p.x for p in parts]), joint.x)
    assert torch.equal(torch.cat([p.y for p in parts if p.y is not None]), joint.y)


def test_batches_do_not_depend_on_the_order_of_requests():
    split = numbered(10)
    forward = stream(split, 4, flip=True)
    expected = [forward(k).x for k in range(12)]
    backward = stream(split, 4, flip=True)
    for k in reversed(range(12)):
        assert torch.equal(backward(k).x, expected[k])
        assert torch.equal(stream(split, 4, flip=True)(k).x, expected[k])


def test_seeds_and_epochs_differ():
    split = numbered(30)
    first = stream(split, 30, 0).indices(0)
    assert not np.array_equal(first, stream(split, 30, 1).indices(0))
    assert not np.array_equal(first, stream(split, 30, 0).indices(1))


def test_flips_mirror_about_half_and_leave_the_rest():
    split = numbered(200)
    plain, flipped = stream(split, 200)(3).x, stream(split, 200, flip=True)(3).x
    mirrored = (flipped == plain.flip(-1)).flatten(1).all(1)
    kept = (flipped == plain).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 70 < int(mirrored.sum()) < 130


def test_flips_leave_the_data_untouched():
    split = numbered(10)
    before = split.images.copy()
    stream(split, 10, flip=True)(0)
    assert np.array_equal(split.images, before)


def test_values_types_and_layout():
    split = Split(np.full((5, 3, 4, 4), 255, np.uint8), None)
    batch = stream(split, 8)(0)
    assert batch.y is None
    assert batch.x.dtype == torch.float32
    assert batch.x.is_contiguous(memory_format=torch.channels_last)
    assert (batch.x == 1).all()
    labelled = stream(numbered(5), 8)(0)
    assert labelled.y is not None
    assert labelled.y.dtype == torch.int64
    pixels = ((labelled.x[:, 0, 0, 0] + 1) * 127.5).round().long()
    assert torch.equal(pixels % 3, labelled.y)


def test_gather_reads_by_index():
    split = numbered(9)
    x = gather(split.images, np.array([7, 2]))
    assert ((x[:, 0, 0, 0] + 1) * 127.5).round().tolist() == [7, 2]


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"batch_size=5 must be a multiple .* processes, 2"):
        stream(numbered(4), 5, world=World(0, 2))


def test_an_empty_split_and_a_negative_batch_are_refused():
    with pytest.raises(ValueError, match="no images"):
        stream(Split(np.zeros((0, 1, 2, 2), np.uint8)), 2)
    with pytest.raises(ValueError, match="k=-1"):
        stream(numbered(4), 2)(-1)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    asked=st.lists(st.integers(0, 60), min_size=1, max_size=8),
)
def test_a_batch_is_the_same_whatever_was_asked_for_before(n, batch_size, seed, asked):
    split = numbered(n)
    used = stream(split, batch_size, seed, flip=True)
    for k in asked:
        assert torch.equal(used(k).x, stream(split, batch_size, seed, flip=True)(k).x)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 30),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 99),
    k=st.integers(0, 9),
)
def test_a_flip_mirrors_or_keeps_and_does_not_choose(n, batch_size, seed, k):
    split = numbered(n)
    plain, flipped = (stream(split, batch_size, seed, flip=flip)(k) for flip in (False, True))
    mirrored = (flipped.x == plain.x.flip(-1)).flatten(1).all(1)
    kept = (flipped.x == plain.x).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert torch.equal(flipped.y, plain.y)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 30), batch_size=st.integers(1, 40), k=st.integers(0, 50))
def test_points_are_as_stored(n, batch_size, k):
    points = np.random.default_rng(n).uniform(-1, 1, (n, 2)).astype(np.float32)
    batches = stream(Split(points), batch_size)
    assert np.array_equal(batches(k).x.numpy(), points[batches.indices(k)])
