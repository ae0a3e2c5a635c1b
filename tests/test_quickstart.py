"""scripts/quickstart: what it runs, and that its output is one table, a headline and paths."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module

from bench.compare.topics.headline import families

ROOT = Path(__file__).parents[1]
SCRIPT = (ROOT / "scripts" / "quickstart").read_text(encoding="utf-8")


def sweep() -> dict[str, list[str]]:
    """Values of every override of the sweep that the script starts."""
    (command,) = re.findall(r"-m bench --multirun(.*?)>/dev/null", SCRIPT, re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    return {key: value.split(",") for key, _, value in (word.partition("=") for word in words)}


def test_it_compares_both_families_on_images_that_need_no_download():
    settings = sweep()
    assert {families().get(model) for model in settings["model"]} == {
        *("GAN", "diffusion model"),
        None,  # the real-data baseline
    }
    assert settings["dataset"] == ["mnist_5k"]
    assert f'"$root/runs/{settings["dataset"][0]}"' in SCRIPT


def test_its_training_leaves_a_third_of_three_minutes_to_everything_else():
    settings = sweep()
    with initialize_config_module("conf", version_base="1.3"):
        (experiment,) = settings["experiment"]
        cfg = compose("config", [f"experiment={experiment}", "dataset=mnist_5k"])
    trained = [model for model in settings["model"] if model in families()]
    seconds = cfg.budget.seconds * len(trained) * len(settings["seed"]) / 2  # two at a time
    assert 60 <= seconds <= 120
    assert cfg.threads == 1


@pytest.mark.slow
def test_it_ends_with_one_table_a_headline_and_paths_and_resumes(tmp_path):
    for folder in ("bench", "conf", "models", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")  # a link: nothing is installed
    quick = yaml.safe_load((tmp_path / "conf" / "experiment" / "quickstart.yaml").read_text())
    quick |= {"budget": {"images": 640}, "evaluator": {"cost_seconds": 0.1, "samples": 300}}
    text = "# @package _global_\n" + yaml.safe_dump(quick)
    (tmp_path / "conf" / "experiment" / "quickstart.yaml").write_text(text)
    command = [str(tmp_path / "scripts" / "quickstart")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "This takes under three minutes" in done.stderr
    assert "6 runs" in done.stderr  # one of them repeats the real-data baseline
    assert done.stdout.count("v_diffusion_small ") >= 1
    assert len(re.findall("^ ─+ ?$", done.stdout, re.MULTILINE)) == 1  # one table
    assert "On mnist_5k, after 640 images of training, " in done.stdout
    assert "not measured" not in done.stdout
    paths = re.findall(r"^  → (.*)$", done.stdout, re.MULTILINE)
    assert [path for path in paths if not (tmp_path / path).is_file()] == []
    pictures = [path for path in paths if path.endswith(".png")]
    assert len(pictures) == 3
    assert done.stdout.rstrip().endswith(pictures[-1])
    again = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert "ended already" in again.stderr
