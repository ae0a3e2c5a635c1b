"""What a claim is: its words, its source, and the tests that decide it, as conf/claims has them."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from inspect import signature
from typing import Any, Literal

import yaml

from bench.compare.claims.measurements import KINDS, Kind
from bench.compare.claims.selection import Selection
from bench.errors import did_you_mean
from bench.schema import FORMER, MEASURED, PER_EXTRACTOR

Roles = Mapping[str, list[str]]
"""Models that stand for a role, by size."""


@dataclass(frozen=True)
class Criterion:
    """One comparison that speaks for a claim or against it.

    Attributes:
        says: what it compares, in words.
        kind: what it measures, and on which scale.
        numerator: what is compared.
        baseline: with what; empty for a comparison with the threshold.
        threshold: the ratio, difference or share that separates support from contradiction.
        options: further arguments of the kind's function.
        expect: on which side of the threshold the claim puts it; "differs": on either.
        decides: whether the verdict rests on it; what holds by construction is shown beside.
        refutes: whether a finding on the other side of the threshold speaks against the claim, or
            only not for it.
        everywhere: whether it must hold on every data set, not only on some and against it on none.
        equality: what it says of the claim if the difference is shown to lie within the margin.
        margin: differences up to it count as none; None for ratios within `MARGIN`, and for no
            margin of differences. Only a threshold of no difference has one.
    """

    says: str
    kind: Kind
    numerator: tuple[Selection, ...]
    baseline: tuple[Selection, ...]
    threshold: float
    options: Mapping[str, Any] = field(default_factory=dict)
    expect: Literal["above", "below", "differs"] = "above"
    decides: bool = True
    refutes: bool = True
    everywhere: bool = False
    equality: Literal["supports", "contradicts", "neither"] = "neither"
    margin: float | None = None

    def half_margin(self, ratio: float) -> float | None:
        """The margin on the scale that is tested; None if equality is not asked for.

        Args:
            ratio: the margin of ratios where the test has none of its own.
        """
        if self.kind.scale == "share" or self.kind.per == "run":
            return None
        if self.kind.scale == "difference":
            return self.margin
        return math.log(self.margin or ratio) if self.threshold == self.kind.threshold else None

    @property
    def sides(self) -> tuple[Selection, ...]:
        """The selections of both sides."""
        return (*self.numerator, *self.baseline)


MARGIN = 1.1
"""A ratio within [1 / MARGIN, MARGIN] counts as no difference, unless the runs say otherwise."""

OWN = ("column", *(f.name for f in fields(Criterion) if f.name != "options"))
"""Fields that a test of any kind can have; column stands for that of each selection."""


DOCUMENTS = "Claims of the source documents"
"""The section of claims whose file names none."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the source documents or of a paper, made measurable.

    Attributes:
        name: its id, such as "gan-diversity".
        source: the letter of the document that says it, or papers with their years.
        statement: what it says.
        tests: what decides it; none if only a person can.
        runs: grids of the experiments claims_* that make the rows it needs.
        needs: whether "all" tests must speak for it (it says several things), or "any" and none
            against it (they are views of one thing).
        undecidable: why no measurement of this project decides it; its tests are shown beside.
        note: what a reader should know beside the numbers.
        section: the heading that it stands under.
    """

    name: str
    source: str
    statement: str
    tests: tuple[Criterion, ...]
    runs: tuple[str, ...]
    needs: Literal["all", "any"] = "any"
    undecidable: str = ""
    note: str = ""
    section: str = DOCUMENTS

    @property
    def cited(self) -> str:
        """Its source, in words."""
        return f"document {self.source}" if len(self.source) == 1 else self.source

    @property
    def command(self) -> str:
        """The command line that makes its runs."""
        return f"python -m bench -m experiment=claims_small sweep={','.join(self.runs)}"


def read_claims() -> list[Claim]:
    """The claims of conf/claims: the documents' first, else in the order of files and lines.

    Raises:
        ValueError: a file does not declare claims as it should; the message names the claim.
    """
    folder = files("conf") / "claims"
    tables = {
        f"conf/claims/{file.name}": yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    }
    roles: dict[str, list[str]] = {}
    sections: dict[str, str] = {}
    for file, table in tables.items():
        roles |= table.pop("roles", {})
        sections[file] = table.pop("section", DOCUMENTS)
    claims = [
        read_claim(name, {"section": sections[file], **body}, roles, file)
        for file, table in tables.items()
        for name, body in table.items()
    ]
    return sorted(claims, key=lambda claim: claim.section != DOCUMENTS)


def read_claim(name: str, body: Mapping[str, Any], roles: Roles, file: str) -> Claim:
    """Read one claim.

    Args:
        name: its id.
        body: as YAML has it.
        roles: models by role.
        file: where it stands, for messages.

    Raises:
        ValueError: an unknown field, kind, column, expectation or role, or one that is missing.
    """
    try:
        rest = dict(body)
        common, tests = rest.pop("common", {}), rest.pop("tests", ())
        criteria = tuple(read_test({**common, **test}, roles) for test in tests)
        claim = Claim(name, tests=criteria, runs=tuple(rest.pop("runs")), **rest)
        if claim.undecidable and any(test.decides for test in criteria):
            raise ValueError("it is undecidable, but has tests that decide: add decides: false")
        _check("needs", claim.needs, ("all", "any"))
        return claim
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{file}: {name} is not declared as a claim: {why}") from error


def read_test(body: Mapping[str, Any], roles: Roles) -> Criterion:
    """Read one test of a claim; see `read_claim`."""
    own: dict[str, Any] = {"kind": "ratio", "column": "fid"}
    options: dict[str, Any] = {}
    for key, value in body.items():
        (own if key in OWN else options)[key] = value
    _check("kind", name := own.pop("kind"), KINDS)
    kind, takes = KINDS[name], signature(KINDS[name].measure)
    try:
        takes.bind(None, **options)
    except TypeError as error:
        known = ", ".join((*OWN, *list(takes.parameters)[1:]))
        raise ValueError(f"a test of kind {name} takes {known}: {error}") from error
    for axis in {"cost", "equal"} & options.keys():
        _check_column(axis, options[axis])
    column = own.pop("column")
    numerator, baseline = (
        tuple(_selection(selected, roles, column) for selected in _listed(own.pop(side, [])))
        for side in ("numerator", "baseline")
    )
    sides = (len(numerator), len(baseline))
    if not numerator or (kind.selections and sides != (1, kind.selections - 1)):
        wanted = ("a numerator", "a numerator and no baseline", "a numerator and a baseline")
        raise ValueError(f"a test of kind {name} compares {wanted[kind.selections]}")
    own = {"threshold": kind.threshold, **own}
    test = Criterion(kind=kind, numerator=numerator, baseline=baseline, options=options, **own)
    _check("expect", test.expect, ("above", "below", "differs"))
    _check("equality", test.equality, ("supports", "contradicts", "neither"))
    if test.expect == "differs" and kind.scale != "ratio":
        raise ValueError(f"expect: differs compares ratios with 1, not a test of kind {name}")
    if (test.expect == "differs" or kind.only_default) and test.threshold != kind.threshold:
        raise ValueError(f"this test compares with {kind.threshold:g} only: leave threshold out")
    if test.expect == "differs":  # by more than the margin
        test = replace(test, equality="contradicts")
    _check_margin(test)
    return test


def _check_margin(test: Criterion) -> None:
    """Refuse a margin that means nothing, and a side for an equality that has no margin."""
    least = 1.0 if test.kind.scale == "ratio" else 0.0
    if test.margin is not None and not test.margin > least:
        raise ValueError(f"margin {test.margin} must be above {least:g}")
    if test.half_margin(MARGIN) is None and (test.margin or test.equality != "neither"):
        raise ValueError(
            "equality needs numbers by seed and a threshold of no difference, and differences a "
            "margin: leave out equality and margin, or give both"
        )


def _selection(body: Mapping[str, Any] | str, roles: Roles, column: str) -> Selection:
    """A selection; a role alone stands for its models as they are configured."""
    given = {"role": body} if isinstance(body, str) else body
    rest: dict[str, Any] = {"column": column, **given}
    _check("role", role := rest.pop("role"), roles)
    _check_column("column", rest["column"])
    for name in {"dataset", "overrides"} & rest.keys():
        rest[name] = tuple(map(str, _listed(rest[name])))
    return Selection(models=tuple(roles[role]), **rest)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_column(name: str, value: object) -> None:
    """Refuse what is no measured column, or has the extractor's name or one of before."""
    if value not in list(MEASURED):
        word = FORMER.get(str(value), str(value))
        metrics = (metric for metric in PER_EXTRACTOR if word.startswith(f"{metric}_"))
        remedy = did_you_mean(max(metrics, key=len, default=word), MEASURED)
        remedy = remedy or f"there are {', '.join(MEASURED)}"
        raise ValueError(f"{name} {value!r} is no measured column of eval.csv: {remedy}")


def _check(name: str, value: object, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} {value!r} must be one of {', '.join(allowed)}")
