"""Claims as declared: with sources, with runs that exist, and refused where they are wrong."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from claim_runs import jobs
from judged_claims import RATIO, ROLES, SECONDS

from bench.command_line import read_grids
from bench.compare.claims import declaration
from bench.compare.claims.declaration import DOCUMENTS, read_claim, read_claims
from bench.compare.claims.measurements import KINDS
from bench.compare.claims.selection import Selection, _plain
from bench.compare.variants import SAMPLERS_KEY, model_changes


def test_every_claim_is_declared_with_its_source_and_runs_that_exist():
    claims = read_claims()
    of_documents = [claim for claim in claims if claim.section == DOCUMENTS]
    assert len(of_documents) == 23
    assert claims[:23] == of_documents
    assert len({claim.name for claim in claims}) == len(claims)
    for experiment in ("claims_small", "claims_cifar10"):
        grids = read_grids(experiment)
        for claim in claims:
            assert claim.tests, claim.name
            assert set(claim.runs) <= set(grids), claim.name
    assert all(claim.source in "ABC" for claim in of_documents)
    assert all(re.search(r" \d{4}\b", claim.cited) for claim in claims[23:])  # papers, with years


def draws(model: str, job: list[str], sampler: str | None) -> bool:
    """Whether a job draws by a sampler: one that it lists, or its model's configuration does."""
    recipe = (files("conf") / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    listed = " ".join(filter(SAMPLERS_KEY.match, job)) or recipe
    if sampler is None or sampler == "draft":
        return True
    wanted, last = re.fullmatch(r"(?:hybrid-)?(.+?)(?:-last-(\d+))?", sampler).groups()
    return {wanted, last or wanted} <= set(re.split(r"[^\w.-]+", listed))


def name_of_dataset(job: list[str]) -> str:
    """The name of a job's data set, as its runs record it."""
    settings = dict(word.split("=", 1) for word in job)
    name = settings.get("dataset.name", settings["dataset"])
    name = name.replace("\\", "")
    return name.replace("${dataset.image_size}", settings.get("dataset.image_size", ""))


def positions(selection: Selection) -> list[tuple[int, str]]:
    """The sizes that a selection has; one model stands for every data set that it lists."""
    models, sets = selection.models, len(selection.dataset)
    return list(enumerate(models if len(models) > 1 else models * max(1, sets)))


@pytest.mark.parametrize("experiment", ["claims_small", "claims_cifar10"])
def test_every_selection_of_a_claim_finds_a_job_of_its_runs(experiment):
    for claim in read_claims():
        made = list(jobs(experiment, claim.runs))
        for selection in (side for test in claim.tests for side in test.sides):
            fitting = [
                job
                for position, model in positions(selection)
                for job in made
                if f"model={model}" in job
                and sorted(map(_plain, model_changes(job)))
                == sorted(map(_plain, selection.overrides_at(position)))
                and draws(model, job, selection.sampler)
                and selection.dataset_at(position) in (None, name_of_dataset(job))
            ]
            if len(selection.dataset) != 1 or experiment == "claims_small":
                assert fitting, (claim.name, selection)


def test_models_of_claims_exist():
    tables = (yaml.safe_load(file.read_text()) for file in (files("conf") / "claims").iterdir())
    table = {role: models for found in tables for role, models in found.get("roles", {}).items()}
    models = {file.name.removesuffix(".yaml") for file in (files("conf") / "model").iterdir()}
    assert {name for names in table.values() for name in names} <= models


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, "kind 'guess' must be one of ratio"),
        ({"expect": "up"}, "expect 'up' must be one of above"),
        ({"numerator": "nobody"}, "role 'nobody' must be one of gan"),
        ({"numerator": {"sampler": "x"}}, "it lacks 'role'"),
        ({"numerator": []}, "kind ratio compares a numerator"),
        ({"numerator": {"role": "gan", "sample": "x"}}, "unexpected keyword argument 'sample'"),
        ({"wrong": 1}, "kind ratio takes column, says"),
        ({"factor": 0.8}, "unexpected keyword argument 'factor'"),
        ({"kind": "cost_to_reach"}, "missing a required argument: 'cost'"),
        ({"kind": "share_on_front", "cost": "nfe"}, "compares a numerator and no baseline"),
        ({"expect": "differs", "kind": "difference"}, "compares ratios with 1"),
        ({"expect": "differs", "threshold": 2.0}, "compares with 1 only: leave threshold out"),
        (SECONDS | {"threshold": 2.0}, "compares with 1 only"),
        ({"kind": "failure_rate_difference", "threshold": 0.5}, "compares with 0 only"),
        ({"equality": "maybe"}, "equality 'maybe' must be one of supports, contradicts, neither"),
        ({"margin": 0.9}, "margin 0.9 must be above 1"),
        ({"threshold": 2.0, "equality": "supports"}, "equality needs numbers by seed"),
        ({"kind": "difference", "equality": "supports"}, "and differences a margin"),
    ],
)
def test_a_claim_that_is_not_declared_as_one_is_refused(change, message):
    body = {"source": "C", "statement": "", "runs": [], "tests": [RATIO | change]}
    with pytest.raises(ValueError, match=re.escape("claims.yaml: x is not declared")) as error:
        read_claim("x", body, ROLES, "claims.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"column": "coverge"}, "column 'coverge' is no measured column of eval.csv: did you mean"),
        ({"column": "coverge"}, "did you mean coverage?"),
        ({"column": "fid_domain"}, "did you mean fid?"),
        ({"column": "class_agreement"}, "did you mean conditional_accuracy?"),
        ({"column": "fid_infinity_domain"}, "did you mean fid_infinity?"),
        ({"column": "budget"}, "column 'budget' is no measured column"),
        ({"column": ["fid"]}, "column ['fid'] is no measured column"),
        ({"numerator": {"role": "gan", "column": "latency"}}, "did you mean latency_ms?"),
        ({"kind": "cost_to_reach", "cost": "train_second"}, "cost 'train_second' is no"),
        (
            {"equal": "image"},
            "equal 'image' is no measured column of eval.csv: did you mean images?",
        ),
    ],
)
def test_a_column_that_is_not_measured_is_refused(change, said, tmp_path, monkeypatch):
    """The sentence names the file and the claim; a row without the column would be no finding."""
    claim = {"source": "C", "statement": "", "runs": [], "tests": [RATIO | change]}
    (tmp_path / "claims").mkdir()
    file = tmp_path / "claims" / "mine.yaml"
    file.write_text(yaml.safe_dump({"roles": ROLES, "a-claim": claim}), encoding="utf-8")
    monkeypatch.setattr(declaration, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"^conf/claims/mine\.yaml: a-claim is not") as error:
        read_claims()
    assert said in str(error.value)


def test_the_page_on_claims_explains_every_kind_of_test():
    text = (Path(__file__).parents[4] / "docs" / "claims.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(KINDS)
