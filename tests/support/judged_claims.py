"""Claims declared in tests, and what runs on disk say of them."""

from bench.compare.claims.declaration import read_claim, read_test
from bench.compare.claims.pooling import by_protocol, measure
from bench.compare.claims.verdicts import judge
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs

ROLES = {"gan": ["dcgan_small"], "diffusion": ["ddpm_small"], "real": ["real"]}


def read(folder):
    by_dataset = {}
    for run in read_runs([folder]):
        by_dataset.setdefault(run.dataset, []).append(run)
    return [compare_runs(runs) for runs in by_dataset.values()]


def judged(folder, *tests, **more):
    body = {"source": "C", "statement": "A is so.", "runs": ["gan"], "tests": list(tests), **more}
    (judgement,) = judge([read_claim("a-claim", body, ROLES, "claims.yaml")], read(folder))
    return judgement


def measured(folder, **test):
    """What one test measures: the value on every data set, or on all of them together."""
    protocols = by_protocol(read(folder))
    return [value for value, _ in measure(read_test({"says": ""} | test, ROLES), protocols)]


RATIO = {"says": "FID", "numerator": "diffusion", "baseline": "gan"}
GAN_OVER_DIFFUSION = {"says": "", "numerator": "gan", "baseline": "diffusion"}
SECONDS = RATIO | {"kind": "cost_to_reach", "cost": "train_seconds"}
