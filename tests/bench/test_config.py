"""Names of data sets and models: one rule for runs, the cache and the comparison."""

import pytest

from bench.config import MAX_NAME, check_names, is_name, variant, varied

BAD = [
    "", ".", "..", ".hidden", "../../x", "a/b", "/a", "a\\b", "a\nb", "a\tb", "a\x1b[31m", "a\x7f",
    "a\u2028b", "a\u0085b", "\ud800", "a" * (MAX_NAME + 1), "é" * MAX_NAME,
]  # fmt: skip
GOOD = ["digits", "my images", "a.b", "-x", "ddim-20-eta0.5", "Ärzte", "$x_1", "=x", "a" * MAX_NAME]


@pytest.mark.parametrize("name", GOOD)
def test_names_that_can_be_folders_are_accepted(tmp_path, name):
    assert is_name(name)
    (tmp_path / name).mkdir()
    check_names({"dataset": {"name": name, "load": {"name": name}}, "model": {"name": name}})


@pytest.mark.parametrize("name", BAD, ids=ascii)
@pytest.mark.parametrize("key", ["dataset.name", "dataset.load.name", "model.name"])
def test_other_names_are_refused_by_setting_and_value(name, key):
    assert not is_name(name)
    config = {"dataset": {"name": "a", "load": {"name": "a"}}, "model": {"name": "a"}}
    *above, last = key.split(".")
    section = config
    for part in above:
        section = section[part]
    section[last] = name
    with pytest.raises(ValueError, match=rf"^{key} must be 1 to 100 printable") as error:
        check_names(config)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("value", [None, 2024, 1.5, True, ["a"]])
def test_what_is_no_text_is_no_name(value):
    assert not is_name(value)
    with pytest.raises(ValueError, match=r"^dataset\.name must be text, got .*: quote it"):
        check_names({"dataset": {"name": value}, "model": {"name": "a"}})


def test_what_a_command_trusts_is_no_part_of_a_variant():
    assert variant(["trust=[my_models]", "+trust=x", "seed=3"]) == "default"
    assert varied(["trust=[my_models]", "budget.images=64"]) == ("budget.images=64",)
