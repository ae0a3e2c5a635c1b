"""The words of bench.decide, and the grids of its experiments."""

import pytest

from bench.decide.request import PLANNED, Grid, read_command_grids, read_request


def test_own_words_are_not_passed_on() -> None:
    request = read_request(
        ["-m", "experiment=families", "hours=2", "margin=1.2", "seeds=12", "dataset=digits"]
    )
    assert request.arguments == ("experiment=families", "dataset=digits")
    assert (request.hours, request.margin, request.seeds, request.dry) == (2.0, 1.2, 12, False)
    assert request.again(4.5) == (
        "python -m bench.decide -m experiment=families margin=1.2 seeds=12 dataset=digits hours=4.5"
    )


def test_what_is_not_given_has_a_default() -> None:
    request = read_request(["model=a,b", "hours=0.5", "--dry-run"])
    assert (request.margin, request.seeds, request.dry) == (None, 30, True)
    assert request.again(1.0) == "python -m bench.decide model=a,b hours=1"


def test_flags_and_words_of_hydra_are_those_of_all_jobs() -> None:
    request = read_request(
        ["--config-dir", "mine", "model=a,b", "hydra/launcher=joblib", "hours=1"]
    )
    assert request.shared == ("--config-dir", "mine", "hydra/launcher=joblib")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "hours is missing"),
        (["hours=0"], "hours must be a number above 0 and at most 10000, got '0'"),
        (["hours=2h"], "hours must be a number above 0 and at most 10000, got '2h'"),
        (["hours=nan"], "hours must be a number above 0"),
        (
            ["hours=1", "margin=1"],
            "margin must be a number above 1 and at most 10, got '1'",
        ),
        (["hours=1", "seeds=1"], "seeds must be a number at least 2 and at most 200, got '1'"),
        (["hours=1", "seeds=2.5"], "seeds must be a whole number, got 2.5"),
    ],
)
def test_words_out_of_range_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_request(words)


def test_grids_with_seeds_get_those_of_the_blocks() -> None:
    real, families = read_command_grids(["experiment=families", "dataset=digits", "seed=0,1,2"])
    words = ("-m", "dataset=digits", "experiment=families", "model=real")
    assert real == Grid("real", words, False)
    assert (families.name, families.seeded) == ("families", True)
    assert families.words[-1] == f"seed={PLANNED}"
    assert sum(word.startswith("seed=") for word in families.words) == 1
    assert not any(word.startswith("sweep=") for word in families.words)


def test_wanted_grids_alone_are_read() -> None:
    (grid,) = read_command_grids(["experiment=stabilisers", "sweep=networks"])
    assert grid.name == "networks"


def test_without_an_experiment_the_line_is_the_grid() -> None:
    assert read_command_grids(["model=a,b", "seed=3"]) == [
        Grid("", ("-m", "model=a,b", f"seed={PLANNED}"), True)
    ]


def test_words_of_hydra_in_a_grid_are_refused(tmp_path) -> None:
    (tmp_path / "experiment").mkdir()
    grid = "{model: 'dcgan_small,ddpm_small', hydra.launcher.n_jobs: 2}"
    text = f"# @package _global_\nsweep:\n  one: {grid}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    said = "experiment=mine: its grid one sets hydra.launcher.n_jobs, which bench.decide reads from"
    with pytest.raises(ValueError, match=said):
        read_command_grids(["--config-dir", str(tmp_path), "experiment=mine", "dataset=digits"])
