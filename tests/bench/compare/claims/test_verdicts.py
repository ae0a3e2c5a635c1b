"""Verdicts on claims from runs with known effects, and the page that says them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from judged_claims import GAN_OVER_DIFFUSION, RATIO, ROLES, judged, measured, read
from synthetic_runs import FLOOR, POINTS, mode_scores, scores, write_run

from bench.compare.claims.declaration import DOCUMENTS, read_claim, read_claims
from bench.compare.claims.verdicts import judge, over_all_claims
from bench.compare.writers.claims import claims_page, claims_table, counted
from bench.runs.directory import Status


def test_claims_of_the_field_have_a_section_of_their_own(two_models):
    judgement = judged(two_models, RATIO)
    ours, theirs = (
        replace(judgement, claim=replace(judgement.claim, name=name, section=section))
        for name, section in (("scale", DOCUMENTS), ("modern-gan", "Claims of the field"))
    )
    text = claims_page([ours, theirs], "python -m bench.compare")
    first, _, second = text.partition("# Claims of the field\n")
    assert "## scale: supported" in first
    assert "(document C; needs one of its tests, and none against it)" in first
    assert "modern-gan" not in first
    assert "Of 1 declared claim: 1 supported." in second
    assert "## modern-gan: supported" in second


def test_claims_that_runs_do_not_speak_to_are_counted_and_not_listed(two_models):
    spoken, silent = judged(two_models, RATIO), judge(read_claims(), [])
    taste = replace(spoken, verdict="not decided by measurement")
    judgements = [spoken, taste, *silent]
    said = (
        f"Of {len(judgements)} declared claims, these runs speak to 2: 1 supported, 1 not decided "
        f"by measurement; they say nothing about the other {len(silent)}."
    )
    assert counted(judgements) == said
    assert counted(silent) == f"Of {len(silent)} declared claims, these runs speak to none."
    of_documents = [j for j in silent if j.claim.section == DOCUMENTS]
    text = claims_page([spoken, *silent], "python -m bench.compare")
    assert f"they say nothing about the other {len(of_documents)}." in text
    assert "not measured" not in text
    assert not any(f"## {j.claim.name}: " in text for j in silent)
    assert {row[0].text for row in claims_table(judgements).rows} == {spoken.claim.name}


def test_a_ratio_is_paired_by_seed(two_models):
    (finding,) = judged(two_models, RATIO).findings
    luck_free = np.log(2) - np.log([1.0, 1.01, 1.02, 1.03, 1.04])
    assert finding.estimate.effect == pytest.approx(math.exp(luck_free.mean()))
    half = 2.776445 * luck_free.std(ddof=1) / math.sqrt(5)
    assert finding.estimate.high == pytest.approx(math.exp(luck_free.mean() + half), rel=1e-5)
    assert finding.says == "supports"
    assert finding.estimate.n == 5


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "supported"),
        ({"expect": "below"}, "contradicted"),
        ({"threshold": 3.0}, "contradicted"),
        ({"threshold": 1.96}, "open"),
        ({"expect": "differs"}, "supported"),
    ],
)
def test_direction_and_threshold_decide(two_models, change, verdict):
    assert judged(two_models, RATIO | change).verdict == verdict


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.0, 1.01, 0.99, 1.02, 1.0), "contradicted"),
        ((1.05, 1.06, 1.04, 1.05, 1.06), "contradicted"),  # surely a difference, of no matter
        ((1.0, 1.3, 0.8, 1.1, 0.9), "open"),
        ((1.2, 1.25, 1.3, 1.2, 1.25), "supported"),
        ((1.0, 1.0, 1.0, 1.0, 1.0), "open"),  # copies of a file are no certainty
    ],
)
def test_a_difference_must_matter_and_a_verdict_against_it_takes_an_interval(
    tmp_path, ratios, verdict
):
    for seed, ratio in enumerate(ratios):
        write_run(tmp_path, "dcgan_small", seed, {"generator": scores(10.0)})
        write_run(tmp_path, "ddpm_small", seed, {"ddim-50": scores(10.0 * ratio)})
    assert judged(tmp_path / "runs", RATIO | {"expect": "differs"}).verdict == verdict


def test_zeros_are_counted_where_differences_are_taken_and_named_where_ratios_are(tmp_path):
    for seed, recall in enumerate((0.0, 0.0, 0.44, 0.45, 0.43)):
        row = scores(9.0) | {"recall_domain": recall}
        write_run(tmp_path, "dcgan_small", seed, {"generator": row})
    floor = scores(1.0) | {"recall_domain": 0.5, "nfe": 0}
    write_run(tmp_path, "real", 0, {"held-out": floor}, protocol=FLOOR)
    test = {"says": "", "column": "recall", "numerator": "gan", "baseline": "real"}
    (whole,) = judged(tmp_path / "runs", test | {"kind": "difference", "factor": 0.8}).findings
    assert whole.estimate.effect == pytest.approx((0.44 + 0.45 + 0.43) / 5 - 0.4)
    assert (whole.estimate.n, whole.says) == (5, "undecided")
    (ratio,) = judged(tmp_path / "runs", test | {"threshold": 0.8}).findings
    assert ratio.estimate.text == "no ratio: a value is not positive in 2 of 5 seeds"
    assert ratio.says == "undecided"


def test_what_holds_in_every_seed_of_every_data_set_is_decided_though_all_seeds_are_alike(tmp_path):
    for dataset in ("a", "b"):
        for seed in range(4):
            row = {"g": scores(9.0) | {"modes": 10 if seed else 9}}
            write_run(tmp_path, "dcgan_small", seed, row, dataset=dataset)
            write_run(tmp_path, "ddpm_small", seed, {"d": scores(9.0)}, dataset=dataset)
    test = {"says": "", "kind": "share_at_least", "factor": 0.95, "column": "modes"}
    test |= {"numerator": "diffusion", "baseline": "diffusion"}
    (all_of_them,) = judged(tmp_path / "runs", test).findings
    assert all_of_them.estimate.text.startswith("8 of 8 [")
    assert all_of_them.p == pytest.approx(2 * 0.5**8)
    assert all_of_them.says == "supports"
    (most,) = measured(tmp_path / "runs", **test | {"numerator": "gan"})
    assert most.numerator == ((3, 4), (3, 4))


def test_no_sign_of_a_thing_need_not_speak_against_it(two_models):
    below = RATIO | {"expect": "below"}
    assert judged(two_models, below).verdict == "contradicted"
    assert judged(two_models, below | {"refutes": False}).verdict == "open"


def test_a_claim_that_says_several_things_needs_all_of_them(two_models):
    def verdict(*tests, needs="all"):
        claim = {"source": "C", "statement": "", "runs": [], "needs": needs, "tests": list(tests)}
        return judge([read_claim("c", claim, ROLES, "claims.yaml")], read(two_models))[0].verdict

    open_ = RATIO | {"threshold": 1.96}
    against = RATIO | {"expect": "below"}
    unmeasured = RATIO | {"numerator": {"role": "gan", "dataset": "cifar10"}}
    assert verdict(RATIO, RATIO | {"threshold": 1.5}) == "supported"
    assert verdict(RATIO, open_) == verdict(RATIO, unmeasured) == "open"
    assert verdict(RATIO, against) == "contradicted"
    assert verdict(RATIO, open_, needs="any") == "supported"
    assert verdict(RATIO, against, needs="any") == "mixed"
    assert verdict(open_, against | {"decides": False}) == "open"
    assert verdict(RATIO, against | {"decides": False}) == "supported"
    assert verdict(against | {"decides": False}) == "not measured"


def test_what_must_hold_everywhere_does_not_where_one_data_set_leaves_it_open(tmp_path):
    for dataset, spread in (("a", 0.1), ("b", 30.0)):
        for seed in range(4):
            ours = {"g": scores(20.0 + spread * seed)}
            write_run(tmp_path, "dcgan_small", seed, ours, dataset=dataset)
            theirs = {"g": scores(30.0)}
            write_run(tmp_path, "ddpm_small", seed, theirs, dataset=dataset)
    test = GAN_OVER_DIFFUSION | {"expect": "below"}
    assert judged(tmp_path / "runs", test).verdict == "supported"
    assert judged(tmp_path / "runs", test | {"everywhere": True}).verdict == "open"


@pytest.mark.parametrize("needs", ["any", "all"])
def test_data_sets_that_disagree_are_a_verdict_of_their_own(tmp_path, needs):
    disagreeing(tmp_path)
    test = GAN_OVER_DIFFUSION | {"expect": "below"}
    judgement = judged(tmp_path / "runs", test, needs=needs)
    assert [finding.says for finding in judgement.findings] == ["supports", "contradicts"]
    assert judgement.verdict == "mixed"
    assert judgement.p == max(finding.p for finding in judgement.findings)
    assert "± mixed" in claims_page([judgement], "python -m bench.compare")
    assert judged(tmp_path / "runs", test | {"everywhere": True}).verdict == "contradicted"
    (weak, *_) = over_all_claims([judgement, *[replace(judgement, p=1.0)] * 1000])
    assert weak.verdict == "open"


def disagreeing(folder):
    """Two data sets: on one the GAN is clearly better, on the other clearly worse."""
    for dataset, fid in (("a", 10.0), ("b", 40.0)):
        for seed in range(4):
            noise = 1 + 0.02 * seed
            ours = {"g": scores(fid * noise, precision=0.5 - 0.1 * seed**2 / 9)}
            write_run(folder, "dcgan_small", seed, ours, dataset=dataset)
            theirs = {"g": scores(20.0, precision=0.55)}
            write_run(folder, "ddpm_small", seed, theirs, dataset=dataset)
    return folder / "runs"


def test_the_p_of_a_verdict_is_of_the_tests_that_it_rests_on(tmp_path):
    folder = disagreeing(tmp_path)
    clear = GAN_OVER_DIFFUSION | {"expect": "below"}
    sides = {"numerator": {"role": "gan", "dataset": "a"}}
    sides |= {"baseline": {"role": "diffusion", "dataset": "a"}}
    weak = {"says": "weak", "kind": "difference", "column": "precision"} | sides
    judgement = judged(folder, clear | {"everywhere": True}, weak | {"expect": "below"})
    assert judgement.verdict == "mixed"
    of_weak = [f.p for f in judgement.findings if f.test.says == "weak"]
    assert judgement.p == min(of_weak) > 10 * min(f.p for f in judgement.findings)
    judgement = judged(folder, clear, weak | {"expect": "above"}, needs="all")
    assert judgement.verdict == "contradicted"
    of_weak = [f.p for f in judgement.findings if f.test.says == "weak"]
    assert judgement.p == min(of_weak) > 10 * min(f.p for f in judgement.findings)


def test_what_supports_on_one_data_set_may_be_open_on_another_beside_an_equal_test(tmp_path):
    for dataset, fid, spread in (("a", 20.0, 1.02), ("b", 28.0, 2.0)):
        for seed in range(6):
            sign = (-1) ** seed
            ours = {"g": scores(fid * spread**sign, precision=0.5 + 0.001 * sign)}
            write_run(tmp_path, "dcgan_small", seed, ours, dataset=dataset)
            theirs = {"g": scores(30.0, precision=0.5)}
            write_run(tmp_path, "ddpm_small", seed, theirs, dataset=dataset)
    better = GAN_OVER_DIFFUSION | {"expect": "below"}
    alike = GAN_OVER_DIFFUSION | {"kind": "difference", "column": "precision", "margin": 0.05}
    judgement = judged(tmp_path / "runs", better, alike, needs="all")
    assert [f.says for f in judgement.findings] == ["supports", "undecided", "equal", "equal"]
    assert judgement.verdict == "equal within the margin"
    assert judgement.p < 0.001


def test_tests_that_disagree_are_mixed_and_one_that_lacks_runs_is_named(two_models):
    missing = {"says": "of another size", "numerator": {"role": "gan", "dataset": "cifar10"}}
    judgement = judged(two_models, RATIO, RATIO | {"expect": "below"}, missing)
    assert judgement.verdict == "mixed"
    assert judgement.sentence == "1 for, 1 against, 1 not measured"
    text = claims_page([judgement], "python -m bench.compare")
    assert "Not measured: of another size." in text
    assert "python -m bench -m experiment=claims_small sweep=gan" in text


def test_the_floor_stands_beside_every_seed(two_models):
    test = {"says": "floor", "baseline": "real", "numerator": "gan", "threshold": 5.0}
    (finding,) = judged(two_models, test).findings
    assert finding.estimate.n == 5
    assert finding.estimate.effect == pytest.approx(
        np.exp(
            np.mean(np.log(10 * np.array([1.0, 1.3 * 1.01, 0.8 * 1.02, 1.1 * 1.03, 0.9 * 1.04])))
        )
    )


def test_fewer_than_three_seeds_give_no_verdict(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "dcgan_small", seed, {"generator": scores(10.0 + seed)})
        write_run(tmp_path, "ddpm_small", seed, {"ddim-50": scores(500.0 + seed)})
    judgement = judged(tmp_path / "runs", RATIO)
    assert judgement.verdict == "open"
    assert judgement.findings[0].says == "too few"


def test_holm_corrects_over_the_tests_of_a_claim(two_models):
    alone = judged(two_models, RATIO | {"threshold": 1.9}).findings[0]
    among = judged(two_models, *[RATIO | {"threshold": 1.9, "says": f"{k}"} for k in range(4)])
    assert among.findings[0].p == pytest.approx(min(1.0, 4 * alone.p))


def test_counted_columns_are_exact(two_models):
    (finding,) = judged(two_models, RATIO | {"column": "nfe"}).findings
    assert (finding.estimate.text, finding.says) == ("×50", "supports")


def test_a_failed_run_whose_command_is_no_shells_stops_nothing(two_models):
    failed = Status("failed", "not finite", step=3, command="python -m bench model='dcgan_small")
    write_run(two_models.parent, "dcgan_small", 5, {}, status=failed)
    assert judged(two_models, RATIO).verdict == "supported"


def test_points_take_the_models_of_their_size(tmp_path):
    roles = {"gan": ["dcgan_small", "mlp_gan"], "diffusion": ["ddpm_small", "ddpm_mlp"]}
    for seed in range(3):
        for model, modes in (("mlp_gan", 2 + seed % 2), ("ddpm_mlp", 8)):
            row = {"s": mode_scores(modes, 0.9, 0.1, 0.2)}
            kwargs = {"dataset": "ring8", "protocol": POINTS, "extractors": ("identity",)}
            write_run(tmp_path, model, seed, row, **kwargs)
    test = GAN_OVER_DIFFUSION | {"column": "modes", "expect": "below"}
    body = {"source": "C", "statement": "", "runs": [], "tests": [test]}
    (judgement,) = judge([read_claim("c", body, roles, "claims.yaml")], read(tmp_path / "runs"))
    assert judgement.findings[0].where == "ring8"
    assert judgement.verdict == "supported"
