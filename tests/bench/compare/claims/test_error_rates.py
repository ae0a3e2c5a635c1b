"""Error rates of whole projects: the simulation of docs/claims.md with a few of them."""

import numpy as np
import pytest

from bench.compare.claims import estimates, grids, measurements, pooling
from bench.compare.claims.declaration import read_claims
from scripts.claims_error_rates import (
    KINDS,
    Project,
    deciding,
    judged,
    measured,
    simulate,
    speed_up,
    write_template,
)


@pytest.mark.slow
def test_few_projects_without_true_claims_have_a_verdict(tmp_path, monkeypatch):
    for module in (pooling, grids, measurements):  # which speed_up replaces
        monkeypatch.setattr(module, "find", module.find)
    monkeypatch.setattr(estimates, "confidence_sequence", estimates.confidence_sequence)
    claims = [deciding(claim) for claim in read_claims() if not claim.undecidable]
    write_template(tmp_path / "runs")
    project = Project(tmp_path / "runs")
    speed_up()
    project.draw(np.random.default_rng(0), KINDS[0])
    found = judged(measured(claims, project), project, sequential=True)
    assert all(judgement.findings and not judgement.missing for judgement in found)
    for kind in KINDS:
        _, fixed, grown = simulate(project, claims, kind, 10)
        assert fixed <= 0.2  # 0.05 of ten projects: three of them have a chance of 1 %
        assert grown <= 0.2
