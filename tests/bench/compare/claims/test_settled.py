"""Claims over seeds that were added until questions were settled, and over all claims of a page."""

import math

import numpy as np
import pytest
from synthetic_runs import FLOOR, PROTOCOL, costs, mode_scores, scores, write_run

from bench.compare.claims.declaration import read_claim, read_test
from bench.compare.claims.estimates import estimate
from bench.compare.claims.measurements import Counts, Seeds
from bench.compare.claims.questions import by_cost, questions_of_claims
from bench.compare.claims.verdicts import judge, p_of
from bench.compare.comparison import compare_runs
from bench.compare.discoveries import false_discovery
from bench.compare.read import read_runs
from bench.compare.sequential import evidence, share_evidence
from bench.compare.writers.claims import claims_page
from bench.runs.directory import Status
from bench.runs.looks import Look

ROLES = {"gan": ["dcgan_small"], "diffusion": ["ddpm_small"], "real": ["real"]}
RATIO = {"says": "FID", "numerator": "diffusion", "baseline": "gan"}
MODES = {"says": "", "kind": "difference", "factor": 0.9, "column": "modes", "numerator": "gan"}
MODES |= {"baseline": "real", "expect": "below"}
SEQUENTIAL = Status("finished", step=100, sequential=Look(look=1).text)


def claim(*tests, name="c", **more):
    body = {"source": "C", "statement": "It is so.", "runs": ["gan", "diffusion"], **more}
    return read_claim(name, body | {"tests": list(tests)}, ROLES, "claims.yaml")


def judged(folder, *claims):
    return judge(claims, [compare_runs(read_runs([folder]))])


@pytest.fixture
def pair(tmp_path):
    """Write seeds of a GAN and a diffusion model with these ratios of their FIDs."""

    def write(ratios, status=None):
        for seed, ratio in enumerate(ratios):
            gan, ddpm = scores(10.0 + seed) | costs(1, 1.0), scores((10.0 + seed) * ratio)
            write_run(tmp_path, "dcgan_small", seed, {"g": gan}, status=status)
            write_run(tmp_path, "ddpm_small", seed, {"d": ddpm | costs(1, 1.0)}, status=status)
        return tmp_path / "runs"

    return write


def test_verdicts_are_adjusted_over_all_claims_of_a_page(pair):
    folder = pair((1.2, 1.5, 1.25, 1.3, 1.4))
    none = [claim(RATIO | {"threshold": 1.3}, name=f"none-{k}") for k in range(19)]
    (alone,) = judged(folder, claim(RATIO))
    assert (alone.verdict, alone.q) == ("supported", pytest.approx(alone.p))
    among = judged(folder, claim(RATIO), *none)
    assert among[0].p == alone.p
    harmonic = sum(1 / k for k in range(1, 21))
    assert among[0].q == pytest.approx(20 * harmonic * alone.p)
    assert among[0].q > 0.05 > alone.p
    assert among[0].verdict == "open"
    assert among[0].findings[0].says == "supports"  # which the page shows beside it
    text = claims_page(among, "python -m bench.compare")
    assert "Of these verdicts at most 5 % are expected to be false." in text


@pytest.mark.parametrize(
    ("needs", "tests", "expected"),
    [
        ("any", [RATIO, RATIO | {"threshold": 1.2}], min),
        ("all", [RATIO, RATIO | {"threshold": 1.1}], max),
        ("all", [RATIO, RATIO | {"expect": "below"}], min),  # one contradiction suffices
    ],
)
def test_a_claim_has_the_smallest_or_the_largest_p_of_its_tests(pair, needs, tests, expected):
    (judgement,) = judged(pair((1.3, 1.5, 1.25, 1.35, 1.4)), claim(*tests, needs=needs))
    assert judgement.verdict in ("supported", "contradicted")
    says = {"supported": "supports", "contradicted": "contradicts"}[judgement.verdict]
    assert judgement.p == expected(f.p for f in judgement.findings if f.says == says)


def test_a_test_that_was_not_measured_leaves_no_evidence_for_all_of_them(pair):
    missing = RATIO | {"numerator": {"role": "gan", "dataset": "cifar10"}}
    (judgement,) = judged(pair((1.3, 1.5, 1.25, 1.35, 1.4)), claim(RATIO, missing, needs="all"))
    assert (judgement.verdict, judgement.p) == ("open", 1.0)
    assert p_of(judgement.claim, judgement.findings, "supported") == 1.0


def test_runs_made_sequentially_are_tested_by_their_evidence(pair):
    ratios = (1.2, 1.5, 1.25, 1.3, 1.4, 1.3, 1.25, 1.35)
    (judgement,) = judged(pair(ratios, SEQUENTIAL), claim(RATIO))
    e = judgement.findings[0].estimate
    path = evidence(np.log(ratios))
    assert e.sequential
    assert e.path == pytest.approx(tuple(path), rel=1e-5)
    assert e.p == pytest.approx(1 / path[-1], rel=1e-5)
    assert 1 < e.low < 1.2  # Student's interval is narrower
    assert 1.4 < e.high < 1.6
    assert judgement.verdict == "supported"
    assert "e-processes" in claims_page([judgement], "")


def test_fixed_seeds_keep_students_t(pair):
    ratios = (1.2, 1.5, 1.25, 1.3, 1.4)
    (judgement,) = judged(pair(ratios), claim(RATIO))
    e = judgement.findings[0].estimate
    logs = np.log(ratios)
    half = 2.7764451 * logs.std(ddof=1) / math.sqrt(5)
    assert (e.low, e.high) == pytest.approx(np.exp([logs.mean() - half, logs.mean() + half]))
    assert not e.sequential
    assert "Student's t" in claims_page([judgement], "")


def test_two_shares_of_seeds_are_compared_where_they_differ():
    ours = ({"0": True, "1": True, "2": False}, {"0": True, "1": True, "2": True})
    theirs = ({"0": False, "1": False, "2": False}, {"0": True, "1": False, "2": False})
    test = read_test(
        {
            "says": "",
            "kind": "failure_rate_difference",
            "numerator": "gan",
            "baseline": "diffusion",
        },
        ROLES,
    )
    found = estimate(test, Counts(ours, theirs), sequential=True)
    after = share_evidence(np.ones(4), 0.5)  # seed 0: one pair differs, 1: two, 2: one
    assert found.path == pytest.approx((after[0], after[2], after[3]))
    assert found.text == "5 of 6 runs against 1 of 6"


def test_bounds_of_costs_are_judged_by_their_signs_after_every_seed():
    test = read_test(RATIO | {"kind": "cost_to_reach", "cost": "train_seconds"}, ROLES)
    values = {str(k): 0.5 + k for k in range(8)}
    found = estimate(test, Seeds(values, bounds=True), sequential=True)
    assert found.p == pytest.approx(1 / share_evidence(np.ones(8), 0.5)[-1])


def ring(tmp_path, modes, status=None):
    """Five seeds that hit as many modes of eight, and held-out data."""
    for seed, hit in enumerate(modes):
        row = mode_scores(hit, 0.9, 0.1, 0.2)
        kwargs = {"extractors": ("identity",), "status": status}
        write_run(tmp_path, "dcgan_small", seed, {"g": row}, **kwargs)
    floor = mode_scores(8, 0.98, 0.001, 0.01) | {"nfe": 0}
    write_run(tmp_path, "real", 0, {"r": floor}, protocol=FLOOR, extractors=("identity",))
    return tmp_path / "runs"


@pytest.mark.parametrize("status", [None, SEQUENTIAL])
def test_certain_collapse_is_decided(tmp_path, status):
    """One of eight modes in all of five seeds: the sign test alone could never say so."""
    (judgement,) = judged(ring(tmp_path, (1, 1, 1, 1, 1), status), claim(MODES))
    assert judgement.verdict == "supported"
    assert judgement.p < 0.001
    assert judgement.findings[0].estimate.text == "-6.2"


def test_all_modes_in_five_seeds_do_not_show_that_none_is_ever_lost(tmp_path):
    (judgement,) = judged(ring(tmp_path, (8, 8, 8, 8, 8)), claim(MODES))
    assert judgement.verdict == "open"


ALIKE = (1.0, 1.01, 0.99, 1.02, 1.0)


@pytest.mark.parametrize(
    ("equality", "verdict"),
    [
        ("supports", "supported"),
        ("contradicts", "contradicted"),
        ("neither", "equal within the margin"),
    ],
)
def test_a_claim_says_on_which_side_equality_is(pair, equality, verdict):
    (judgement,) = judged(pair(ALIKE), claim(RATIO | {"equality": equality}))
    assert judgement.verdict == verdict


def test_equality_needs_the_whole_interval_within_the_margin(pair):
    folder = pair((1.0, 1.12, 0.93, 1.06, 0.97))  # on average equal, with too much spread to say so
    assert judged(folder, claim(RATIO))[0].verdict == "open"
    wide = judged(folder, claim(RATIO | {"margin": 1.5}))[0]
    assert wide.verdict == "equal within the margin"
    assert judged(folder, claim(RATIO | {"threshold": 1.3}))[0].findings[0].says == "contradicts"


def test_the_margin_is_that_of_the_runs(pair):
    ratios = (1.15, 1.14, 1.16, 1.15, 1.13, 1.17, 1.15, 1.14, 1.16, 1.15)
    wide = Status("finished", step=100, sequential=Look(margin=1.3, look=2).text)
    (judgement,) = judged(pair(ratios, wide), claim(RATIO))
    assert judgement.verdict == "equal within the margin"
    assert judgement.findings[0].estimate.equal_p < 0.05


def test_what_needs_all_of_its_tests_may_be_settled_by_a_part_that_is_equal(pair):
    alike = RATIO | {"column": "recall", "kind": "difference", "margin": 0.05}
    better = RATIO | {"threshold": 0.8}
    (judgement,) = judged(pair(ALIKE + ALIKE[:3]), claim(better, alike, needs="all"))
    assert [f.says for f in judgement.findings] == ["supports", "equal"]
    assert judgement.verdict == "equal within the margin"
    assert judgement.p == max(f.p for f in judgement.findings)


def test_what_is_not_decided_by_measurement_says_why(pair):
    body = RATIO | {"decides": False}
    (judgement,) = judged(pair(ALIKE), claim(body, undecidable="it is a matter of taste."))
    assert judgement.verdict == "not decided by measurement"
    assert math.isnan(judgement.p)
    assert "Not decided by measurement: it is a matter of taste." in claims_page([judgement], "")
    with pytest.raises(ValueError, match="it is undecidable, but has tests that decide"):
        claim(RATIO, undecidable="it is a matter of taste.")


def test_open_claims_say_what_would_decide_them_the_cheapest_first(pair):
    folder = pair((1.2, 1.0, 1.25, 0.95, 1.2))
    dear = claim(RATIO | {"threshold": 1.09}, name="dear")
    cheap = claim(RATIO, name="cheap")
    judgements = judged(folder, dear, cheap)
    order = by_cost(judgements)
    assert [j.claim.name for j, _ in order] == ["cheap", "dear"]
    first = order[0][1]
    assert first.more >= 1
    assert first.minutes == pytest.approx(first.more * 240 / 60)  # two runs of 120 s a seed
    assert first.text == f"about {first.more:.0f} more seeds, {math.ceil(first.minutes)} minutes"
    text = claims_page(judgements, "")
    assert text.index("# Open questions, by what they would cost") < text.index(first.text)


def test_questions_of_claims_are_their_deciding_tests(pair):
    folder = pair((1.2, 1.5, 1.25, 1.3, 1.4, 1.3, 1.25, 1.35))
    settled, aside = RATIO, RATIO | {"threshold": 1.3, "decides": False}
    judgements = judge(
        [claim(settled, aside), claim(RATIO | {"threshold": 1.25}, name="b")],
        [compare_runs(read_runs([folder]))],
        sequential=True,
    )
    first, second = questions_of_claims(judgements)
    assert (first.name, first.place) == ("claim c, test 1, digits", "digits")
    assert (first.state, first.seeds, first.needed) == ("settled", 8, 8)
    models = ("dcgan_small", "ddpm_small")
    assert set(first.needs) == {("digits", model, "default") for model in models}
    unmeasured = claim(RATIO, RATIO | {"numerator": "real"})
    (asked,) = questions_of_claims(judge([unmeasured], [compare_runs(read_runs([folder]))]))
    assert asked.needs == ("gan", "diffusion")  # one of its tests has no question
    assert second.state == "open"
    assert second.threshold == pytest.approx(20.0)  # two claims, both then decided
    assert second.needed > 8
    assert not second.dropped


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_one_or_two_seeds_every_question_is_open(pair, seeds):
    judgements = judged(pair((2.0, 2.1)[:seeds], SEQUENTIAL), claim(RATIO), claim(RATIO, name="d"))
    found = questions_of_claims(judgements)
    assert [question.state for question in found] == ["open", "open"]
    assert [question.threshold for question in found] == [40, 40]  # two claims


def test_a_claim_whose_runs_all_waited_for_cores_is_still_a_question(tmp_path):
    timed = PROTOCOL | {"budget": "seconds=40"}
    waited = costs(1, 1.0) | {"train_waiting_seconds": 60.0}
    made = {"status": SEQUENTIAL, "protocol": timed}
    for model in ("dcgan_small", "ddpm_small"):
        write_run(tmp_path, model, 0, {"g": scores(9.0) | waited}, **made)
    judgements = judged(tmp_path / "runs", claim(RATIO))
    assert judgements[0].verdict == "not measured"
    (question,) = questions_of_claims(judgements)
    assert (question.state, question.dropped, question.seeds) == ("open", False, 0)
    assert question.needs == ("gan", "diffusion")
    assert question.answer == "no result yet from runs that got their cores"
    without = judged(tmp_path / "runs", claim(RATIO | {"numerator": "real"}))
    assert questions_of_claims(judge([claim(RATIO)], [])) == ()
    assert len(questions_of_claims(without)) == 1  # of the GAN


def test_a_question_of_a_claim_that_is_decided_is_not_asked_any_more(pair):
    folder = pair((1.2, 1.5, 1.25, 1.3, 1.4, 1.3, 1.25, 1.35), SEQUENTIAL)
    (judgement,) = judged(folder, claim(RATIO, RATIO | {"threshold": 1.28}))
    assert judgement.verdict == "supported"
    states = [(q.state, q.dropped) for q in questions_of_claims([judgement])]
    assert states == [("settled", False), ("open", True)]


def test_the_questions_of_a_claim_say_which_of_them_are_enough(tmp_path):
    noise = np.random.default_rng(0).normal(size=(3, 6))
    for k, dataset in enumerate("ab"):
        for seed in range(6):
            ours, theirs = 10.0 + 5 * k * noise[0, seed], 12.0 + noise[1 + k, seed]
            made = {"dataset": dataset, "status": SEQUENTIAL}
            write_run(tmp_path, "dcgan_small", seed, {"g": scores(ours)}, **made)
            write_run(tmp_path, "ddpm_small", seed, {"d": scores(theirs)}, **made)
    runs = read_runs([tmp_path / "runs"])
    comparisons = [compare_runs([r for r in runs if r.dataset == name]) for name in "ab"]

    def asked(*tests, needs):
        found = questions_of_claims(judge([claim(*tests, needs=needs)], comparisons))
        assert {q.verdict for q in found} == {"c"}
        return [(q.part, q.state, q.dropped, q.alone) for q in found]

    near = RATIO | {"threshold": 1.15}
    everywhere = near | {"everywhere": True}
    assert asked(near, needs="any") == [("test 1", "open", False, True)] * 2
    further = RATIO | {"threshold": 1.16}
    parts = [f"test {number}" for number in (1, 1, 2, 2)]
    assert [part for part, *_ in asked(near, further, needs="all")] == parts
    on_b = [alone for *_, alone in asked(near, further, needs="all")]
    assert on_b == [False, True] * 2  # on b it leans against the claim, on a for it
    of_places = [("test 1, a", "open", False, False), ("test 1, b", "open", False, True)]
    assert asked(everywhere, needs="any") == asked(everywhere, needs="all") == of_places
    settled, not_needed = asked(RATIO | {"threshold": 0.5}, near, needs="all")[:2]
    assert settled == ("test 1", "settled", False, False)
    assert not_needed == ("test 1", "open", True, False)


def test_seeds_that_can_say_nothing_are_not_asked_for(pair):
    """A GAN that is clearly better, where only a worse one would say something."""
    folder = pair((1.2, 1.5, 1.25, 1.3, 1.4, 1.3, 1.25, 1.35), SEQUENTIAL)
    memory = RATIO | {"expect": "below", "refutes": False, "equality": "neither"}
    difference = memory | {"kind": "difference", "column": "fid"}
    (judgement,) = judged(folder, claim(difference))
    assert judgement.findings[0].estimate.path[-1] > 20
    (question,) = questions_of_claims([judgement])
    assert (question.state, question.needed) == ("open", math.inf)
    (against,) = judged(folder, claim(difference | {"refutes": True}))
    assert questions_of_claims([against])[0].state == "settled"


def test_a_difference_within_the_margin_waits_for_the_evidence_of_equality(pair):
    """It differs for sure, by less than the margin: of "differs" only equality would say more."""
    ratios = [1.085 + 0.02 * (-1) ** k for k in range(12)]
    (judgement,) = judged(pair(ratios, SEQUENTIAL), claim(RATIO | {"expect": "differs"}))
    finding = judgement.findings[0]
    assert finding.estimate.path[-1] > 1000 > 20 > finding.estimate.equal_path[-1]
    (question,) = questions_of_claims([judgement])
    assert question.state == "open"
    assert question.needed > question.seeds + 1


def test_a_place_that_contradicts_is_asked_although_its_test_is_settled_elsewhere(tmp_path):
    for dataset, ratios in (("a", (2.0, 2.1, 1.9, 2.05, 1.95, 2.0)), ("b", (0.6, 0.9, 0.5, 1.05))):
        for seed, ratio in enumerate(ratios):
            made = {"dataset": dataset, "status": SEQUENTIAL}
            write_run(tmp_path, "dcgan_small", seed, {"g": scores(10.0)}, **made)
            write_run(tmp_path, "ddpm_small", seed, {"d": scores(10.0 * ratio)}, **made)
    runs = read_runs([tmp_path / "runs"])
    comparisons = [compare_runs([r for r in runs if r.dataset == name]) for name in "ab"]
    other = RATIO | {"numerator": {"role": "diffusion", "dataset": "c"}}
    (judgement,) = judge([claim(RATIO, other, needs="all")], comparisons)
    on_a, on_b = questions_of_claims([judgement])
    assert (on_a.state, on_b.state, on_b.dropped, on_b.alone) == ("settled", "open", False, True)
    assert math.isfinite(on_b.needed)
    ((_, effort),) = by_cost([judgement])
    assert effort.finding.where == "b"


def test_what_must_hold_everywhere_costs_what_the_dearest_place_does(tmp_path):
    noise = np.random.default_rng(0).normal(size=(2, 6))
    for dataset, spread in (("a", 0.1), ("b", 0.8), ("c", 1.4)):
        for seed in range(6):
            made = {"dataset": dataset, "status": SEQUENTIAL}
            for k, model in enumerate(("dcgan_small", "ddpm_small")):
                fid = 10.0 + 2 * k + spread * noise[k, seed]
                write_run(tmp_path, model, seed, {"g": scores(fid) | costs(1, 1.0)}, **made)
    runs = read_runs([tmp_path / "runs"])
    comparisons = [compare_runs([r for r in runs if r.dataset == name]) for name in "abc"]
    judgements = judge([claim(RATIO | {"everywhere": True})], comparisons)
    states = {q.place: (q.state, q.needed) for q in questions_of_claims(judgements)}
    assert states["a"][0] == "settled"
    ((_, effort),) = by_cost(judgements)
    assert effort.finding.where == "c"
    assert effort.needed == states["c"][1] > states["b"][1]


def test_sequential_and_fixed_claims_may_stand_on_one_page():
    assert false_discovery([0.01, 0.5], [True, False])[0] == pytest.approx(0.02)
