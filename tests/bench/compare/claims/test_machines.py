"""Claims over seeds of several machines: runs of one are compared, seeds of all are counted."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import FLOOR, PROTOCOL, costs, scores, write_run

from bench.compare.claims.declaration import read_claim
from bench.compare.claims.verdicts import Judgement, judge
from bench.compare.comparison import compare_runs
from bench.compare.protocols import MACHINE, split_runs
from bench.compare.read import Run, read_runs
from bench.compare.stats import paired_difference
from bench.compare.writers.claims import claims_page
from bench.runs.directory import Status
from bench.runs.looks import Look

ROLES = {"gan": ["dcgan_small"], "diffusion": ["ddpm_small"], "real": ["real"]}
RATIO = {"says": "FID", "numerator": "diffusion", "baseline": "gan"}
HERE = PROTOCOL | {"device": "cpu: quick", "precision": "bf16"}
THERE = PROTOCOL | {"device": "cpu: slow", "precision": "fp32"}
SEQUENTIAL = Status("finished", step=100, sequential=Look(look=1).text)
RATIOS = {HERE["device"]: (1.3, 1.5, 1.4), THERE["device"]: (1.2, 1.35, 1.25)}
SLOWER = 10.0
"""FIDs of the slow machine over those of the quick one."""


def write(
    folder: Path, ratios: Mapping[str, Sequence[float]] = RATIOS, status: Status | None = None
) -> Path:
    """Seeds of a GAN and a diffusion model on each of two machines, and held-out data."""
    there = max(10, len(ratios[HERE["device"]]))
    for protocol, first, level in ((HERE, 0, 10.0), (THERE, there, 10.0 * SLOWER)):
        for k, ratio in enumerate(ratios[protocol["device"]]):
            gan, ddpm = level * (1 + k / 10), level * (1 + k / 10) * ratio
            for model, fid in (("dcgan_small", gan), ("ddpm_small", ddpm)):
                row = {"sampler": scores(fid) | costs(1, 0.5)}
                write_run(folder, model, first + k, row, protocol=protocol, status=status)
    write_run(folder, "real", 0, {"held-out": scores(1.0) | {"nfe": 0}}, protocol=FLOOR)
    return folder / "runs"


def judged(folder: Path, *tests: dict[str, object], sequential: bool = False) -> Judgement:
    """The verdict on a claim with these tests; tables are split by machine."""
    body = {"source": "C", "statement": "It is so.", "runs": ["gan"], "tests": list(tests)}
    claim = read_claim("c", body, ROLES, "claims.yaml")
    by_dataset: dict[str, list[Run]] = {}
    for run in read_runs([folder]):
        by_dataset.setdefault(run.dataset, []).append(run)
    groups = [group for runs in by_dataset.values() for group in split_runs(runs, MACHINE)]
    comparisons = [compare_runs(runs, values) for values, runs in groups]
    (judgement,) = judge([claim], comparisons, sequential=sequential)
    return judgement


def test_seeds_of_all_machines_are_counted(tmp_path: Path) -> None:
    (finding,) = judged(write(tmp_path), RATIO).findings
    logs = dict(enumerate(np.log([*RATIOS[HERE["device"]], *RATIOS[THERE["device"]]]).tolist()))
    expected = paired_difference(logs, dict.fromkeys(logs, 0.0))
    assert finding.estimate.size == "6 seeds"
    assert finding.estimate.effect == pytest.approx(math.exp(expected.mean))
    assert finding.estimate.p == pytest.approx(expected.p)
    assert finding.where == "digits"
    assert set(finding.machines) == {"cpu: quick, bf16", "cpu: slow, fp32"}


def test_one_machine_is_what_it_was_and_is_not_named(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for there in folder.rglob("seed=1[0-9]"):
        (there / "status.json").unlink()
        (there / "eval.csv").unlink()
    judgement = judged(folder, RATIO)
    assert judgement.findings[0].estimate.size == "3 seeds"
    assert judgement.findings[0].machines == ()
    assert "machine" not in claims_page([judgement], "python -m bench.compare")


def test_a_seed_that_ran_on_both_machines_is_measured_on_each(tmp_path: Path) -> None:
    """Its runs have one noise. Seeds of other models do not matter."""
    folder = write(tmp_path)
    row = {"sampler": scores(11.0) | costs(1, 0.5)}
    write_run(tmp_path, "r3gan_small", 10, row, protocol=HERE)
    assert [f.estimate.size for f in judged(folder, RATIO).findings] == ["6 seeds"]
    for model in ("dcgan_small", "ddpm_small"):
        write_run(tmp_path, model, 11, row, protocol=HERE, variant="again")
        for seed in range(3):
            write_run(tmp_path, model, seed, row, protocol=HERE, variant="again")
    found = judged(folder, RATIO).findings
    assert [f.estimate.size for f in found] == ["4 seeds", "3 seeds"]
    assert [f.where for f in found] == [
        "digits, precision: bf16, device: cpu: quick",
        "digits, precision: fp32, device: cpu: slow",
    ]


def test_a_precision_that_was_chosen_is_no_machine(tmp_path: Path) -> None:
    for first, protocol in ((0, HERE), (10, HERE | {"precision": "fp32"})):
        for k, ratio in enumerate(RATIOS[HERE["device"]]):
            for model, fid in (("dcgan_small", 10.0), ("ddpm_small", 10.0 * ratio)):
                row = {"sampler": scores(fid) | costs(1, 0.5)}
                write_run(tmp_path, model, first + k, row, protocol=protocol)
    found = judged(tmp_path / "runs", RATIO).findings
    assert [f.estimate.size for f in found] == ["3 seeds", "3 seeds"]
    assert [f.where for f in found] == ["digits, precision: bf16", "digits, precision: fp32"]
    assert {f.machines for f in found} == {()}


@pytest.mark.parametrize("status", [None, SEQUENTIAL])
def test_what_is_equal_on_average_only_is_not_equal(tmp_path: Path, status: Status | None) -> None:
    """One machine refutes the one end of the margin, the other machine the other end."""
    noise = np.exp(0.002 * np.random.default_rng(0).normal(size=15))
    opposite = {HERE["device"]: 1.13 * noise, THERE["device"]: noise[::-1] / 1.13}
    alike = dict.fromkeys(opposite, noise)
    test = RATIO | {"equality": "contradicts"}

    def said(ratios: Mapping[str, Sequence[float]], name: str):
        (finding,) = judged(write(tmp_path / name, ratios, status), test).findings
        return finding

    assert said(alike, "alike").says == "contradicts"
    found = said(opposite, "opposite")
    assert found.says == "undecided"
    assert found.estimate.p == 1
    assert "; ×1.13 and ×0.885 by machine" in found.estimate.text
    far = {HERE["device"]: 1.4 * noise[:9], THERE["device"]: noise / 1.01}
    assert said(far, "far").says == "undecided"  # although the mean is far from 1


def test_the_level_of_a_machine_is_no_spread_over_seeds(tmp_path: Path) -> None:
    spread = {"says": "spread", "kind": "spread_over_seeds", "numerator": "diffusion"}
    (finding,) = judged(write(tmp_path), spread | {"baseline": "gan"}).findings
    gan = np.log([1.0, 1.1, 1.2])
    ratios = [np.std(gan + np.log(r), ddof=1) / np.std(gan, ddof=1) for r in RATIOS.values()]
    assert finding.estimate.size == "2 spreads"
    assert finding.estimate.effect == pytest.approx(math.sqrt(math.prod(ratios)))


def test_shares_are_of_the_runs_of_all_machines_and_a_run_without_rows_counts_once(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path)
    write_run(tmp_path, "dcgan_small", 30, {}, status=Status("failed", "not finite", 7))
    share = {"says": "failed", "kind": "failure_rate", "numerator": "gan"}
    (finding,) = judged(folder, share).findings
    assert finding.estimate.text.startswith("1 of 7 ")
    (against,) = judged(
        folder, share | {"kind": "failure_rate_difference", "baseline": "diffusion"}
    ).findings
    assert against.estimate.text.startswith("1 of 7 runs against 0 of 6")


@pytest.mark.parametrize("device", ["", THERE["device"]])
def test_a_failure_without_rows_stands_beside_its_partner(tmp_path: Path, device: str) -> None:
    """Its own status or the other model's run of this seed tells the machine."""
    failed = Status("failed", "not finite", 7, sequential=SEQUENTIAL.sequential, device=device)
    folder = write(tmp_path, status=SEQUENTIAL)
    for seed in range(20, 30):
        write_run(tmp_path, "dcgan_small", seed, {}, status=failed)
        row = {"sampler": scores(100.0) | costs(1, 0.5)}
        write_run(tmp_path, "ddpm_small", seed, row, protocol=THERE, status=SEQUENTIAL)
    more = {"says": "", "kind": "failure_rate_difference", "numerator": "gan"}
    (finding,) = judged(folder, more | {"baseline": "diffusion"}).findings
    assert finding.estimate.text.startswith("10 of 16 runs against 0 of 16")
    assert finding.says == "supports"


def test_tests_across_data_sets_stay_on_one_machine(tmp_path: Path) -> None:
    """One of the data sets is not split, because it ran on one machine only."""
    folder = write(tmp_path)
    for k in range(3):
        row = {"sampler": scores(40.0 + k) | costs(1, 0.5)}
        write_run(tmp_path, "dcgan_small", k, row, dataset="digits_80", protocol=HERE)
    write_run(tmp_path, "real", 0, {"held-out": scores(1.0)}, dataset="other", protocol=FLOOR)
    few, every = {"role": "gan", "dataset": "digits_80"}, {"role": "gan", "dataset": "digits"}
    (finding,) = judged(folder, RATIO | {"numerator": few, "baseline": every}).findings
    assert finding.estimate.size == "3 seeds"
    assert finding.machines == ()
    for k in range(3):
        row = {"sampler": scores(400.0 + k) | costs(1, 0.5)}
        write_run(tmp_path, "dcgan_small", 10 + k, row, dataset="digits_80", protocol=THERE)
    (finding,) = judged(folder, RATIO | {"numerator": few, "baseline": every}).findings
    assert finding.estimate.size == "6 seeds"
    of_real = judged(folder, RATIO | {"numerator": "real", "baseline": "real"}).findings
    assert [(f.where, f.estimate.size) for f in of_real] == [
        ("digits", "1 seed"),
        ("other", "1 seed"),
    ]


def test_scores_of_real_data_stand_beside_the_seeds_of_every_machine(tmp_path: Path) -> None:
    (finding,) = judged(write(tmp_path), RATIO | {"baseline": "real"}).findings
    assert finding.estimate.size == "6 seeds"


def test_the_page_says_how_machines_are_pooled(tmp_path: Path) -> None:
    text = claims_page([judged(write(tmp_path), RATIO, sequential=True)], "python -m bench.compare")
    assert "Seeds are of several machines (cpu: quick, bf16; cpu: slow, fp32)" in text
