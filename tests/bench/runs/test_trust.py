"""Packages that the user of a command trusts: which can be, and what a run may then call."""

import re
from pathlib import Path

import pytest

from bench.runs.constructors import check_targets
from bench.runs.trust import trusted, trusting, why_not

FILE = Path("config.yaml")
SOURCE = """
import os
from os import mkdir
from functools import partial
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from elsewhere import Unknown


class Net:
    def __init__(self, width: int, kind: Literal["a", "b"] = "a", other: "Net" = None, many=()):
        pass

    def remove(self):
        pass

    @classmethod
    def load(cls, path: str):
        pass


class Unresolved:
    def __init__(self, width: int, unknown: "Unknown"):
        pass


def load(name: str, **options: object):
    pass


def load_nothing(name: str):
    pass


made = partial(Net, 3)
"""


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    """The name of a package in a folder on the path."""
    name = f"own_{re.sub(r'[^a-z0-9]', '_', tmp_path.name.lower())}"
    folder = tmp_path / "code" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .net import Net\n")
    (folder / "net.py").write_text(SOURCE)
    (folder / "broken.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    return name


def check(build: object, *packages: str, option: str = "--trust {}", **more: object) -> None:
    with trusting(packages, option):
        check_targets({"model": {"build": build}, **more}, FILE)


def test_a_trusted_package_is_called_and_an_untrusted_one_is_not(package):
    for target in (f"{package}.net.Net", f"{package}.Net"):
        build = {"_target_": target, "_partial_": True, "width": 3}
        check(build, package)
        for option, said in (("--trust {}", f"--trust {package}"), ("trust=[{}]", f"[{package}]")):
            words = f"not list: do not use this run or, if you trust that code, add .*{said}$"
            with pytest.raises(ValueError, match=words.replace("[", r"\[").replace("]", r"\]")):
                check(build, option=option)
    assert not trusted(package)


def test_trust_in_one_package_is_no_trust_in_another(package):
    nested = {"_target_": f"{package}.Net", "width": 3, "many": [{"_target_": "os.mkdir"}]}
    with pytest.raises(ValueError, match=r"model\.build\.many\[0\] calls 'os\.mkdir', which conf"):
        check(nested, package)


@pytest.mark.parametrize(
    "name", ["net.os.mkdir", "net.mkdir", "net.Net.remove", "net.Net.load", "net.made", "net.SOME"]
)
def test_what_is_no_class_or_function_of_the_package_is_not_called(package, name):
    with pytest.raises(ValueError, match=r"is no class or function of|Python cannot import"):
        check({"_target_": f"{package}.{name}"}, package)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"width": "3"}, r"build\.width='3' is no value that \S+\.Net takes"),
        ({"width": 3, "kind": "c"}, r"build\.kind='c' is no value"),
        ({"width": 3, "speed": 1}, r"build\.speed is no argument of"),
        ({"width": 3, "_args_": [1]}, r"build\._args_ is no argument of"),
    ],
)
def test_arguments_are_checked_as_far_as_there_are_types(package, arguments, said):
    with pytest.raises(ValueError, match=said):
        check({"_target_": f"{package}.Net"} | arguments, package)


def test_types_that_are_not_known_here_take_any_value(package):
    check({"_target_": f"{package}.Net", "width": 3, "other": "x", "many": {"a": 1}}, package)
    check({"_target_": f"{package}.net.Unresolved", "width": 3, "unknown": "x"}, package)


def test_a_loader_of_data_takes_the_folders_of_this_machine(package):
    build = {"_target_": "models.stored.RealData", "_partial_": True}
    load = {"_target_": f"{package}.net.load", "_partial_": True, "name": "x", "more": 1}
    check(build, package, dataset={"load": load})
    load = {"_target_": f"{package}.net.load_nothing", "_partial_": True, "name": "x"}
    with pytest.raises(ValueError, match="which loads no data set"):
        check(build, package, dataset={"load": load})


def test_what_cannot_be_imported_is_said_with_the_reason(package):
    for target, why in (("broken.Net", "no_such_package"), ("absent.Net", "absent")):
        with pytest.raises(ValueError, match=f"which Python cannot import .*{why}"):
            check({"_target_": f"{package}.{target}"}, package)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os", "a module of Python itself"),
        ("builtins", "a module of Python itself"),
        ("torch", "an installed package"),
        ("numpy", "an installed package"),
        ("pip", "an installed package"),
        ("pytest", "an installed package"),
        ("bench", "a package of this project"),
        ("models", "a package of this project"),
        ("conf", "a package of this project"),
        ("torch.hub", "one top-level package"),
        ("__main__", "one top-level package"),
        ("", "one top-level package"),
        ("no_such_package", "Python finds no such package"),
    ],
)
def test_only_a_package_of_the_users_own_can_be_trusted(name, reason):
    with pytest.raises(ValueError, match=f"--trust {re.escape(name)}: .*{reason}"):
        check({"_target_": "models.stored.RealData"}, name)


def test_a_package_among_installed_ones_is_not_the_users_own(tmp_path, package):
    assert why_not(package) == ""
    (tmp_path / "code" / "other-1.0.dist-info").mkdir()
    assert "is an installed package" in why_not(package)


def test_folders_without_init_and_single_modules_can_be_trusted(tmp_path, monkeypatch):
    (tmp_path / "plain_folder_of_mine").mkdir()
    (tmp_path / "plain_module_of_mine.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert why_not("plain_folder_of_mine") == why_not("plain_module_of_mine") == ""


def test_a_run_cannot_trust_a_package_itself(package):
    with pytest.raises(ValueError, match=r"does not list"):
        check({"_target_": f"{package}.Net", "width": 3}, trust=[package])


def fail_while_trusting(package: str) -> None:
    with trusting([package], "--trust {}"):
        assert trusted(package)
        raise KeyError


def test_trust_ends_with_its_command(package):
    with pytest.raises(KeyError):
        fail_while_trusting(package)
    assert not trusted(package)
