"""Verdicts on all claims, from synthetic results of all runs, against golden files.

A change of the declarations or of the code that measures them must leave the files as they are,
unless it says which numbers were wrong.
"""

import pytest
from claim_runs import write_world
from golden_files import check_golden

from bench.compare.claims.declaration import read_claims
from bench.compare.claims.verdicts import judge
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs

WORLDS = {
    "clear": {"spread": 0.05, "bad": 0.0},
    "noisy": {"spread": 0.6, "bad": 0.25, "without": "sgan_small"},
}


@pytest.mark.parametrize("world", WORLDS)
def test_verdicts_are_the_golden_ones(world, tmp_path):
    by_dataset = {}
    for run in read_runs([write_world(tmp_path, world, **WORLDS[world])]):
        by_dataset.setdefault(run.dataset, []).append(run)
    judgements = judge(read_claims(), [compare_runs(runs) for runs in by_dataset.values()])
    lines = []
    for j in judgements:
        lines.append(f"{j.claim.name}: {j.verdict}, p {j.p:.6g}, q {j.q:.6g} ({j.sentence})")
        for f in j.findings:
            e = f.estimate
            numbers = (f"{x:.8g}" for x in (e.effect, e.low, e.high, e.p, e.equal_p, f.p))
            number = j.claim.tests.index(f.test) + 1
            words = (f"{number}", f.where, "; ".join(f.rows), *numbers, e.size, e.text, f.says)
            lines.append(" | ".join(words))
    check_golden(f"claims_{world}.txt", "\n".join(lines) + "\n")
