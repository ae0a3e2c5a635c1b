"""What a claim is: its words, its source, and the tests that decide it, as conf/claims has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import yaml

Expectation = Literal["above", "below", "differs"]

KINDS = (
    "contrast",
    "holds",
    "rise",
    "reach",
    "later",
    "settings_spread",
    "settings_share",
    "seed_spread",
    "failures",
    "front",
)
"""What a test measures; see `bench.compare.claims.measurements`."""

ROLES = "roles"
"""The entry of conf/claims that names the models which stand for a role."""


@dataclass(frozen=True)
class Selection:
    """Which rows of eval.csv one side of a test takes, and which value of them.

    Attributes:
        models: one name for each position of the role; a test compares names of the same position.
        dataset: the data set; None for every data set that has the rows.
        sampler: name of the sampler; None for the first that the run lists.
        overrides: overrides of the model that the run was made with, and no others, separated by
            spaces: one text for each position, the last one for all that follow.
        column: of eval.csv, without the extractor's name.
        curve: of curves.csv, in place of a column.
        at: where along the curve.
    """

    models: tuple[str, ...]
    dataset: str | None = None
    sampler: str | None = None
    overrides: tuple[str, ...] = ("",)
    column: str = "fid"
    curve: str | None = None
    at: float = 0.0

    def overrides_at(self, position: int) -> list[str]:
        """The overrides of the model at a position."""
        return self.overrides[min(position, len(self.overrides) - 1)].split()


@dataclass(frozen=True)
class Criterion:
    """One comparison that speaks for a claim or against it.

    Attributes:
        says: what it compares, in words.
        kind: one of `KINDS`.
        of: what is compared; values of several selections are multiplied, or added.
        to: with what; empty for a comparison with a number.
        scale: whether values are compared by ratio ("log") or by difference ("linear"), which
            values that may be zero need.
        times: "linear": what `to` is multiplied by before it is taken off, such as 0.8 of a floor.
        expect: on which side of `than` the claim puts them; "differs": on either.
        than: the ratio or difference that separates support from contradiction.
        margin: for "differs": a ratio within [1 / margin, margin] is none that matters.
        decides: whether the verdict rests on it; what holds by construction is shown beside.
        refutes: whether a finding on the other side of `than` speaks against the claim, or only
            not for it.
        everywhere: whether it must hold on every data set, not only on some and against it on none.
        cost: for "front" and "reach": the column of the cost.
        equal: for "contrast": what both sides shall have consumed equally, such as "images";
            empty for the ends of the runs.
        settings: for the kinds of settings: keys of overrides, one varied at a time.
    """

    says: str
    of: tuple[Selection, ...]
    to: tuple[Selection, ...] = ()
    kind: str = "contrast"
    scale: Literal["log", "linear"] = "log"
    times: float = 1.0
    expect: Expectation = "above"
    than: float = 1.0
    margin: float = 1.1
    decides: bool = True
    refutes: bool = True
    everywhere: bool = False
    cost: str = ""
    equal: str = ""
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One sentence of the source documents, made measurable.

    Attributes:
        name: its id, such as "gan-diversity".
        source: the document that says it.
        statement: what it says.
        tests: what decides it; none if only a person can.
        runs: grids of the experiments claims_* that make the rows it needs.
        needs: whether "all" tests must speak for it (it says several things), or "any" and none
            against it (they are views of one thing).
        note: what a reader should know beside the numbers.
    """

    name: str
    source: str
    statement: str
    tests: tuple[Criterion, ...]
    runs: tuple[str, ...]
    needs: Literal["all", "any"] = "any"
    note: str = ""

    @property
    def command(self) -> str:
        """The command line that makes its runs."""
        return f"python -m bench -m experiment=claims_small sweep={','.join(self.runs)}"


def read_claims() -> list[Claim]:
    """The claims of conf/claims, in the order of files and lines.

    Raises:
        ValueError: a file does not declare claims as it should; the message names the claim.
    """
    folder = files("conf") / "claims"
    tables = [
        yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    ]
    roles = {role: names for table in tables for role, names in table.pop(ROLES, {}).items()}
    return [read_claim(name, body, roles) for table in tables for name, body in table.items()]


def read_claim(name: str, body: Mapping[str, Any], roles: Mapping[str, list[str]]) -> Claim:
    """Read one claim.

    Args:
        name: its id.
        body: as YAML has it.
        roles: models by role.

    Raises:
        ValueError: a key, kind, scale, expectation or role that there is not.
    """
    try:
        tests = tuple(_test(test, roles) for test in body.get("tests", ()))
        rest: dict[str, Any] = {k: v for k, v in body.items() if k not in ("tests", "runs")}
        claim = Claim(name, tests=tests, runs=tuple(body["runs"]), **rest)
        _check_value(claim.needs, ("all", "any"))
        return claim
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"conf/claims: {name} is not declared as a claim: {error}") from error


def _test(body: Mapping[str, Any], roles: Mapping[str, list[str]]) -> Criterion:
    of, to = (
        tuple(_selection(selected, roles) for selected in _listed(body.get(side, [])))
        for side in ("of", "to")
    )
    difference = body.get("scale", "log") == "linear" or body.get("kind") == "failures"
    rest: dict[str, Any] = {"than": 0.0 if difference else 1.0}
    rest |= {key: value for key, value in body.items() if key not in ("of", "to")}
    if "settings" in rest:
        rest["settings"] = tuple(rest["settings"])
    test = Criterion(of=of, to=to, **rest)
    _check_value(test.kind, KINDS)
    _check_value(test.scale, ("log", "linear"))
    _check_value(test.expect, ("above", "below", "differs"))
    if test.expect == "differs" and (test.scale, test.than) != ("log", 1.0):
        raise ValueError("'differs' compares ratios with 1: it takes neither scale nor than")
    if test.kind == "reach" and test.than != 1.0:
        raise ValueError("reach compares with 1, since bounds know their side only: leave than out")
    if test.times != 1.0 and test.scale != "linear":
        raise ValueError("times needs scale: linear")
    if test.kind == "failures" and test.to and test.than:
        raise ValueError("shares of failures of two sides are compared with each other, not than")
    return test


def _check_value(value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{value!r} must be one of {', '.join(allowed)}")


def _selection(body: Mapping[str, Any], roles: Mapping[str, list[str]]) -> Selection:
    role = body["role"]
    if role not in roles:
        raise ValueError(f"role {role!r} must be one of {', '.join(roles)}")
    rest: dict[str, Any] = {key: value for key, value in body.items() if key != "role"}
    if "overrides" in rest:
        rest["overrides"] = tuple(map(str, _listed(rest["overrides"])))
    return Selection(models=tuple(roles[role]), **rest)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
