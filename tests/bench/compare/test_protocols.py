"""--allow-mixed splits tables instead of pooling, and --page joins data sets on one page."""

import pandas as pd
import pytest
from synthetic_runs import FLOOR, PROTOCOL, scores

from bench.compare import cli
from bench.compare.protocols import ProtocolError, split_runs
from bench.compare.read import read_runs
from bench.runs.directory import Status
from bench.schema import PROTOCOL as FIELDS


@pytest.fixture
def budgets(make_run, tmp_path):
    """Two budgets of a GAN, one of which has a DDPM as well; the floor; a run without rows."""
    for variant, budget, fid in (("default", "120 s", 5.0), ("aa", "60 s", 7.0)):
        protocol = PROTOCOL | {"budget": budget}
        row = scores(fid) | {"overrides": f"budget={budget}"}
        path = make_run("gan", 0, {"generator": row}, variant=variant, protocol=protocol)
        (path / "samples" / "checkpoint=1_generator.png").write_bytes(budget.encode())
    make_run("ddpm", 0, {"ddim": scores(6.0)}, protocol=PROTOCOL | {"budget": "60 s"}, variant="aa")
    make_run("real", 0, {"real": scores(0.5) | {"nfe": 0}}, protocol=FLOOR)
    make_run("dcgan", 0, {}, status=Status("failed", "out of memory", 3))
    return tmp_path / "runs"


def run_main(runs, out, *options: str) -> int:
    return cli.main([str(runs), "--out", str(out), *options])


def test_every_value_has_its_own_table_and_best(budgets, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_main(budgets, out, "--allow-mixed", "budget") == 0
    text = (out / "digits.md").read_text()
    assert text.index("## training budget: 60 s") < text.index("## training budget: 120 s")
    _, short, long = text.split("## training budget: ")
    assert [name in short for name in ("| gan", "| ddpm", "| real", "| dcgan")] == [True] * 4
    assert [name in long for name in ("| gan", "| ddpm", "| real", "| dcgan")] == [
        True,
        False,
        True,
        True,
    ]
    assert "**6 ± –**" in short
    assert "### Quality" in long
    printed = capsys.readouterr().out
    assert "digits, training budget: 60 s" in printed
    assert "digits, training budget: 120 s" in printed


def test_the_csv_keeps_every_row_once(budgets, tmp_path):
    out = tmp_path / "out"
    assert run_main(budgets, out, "--allow-mixed", "budget") == 0
    frame = pd.read_csv(out / "digits.csv", keep_default_na=False)
    found = sorted(zip(frame["model"], frame["budget"], strict=True))
    assert found == [
        ("dcgan", ""),
        ("ddpm", "60 s"),
        ("gan", "120 s"),
        ("gan", "60 s"),
        ("real", ""),
    ]


def test_pictures_of_split_tables_do_not_overwrite_each_other(budgets, tmp_path):
    out = tmp_path / "out"
    assert run_main(budgets, out, "--allow-mixed", "budget") == 0
    pictures = {file.name: file.read_text() for file in (out / "digits").glob("*.png")}
    assert pictures == {
        "gan_generator_default_seed=0.png": "120 s",
        "gan_generator_aa_seed=0.png": "60 s",
    }


def test_a_field_that_does_not_differ_splits_nothing(study):
    ((values, group),) = split_runs(read_runs([study]), ("budget", "device"))
    assert values == {}
    assert len(group) == len(read_runs([study]))


def test_an_unknown_field_is_refused_with_those_there_are(budgets, tmp_path, capsys):
    assert run_main(budgets, tmp_path / "out", "--allow-mixed", "budgets") == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in ("--allow-mixed budgets", *FIELDS):
        assert word in message


def test_two_fields_differ_and_one_is_allowed(make_run, tmp_path, capsys):
    make_run("gan", 0, {"generator": scores(5.0)})
    other = PROTOCOL | {"budget": "60 s", "precision": "bf16"}
    make_run("gan", 0, {"generator": scores(6.0)}, variant="aa", protocol=other)
    assert run_main(tmp_path / "runs", tmp_path / "out", "--allow-mixed", "budget") == 2
    message = capsys.readouterr().err
    assert "differ in precision" in message
    assert "--allow-mixed precision" in message
    both = ("--allow-mixed", "budget", "--allow-mixed", "precision")
    assert run_main(tmp_path / "runs", tmp_path / "out", *both) == 0
    text = (tmp_path / "out" / "digits.md").read_text()
    assert "## training budget: 60 s, precision: bf16" in text


def test_one_page_for_all_data_sets(make_run, tmp_path):
    for dataset in ("ring8", "grid25"):
        path = make_run("gan", 0, {"generator": scores(5.0)}, dataset=dataset)
        (path / "samples" / "checkpoint=1_generator.png").write_bytes(dataset.encode())
    out = tmp_path / "out"
    assert run_main(tmp_path / "runs", out, "--page", "modes") == 0
    names = ["modes", "modes.csv", "modes.md", "modes.tex", "report"]
    assert sorted(file.name for file in out.iterdir()) == names
    text = (out / "modes.md").read_text()
    assert "# modes\n" in text
    assert text.index("## grid25") < text.index("## ring8") < text.index("## Made by")
    assert "](modes/ring8_gan_generator.png)" in text
    assert (out / "modes" / "grid25_gan_generator.png").read_text() == "grid25"
    assert list(pd.read_csv(out / "modes.csv")["dataset"]) == ["grid25", "ring8"]


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "modes.md", "/tmp/x"])
def test_the_page_has_a_plain_name(budgets, tmp_path, capsys, name):
    assert run_main(budgets, tmp_path / "out", "--allow-mixed", "budget", "--page", name) == 2
    assert "must be a file name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_run_far_up_is_refused_in_a_sentence_too(make_run, tmp_path, monkeypatch):
    """The sentence names runs whatever the depth of their paths."""
    for name, budget in (("a", "1 s"), ("b", "2 s")):
        path = make_run(name, 0, {"g": scores(1.0)}, protocol=PROTOCOL | {"budget": budget})
        path.rename(tmp_path / name)
    (tmp_path / "runs").rename(tmp_path / "rest")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProtocolError, match="'1 s' in a, '2 s' in b"):
        split_runs(read_runs([tmp_path.relative_to(tmp_path)]))


def test_a_sweep_over_budgets_ends_with_a_table_for_each(budgets, capsys):
    cli.show_runs([run.path for run in read_runs([budgets])])
    printed = capsys.readouterr().out
    assert "digits, training budget: 60 s" in printed
    assert "digits, training budget: 120 s" in printed
    folder = budgets / "digits"
    assert f"python -m bench.compare {folder} --allow-mixed budget --open" in printed
