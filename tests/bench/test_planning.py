"""The survey of bench.decide: what it refuses, and before what."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.planning import _sweeper, listed_jobs

PROGRAM = """
import json
import bench.run
from bench.errors import RunError
from bench.planning import survey

timed = []
dry_run = bench.run.dry_run

def refused(cfg, overrides, *, known=None, **more):
    if known is None:  # nothing is timed
        return dry_run(cfg, overrides, **more)
    timed.append(overrides)
    raise RunError("no such thing")

bench.run.dry_run = refused
GOOD = ["-m", "model=mlp_gan,ddpm_small", "dataset=digits"]
BAD = ["-m", "model=mlp_gan", "dataset=folder", "dataset.path=nowhere", "seed=1"]
both, unread = survey([GOOD, BAD], at_once=1, timed=True)
before = len(timed)
one, wrong = survey([GOOD], at_once=1, timed=True)
_, elsewhere = survey([BAD], at_once=1, timed=False)
OWN = ["-m", "model=mlp_gan", "dataset=digits", "+size=40", "evaluator.samples=${size}"]
_, own = survey([OWN], at_once=1, timed=False)
NAMED = ["-m", "experiment=resolution", "sweep=null", "dataset=digits", "dataset.image_size=8"]
_, named = survey([NAMED], at_once=1, timed=False)
print(json.dumps([len(both), unread, before, len(one), wrong, len(timed), elsewhere, own, named]))
"""


def test_all_data_is_read_before_a_job_is_timed_and_the_first_refusal_ends_it(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        cwd=tmp_path,
    )
    both, unread, before, one, wrong, timed, elsewhere, own, named = json.loads(
        done.stdout.splitlines()[-1]
    )
    assert (both, one) == (2, 1)
    ((overrides, said),) = unread
    assert overrides == ["model=mlp_gan", "dataset=folder", "dataset.path=nowhere", "seed=1"]
    assert "nowhere" in said
    assert before == 0
    assert timed == 1
    assert elsewhere == []  # the data may lie on the machines that run the jobs
    assert own == []  # a key of one's own, which a setting interpolates
    assert named == []  # one that asks Hydra for its choice of data
    assert wrong == [[["model=mlp_gan", "dataset=digits"], "no such thing"]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "sizes"), [(None, [3]), (2, [2, 1])])
def test_listed_jobs_come_in_the_batches_that_hydra_is_asked_for(size, sizes):
    before = _sweeper().split_arguments
    with listed_jobs([("seed=0",), ("seed=1",), ("seed=2",)]):
        batches = _sweeper().split_arguments([], size)
    assert [len(batch) for batch in batches] == sizes
    assert [words for batch in batches for words in batch] == [["seed=0"], ["seed=1"], ["seed=2"]]
    assert _sweeper().split_arguments is before
