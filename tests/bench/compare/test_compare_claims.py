"""Claims: declared as data, judged from runs with known effects."""

import math
import re
from importlib.resources import files

import numpy as np
import pytest
import yaml
from conftest import write_run
from synthetic_runs import FLOOR, POINTS, costs, mode_scores, scores

from bench.compare.claims.declaration import Claim, Criterion, Selection, read_claim, read_claims
from bench.compare.claims.measurements import largest_rise, measure
from bench.compare.claims.page import claims_page
from bench.compare.claims.values import Counts, Seeds
from bench.compare.claims.verdicts import estimate, judge
from bench.compare.read import read_runs
from bench.compare.statistics import compare_runs
from bench.records import Status
from bench.sweeps import read_grids

ROLES = {"gan": ["dcgan_small"], "diffusion": ["ddpm_small"], "real": ["real"]}


def read(folder):
    by_dataset = {}
    for run in read_runs([folder]):
        by_dataset.setdefault(run.dataset, []).append(run)
    return [compare_runs(runs) for runs in by_dataset.values()]


def judged(folder, *tests):
    body = {"source": "C", "statement": "A is so.", "runs": ["gan"], "tests": list(tests)}
    (judgement,) = judge([read_claim("a-claim", body, ROLES)], read(folder))
    return judgement


@pytest.fixture
def two_models(tmp_path):
    """Five seeds of a GAN whose FID is half the DDPM's, with common ups and downs; the floor."""
    for seed, luck in enumerate((1.0, 1.3, 0.8, 1.1, 0.9)):
        jitter = 1 + seed / 100
        gan = scores(10 * luck * jitter) | costs(1, 0.5)
        ddpm = scores(20 * luck, precision=0.8 + seed / 1e3) | costs(50, 30 + seed)
        write_run(tmp_path, "dcgan_small", seed, {"generator": gan})
        write_run(tmp_path, "ddpm_small", seed, {"ddim-50": ddpm})
    floor = scores(1.0) | {"nfe": 0}
    write_run(tmp_path, "real", 0, {"held-out": floor}, protocol=FLOOR)
    return tmp_path / "runs"


RATIO = {"says": "FID", "of": {"role": "diffusion"}, "to": {"role": "gan"}}


def test_every_claim_of_the_documents_is_declared_with_runs_that_exist():
    claims = read_claims()
    assert len(claims) == len({claim.name for claim in claims}) == 23
    for experiment in ("claims_small", "claims_cifar10"):
        grids = read_grids(experiment)
        for claim in claims:
            assert claim.tests, claim.name
            assert claim.source in "ABC"
            assert set(claim.runs) <= set(grids), claim.name


def test_models_of_claims_exist():
    table = yaml.safe_load((files("conf") / "claims" / "roles.yaml").read_text())["roles"]
    models = {file.name.removesuffix(".yaml") for file in (files("conf") / "model").iterdir()}
    assert {name for names in table.values() for name in names} <= models


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
        ({"than": 3.0}, "contradicted"),
        ({"than": 1.96}, "inconclusive"),
        ({"expect": "differs"}, "supported"),
    ],
)
def test_direction_and_threshold_decide(two_models, change, verdict):
    assert judged(two_models, RATIO | change).verdict == verdict


def test_no_difference_that_matters_contradicts_that_there_is_one(two_models):
    alike = {
        "of": {"role": "gan", "column": "modes"},
        "to": {"role": "diffusion", "column": "modes"},
    }
    test = {"says": "modes", "expect": "differs", **alike}
    assert judged(two_models, test).verdict == "contradicted"


def test_tests_that_disagree_are_inconclusive_and_one_that_lacks_runs_is_named(two_models):
    missing = {"says": "of another size", "of": {"role": "gan", "dataset": "cifar10"}}
    judgement = judged(two_models, RATIO, RATIO | {"expect": "below"}, missing)
    assert judgement.verdict == "inconclusive"
    assert judgement.sentence == "1 for, 1 against, 1 not measured"
    text = claims_page([judgement], "python -m bench.compare")
    assert "Not measured: of another size." in text
    assert "python -m bench -m experiment=claims_small sweep=gan" in text


def test_the_floor_stands_beside_every_seed(two_models):
    test = {"says": "floor", "to": {"role": "real"}, "of": {"role": "gan"}, "than": 5.0}
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
    assert judgement.verdict == "inconclusive"
    assert judgement.findings[0].says == "too few seeds"


def test_holm_corrects_over_the_tests_of_a_claim(two_models):
    alone = judged(two_models, RATIO | {"than": 1.9}).findings[0]
    among = judged(two_models, *[RATIO | {"than": 1.9, "says": f"{k}"} for k in range(4)])
    assert among.findings[0].p == pytest.approx(min(1.0, 4 * alone.p))


def test_counted_columns_are_exact(two_models):
    test = RATIO | {
        "of": {"role": "diffusion", "column": "nfe"},
        "to": {"role": "gan", "column": "nfe"},
    }
    (finding,) = judged(two_models, test).findings
    assert (finding.estimate.text, finding.says) == ("×50", "supports")


def test_failed_and_collapsed_runs_are_counted(tmp_path):
    failed = Status("failed", "not finite", 10, "generator", "python -m bench model=dcgan_small")
    for seed in range(6):
        row = scores(10.0 + seed) | ({"warning": "only 1 of 10 modes"} if seed < 3 else {})
        status = failed if seed == 5 else None
        write_run(
            tmp_path, "dcgan_small", seed, {} if status else {"generator": row}, status=status
        )
        write_run(tmp_path, "ddpm_small", seed, {"ddim-50": scores(20.0 + seed)})
    test = RATIO | {
        "kind": "failures",
        "of": {"role": "gan"},
        "to": {"role": "diffusion"},
        "than": 0,
    }
    (finding,) = judged(tmp_path / "runs", test).findings
    assert finding.estimate.text.startswith("4 of 6 runs against 0 of 6")
    # Fisher's exact test by hand: 2 · C(6, 4) / C(12, 4)
    assert finding.p == pytest.approx(2 * 15 / 495)
    assert finding.says == "undecided"


def test_runs_are_told_apart_by_the_overrides_of_their_model(tmp_path):
    for variant, width, fid in (("a", "", 10.0), ("b", "16", 40.0), ("c", "64", 5.0)):
        for seed in range(3):
            changed = f" model.build.width={width}" if width else ""
            row = scores(fid + seed / 10) | {"overrides": f"budget.seconds=40{changed}"}
            write_run(tmp_path, "dcgan_small", seed, {"generator": row}, variant=variant)
    test = {
        "says": "width",
        "expect": "below",
        "of": {"role": "gan", "overrides": "model.build.width=64"},
        "to": {"role": "gan", "overrides": "model.build.width=16"},
    }
    (finding,) = judged(tmp_path / "runs", test).findings
    assert finding.estimate.effect == pytest.approx(5.1 / 40.1, rel=1e-2)
    assert finding.rows == (
        "dcgan_small (build.width=64), generator",
        "dcgan_small (build.width=16), generator",
    )


def along(tmp_path, model, seed, fids, dataset="digits"):
    for k, fid in enumerate(fids, 1):
        row = scores(fid) | costs(1, 1.0) | {"train_seconds": 10.0 * k, "train_flops": 1e9 * k}
        write_run(
            tmp_path, model, seed, {"g": row}, dataset=dataset, checkpoint=k, checkpoints=len(fids)
        )


def test_rises_and_the_way_to_a_threshold_are_read_off_the_course(tmp_path):
    for seed in range(3):
        along(tmp_path, "dcgan_small", seed, (40.0, 10.0, 30.0, 20.0 + seed))
        along(tmp_path, "ddpm_small", seed, (80.0, 40.0, 20.0, 10.0 + seed))
    (comparison,) = read(tmp_path / "runs")
    of, to = (Selection((name,)) for name in ("dcgan_small", "ddpm_small"))
    (rises,) = measure(Criterion("rise", (of,), (to,), kind="rise"), [comparison])
    assert rises.values == pytest.approx({str(seed): math.log(3.0) for seed in range(3)})
    (reached,) = measure(
        Criterion("reach", (to,), (of,), kind="reach", cost="train_seconds"), [comparison]
    )
    # the worst final FID is 22: the GAN reaches it before point 2, the DDPM before point 3
    share = math.log(22 / 40) / math.log(10 / 40)
    gan = 10 * 2**share
    ddpm = 20 * (30 / 20) ** (math.log(22 / 40) / math.log(20 / 40))
    assert reached.values == pytest.approx({str(s): math.log(ddpm / gan) for s in range(3)})


def test_curves_are_compared_where_both_have_seen_as_many_images(tmp_path):
    for seed in range(3):
        for k, fid in enumerate((40.0, 20.0, 10.0), 1):
            row = {"g": scores(fid) | {"images": 1000 * 2**k, "train_seconds": 1.0 * k}}
            write_run(tmp_path, "dcgan_small", seed, row, checkpoint=k, checkpoints=3)
        slow = {"g": scores(30.0) | {"images": 4000, "train_seconds": 3.0}}
        write_run(tmp_path, "ddpm_small", seed, slow)
    of, to = (Selection((name,)) for name in ("ddpm_small", "dcgan_small"))
    (equal,) = measure(Criterion("e", (of,), (to,), equal="images"), read(tmp_path / "runs"))
    assert equal.values == pytest.approx(dict.fromkeys("012", math.log(30 / 20)))
    (ends,) = measure(Criterion("e", (of,), (to,)), read(tmp_path / "runs"))
    assert ends.values == pytest.approx(dict.fromkeys("012", math.log(30 / 10)))


def test_the_largest_rise_of_a_falling_course_is_none():
    assert largest_rise(np.array([5.0, 4.0, 3.0])) == 1.0
    assert largest_rise(np.array([4.0, 2.0, 5.0, 1.0])) == 2.5


def test_settings_are_varied_one_at_a_time(tmp_path):
    keys = ("training.lr", "training.batch_size")
    for model, factor in (("dcgan_small", 3.0), ("ddpm_small", 1.1)):
        for seed in range(3):
            base = 10.0 + seed / 7
            default = scores(base) | {"overrides": "", "images": 100}
            write_run(tmp_path, model, seed, {"g": default})
            for k, key in enumerate(keys):
                for side, change in (("low", 1 / factor), ("high", factor)):
                    row = scores(base * change) | {"overrides": f"model.{key}={side}"}
                    row |= {"images": 100}
                    write_run(tmp_path, model, seed, {"g": row}, variant=f"{k}{side}")
    of, to = (Selection((name,)) for name in ("dcgan_small", "ddpm_small"))
    settings = ("lr", "batch_size")
    comparisons = read(tmp_path / "runs")
    (spread,) = measure(
        Criterion("s", (of,), (to,), kind="settings_spread", settings=settings), comparisons
    )
    assert spread.values == pytest.approx(
        {str(s): math.log(math.log(3.0) / math.log(1.1)) for s in range(3)}
    )
    (share,) = measure(
        Criterion("s", (of,), (to,), kind="settings_share", scale="linear", settings=settings),
        comparisons,
    )
    assert share.values == pytest.approx({str(s): 1 / 2 - 1 for s in range(3)})


def test_a_front_counts_the_seeds_in_which_an_entry_is_on_it(two_models):
    comparisons = read(two_models)
    gan, ddpm = (Selection((name,)) for name in ("dcgan_small", "ddpm_small"))
    counts = [
        measure(Criterion("f", (s,), kind="front", cost="latency_ms", than=0.25), comparisons)[0]
        for s in (gan, ddpm)
    ]
    assert [count.of for count in counts if isinstance(count, Counts)] == [(5, 5), (0, 5)]


def test_selections_of_several_data_sets_are_looked_up_together(tmp_path):
    fids = {("a", "dcgan_small"): 2, ("a", "ddpm_small"): 3, ("b", "dcgan_small"): 8}
    for (dataset, model), fid in (fids | {("b", "ddpm_small"): 6}).items():
        for seed in range(3):
            write_run(tmp_path, model, seed, {"g": scores(fid)}, dataset=dataset)
    (m,) = measure(
        Criterion(
            "growth",
            (Selection(("dcgan_small",), "b"), Selection(("ddpm_small",), "a")),
            (Selection(("dcgan_small",), "a"), Selection(("ddpm_small",), "b")),
        ),
        read(tmp_path / "runs"),
    )
    assert isinstance(m, Seeds)
    assert m.values == pytest.approx(dict.fromkeys("012", math.log((8 / 2) / (6 / 3))))
    assert m.datasets == ("b", "a")


def test_points_take_the_models_of_their_size(tmp_path):
    roles = {"gan": ["dcgan_small", "mlp_gan"], "diffusion": ["ddpm_small", "ddpm_mlp"]}
    for seed in range(3):
        for model, modes in (("mlp_gan", 2 + seed % 2), ("ddpm_mlp", 8)):
            row = {"s": mode_scores(modes, 0.9, 0.1, 0.2)}
            write_run(
                tmp_path,
                model,
                seed,
                row,
                dataset="ring8",
                protocol=POINTS,
                extractors=("identity",),
            )
    body = {
        "source": "C",
        "statement": "",
        "runs": [],
        "tests": [
            {
                "says": "modes",
                "expect": "below",
                "of": {"role": "gan", "column": "modes"},
                "to": {"role": "diffusion", "column": "modes"},
            }
        ],
    }
    (judgement,) = judge([read_claim("c", body, roles)], read(tmp_path / "runs"))
    assert judgement.findings[0].where == "ring8"
    assert judgement.verdict == "supported"


def test_the_same_model_against_itself_is_seldom_called_different():
    """At most 5 % of claims of four tests, at five seeds, with log-normal noise."""
    rng = np.random.default_rng(0)
    claim = Claim("c", "C", "", (), ())
    wrong = 0
    for _ in range(1000):
        measured = [
            (
                Criterion("t", (Selection(("a",)),), (Selection(("b",)),), expect="differs"),
                Seeds(dict(enumerate(rng.normal(size=5) - rng.normal(size=5))), ("a",), ("d",)),
            )
            for _ in range(4)
        ]
        from bench.compare.seeds import holm

        wrong += min(holm([estimate(t, m).p for t, m in measured])) < 0.05
    assert claim.command
    assert wrong / 1000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, "'guess' must be one of contrast"),
        ({"expect": "up"}, "'up' must be one of above"),
        ({"of": {"role": "nobody"}}, "role 'nobody' must be one of gan"),
        ({"wrong": 1}, "wrong"),
    ],
)
def test_a_claim_that_is_not_declared_as_one_is_refused(change, message):
    body = {"source": "C", "statement": "", "runs": [], "tests": [RATIO | change]}
    with pytest.raises(ValueError, match=re.escape("conf/claims: x is not declared")) as error:
        read_claim("x", body, ROLES)
    assert message in str(error.value)
