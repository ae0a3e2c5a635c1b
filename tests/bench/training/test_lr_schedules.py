import pytest
import torch

from bench.training.recipe import constant, cosine, linear_to_zero

STEPS = 40


def test_constant_is_one():
    assert [constant()(k / STEPS) for k in range(STEPS + 1)] == [1.0] * (STEPS + 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            linear_to_zero(),
            lambda adam: torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=STEPS),
        ),
        (cosine(), lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)),
        (
            cosine(floor=0.25),
            lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS, eta_min=0.25),
        ),
    ],
)
def test_equals_torchs_scheduler_of_as_many_steps(ours, theirs):
    adam = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = theirs(adam)
    for k in range(STEPS + 1):
        assert ours(k / STEPS) == pytest.approx(adam.param_groups[0]["lr"], abs=1e-9)
        adam.step()
        scheduler.step()


def test_decay_begins_at_start():
    for schedule in (linear_to_zero(0.5), cosine(0.5)):
        assert schedule(0.25) == schedule(0.5) == 1.0
        assert schedule(0.75) == pytest.approx(0.5)
        assert schedule(1.0) == pytest.approx(0.0)


def test_bad_arguments_are_refused():
    for make in (linear_to_zero, cosine):
        with pytest.raises(ValueError, match="start"):
            make(1.0)
    with pytest.raises(ValueError, match="floor"):
        cosine(floor=2.0)
