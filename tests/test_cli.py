"""The command line as a user types it: runs, resumes, skips, fails clearly."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import in_process
import pytest
from terminal import Screen, run_in_terminal

from bench.errors import RunError

ROOT = Path(__file__).resolve().parent.parent
TINY = ["evaluator.samples=100", "evaluator.cost_seconds=0.1", "threads=1"]


def bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=300)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench", *arguments]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "eval.csv").open() as file:
        return list(csv.DictReader(file))


def only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]


def test_a_reader_of_the_help_may_leave_early(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("--help"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=100)
    assert said.decode() == ""
    assert process.returncode == 0


def test_a_run_ends_with_the_command_that_makes_its_table(tmp_path: Path) -> None:
    run = ("model=mlp_gan", "dataset=digits", "budget.images=256", *TINY)
    for _ in range(2):  # made, and skipped
        done = bench(*run, "results_root=my results", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        table = "python -m bench.compare 'my results/runs/digits'"
        assert done.stdout.splitlines()[-1] == f"Table and report: {table}"


def test_help_lists_models_data_and_overrides(tmp_path: Path) -> None:
    done = bench("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in (
        "ddpm_small",
        "dcgan",
        "fashion_mnist",
        "budget.seconds",
        "dataset.path",
        "Examples",
    ):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_both_families_ends_in_a_table(tmp_path: Path) -> None:
    sweep = [
        "-m",
        "model=mlp_gan,ddpm_small,real",
        "seed=0,1",
        "dataset=digits",
        "budget.images=512",
        "budget.checkpoints=2",
        "model.build.samplers=[ddim-2]",
    ]
    # samplers belong to one family only, so that model runs on its own
    gan = [override for override in sweep if "samplers" not in override]
    gan[1] = "model=mlp_gan,real"
    sweep[1] = "model=ddpm_small"
    for arguments in (gan, sweep):
        done = bench(*arguments, *TINY, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "▶ run 1 of " in done.stderr
        assert re.search(
            r"✓ \w+ seed=1 · FID \(domain\) [\d.]+, classifier error 0.71 % · [\d.]+ s \+ [\d.]+ s",
            done.stderr,
        )
        assert "FID" in done.stdout  # the table
        assert "python -m bench.compare results/runs/digits --open" in done.stdout
    runs = tmp_path / "results" / "runs" / "digits"
    assert {path.name for path in runs.iterdir()} == {"mlp_gan", "ddpm_small", "real"}
    run = only(runs, "mlp_gan/*/seed=1")
    assert {row["checkpoint"] for row in rows(run)} == {"1", "2"}
    last = rows(run)[-1]
    assert float(last["fid_domain"]) > 0
    assert last["weights"] == "raw"
    assert last["nfe"] == "1"
    assert float(last["latency_ms"]) > 0
    assert float(last["train_gflops_per_image"]) > 0
    assert last["budget"] == "images=512"
    real = rows(only(runs, "real/*/seed=*"))  # once, however many seeds are asked for
    assert [row["budget"] for row in real] == [""]
    assert float(real[0]["fid_domain"]) < float(last["fid_domain"])
    ddpm = rows(only(runs, "ddpm_small/*/seed=0"))[-1]
    assert (ddpm["weights"], ddpm["sampler"], ddpm["nfe"]) == ("ema", "ddim-2", "2")
    assert list(run.glob("samples/*.png"))

    again = bench(*gan, *TINY, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stderr.count("already finished: skipped") == 3
    assert again.stderr.count("its scores do not depend on the seed") == 1

    compared = subprocess.run(
        [sys.executable, "-m", "bench.compare", "--out", "tables"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert compared.returncode == 0, compared.stderr
    table = (tmp_path / "tables" / "digits.md").read_text()
    for name in ("mlp_gan", "ddpm_small", "real", "FID"):
        assert name in table


def test_a_diverged_run_is_failed_and_the_sweep_goes_on(tmp_path: Path) -> None:
    done = bench(
        "-m",
        "model=mlp_gan",
        "seed=0,1",
        "model.training.optimizers.generator.lr=1e30",
        "budget.images=6400",
        *TINY,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("✗")]
    assert [line[: len("✗ mlp_gan seed=0: the ")] for line in lines] == [
        f"✗ mlp_gan seed={seed}: the " for seed in (0, 1)
    ]
    assert done.stderr.count("loss was not finite at step") == 2
    assert done.stdout.count("failed") == 2  # in the table
    for status in (tmp_path / "results").rglob("status.json"):
        assert '"failed"' in status.read_text()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of `POINTS`, a run with three evaluation points."""
    root = tmp_path_factory.mktemp("finished")
    in_process.bench(*POINTS, f"results_root={root}")
    return root


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_dry_run_says_how_long_a_command_takes_and_leaves_nothing(tmp_path: Path) -> None:
    single = bench("model=mlp_gan", "budget.seconds=3600", *TINY, "--dry-run", cwd=tmp_path)
    assert single.returncode == 0, single.stderr
    assert single.stderr == ""
    assert re.match(r"1 run: about \d+ min in all\n", single.stdout)
    assert "1  3600 s" in single.stdout.replace("60 min", "3600 s")
    sweep = ("-m", "model=mlp_gan,real", "seed=0,1", "budget.images=100000000", *TINY)
    done = bench(*sweep, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, _, *rows = done.stdout.splitlines()
    assert re.match(r"4 runs, 1 that would repeat another one: about \d+ (h|d) ", first)
    assert re.match(r" +2  about .* (h|d|min) .*  mlp_gan$", rows[0])
    assert re.match(r" +1  none .*  real$", rows[1])
    assert len(rows) == 2
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "line", [("model=gpt",), ("budget.images=0",), ("-m", "seed=0,1", "device=abacus")]
)
def test_a_dry_run_of_a_wrong_command_says_what_the_command_says(tmp_path: Path, line) -> None:
    dry, real = bench(*line, "--dry-run", cwd=tmp_path), bench(*line, cwd=tmp_path)
    assert dry.returncode == real.returncode != 0
    said = [text for text in real.stderr.splitlines() if not text.startswith(("▶", "  "))]
    if "-m" in line:
        said = [text.partition(": ")[2] for text in said]
        dry_said = [text.partition(": ")[2] for text in dry.stderr.splitlines()]
        assert dry_said == list(dict.fromkeys(said))  # a reason is said once
        assert "2 runs, 2 that cannot start" in dry.stdout
    else:
        assert said == [t for t in dry.stderr.splitlines() if not t.startswith("  ")]


def test_a_sweep_in_a_terminal_shows_each_run_on_one_line(tmp_path: Path) -> None:
    slow = ("evaluator.samples=100", "evaluator.cost_seconds=4", "threads=1")
    line = command("-m", "model=mlp_gan", "seed=0,1", "budget.seconds=3", *slow)
    seen: list[str] = []

    def watch(screen: Screen, resize: object) -> None:
        bars = [text for text in screen.lines if re.match(r"(run )?[12](/| of )2 ·", text)]
        assert len(bars) <= 1, screen.lines
        seen.extend(bars)

    code, screen = run_in_terminal(line, tmp_path, dict(os.environ), width=80, watch=watch)
    assert code == 0, screen.lines
    assert any(re.search(r"mlp_gan seed=1 · \d+% .*left · sweep ", text) for text in seen)
    assert any("scoring generator" in text and "left" in text for text in seen)
    assert not [text for text in screen.lines if re.match(r"[12]/2|run [12] of 2 ·", text)]
    done = [text for text in screen.lines if text.startswith("✓ mlp_gan seed=")]
    assert len(done) == 2
    assert any(text.startswith(" mlp_gan") for text in screen.lines)  # the table


POINTS = ("model=mlp_gan", "budget.images=192", "budget.checkpoints=3", *TINY)
FOREIGN = {
    "folders": ("models/mine.py", "conf/mine.yaml"),
    "packages": ("models/__init__.py", "conf/__init__.py"),
    "modules": ("models.py", "conf.py"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_models_and_conf_of_the_working_directory_are_left_alone(
    tmp_path: Path, finished: Path, kind: str
) -> None:
    for name in FOREIGN[kind]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('not ours')")
    run = only(finished, "runs/digits/mlp_gan/*/seed=0")
    for module, *arguments in (
        ("bench", *POINTS, f"results_root={finished}"),
        ("bench.compare", str(finished), "--no-report", "--out", "tables"),
        ("bench.export", str(run), "--out", "samples.npz", "--samples", "10"),
    ):
        line = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


def test_a_package_bench_of_the_working_directory_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise RuntimeError('not ours')")
    for module in ("bench", "bench.compare", "bench.export"):
        line = [sys.executable, "-P", "-m", module, "--help"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert f"python -m {module}" in done.stdout


def test_another_package_that_was_imported_as_models_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    (tmp_path / "sitecustomize.py").write_text("import models")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        command("--help"), cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "needs its own package `models`" in done.stderr


def interrupted(
    line: list[str], cwd: Path, number: signal.Signals, ready: Callable[[], bool]
) -> tuple[int, list[str]]:
    """Interrupt a command and all that it started, as a terminal does; its exit code and lines."""
    with (cwd / "said").open("w") as said:
        process = subprocess.Popen(line, cwd=cwd, stderr=said, start_new_session=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not ready():
        time.sleep(0.02)
    os.killpg(process.pid, number)
    try:
        code = process.wait(60)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    lines = (cwd / "said").read_text().splitlines()
    return code, [text for text in lines if not text.startswith(("▶", "  "))]  # what runs say


def steps(root: Path) -> int:
    """Steps of the newest checkpoint of all."""
    return max(int(path.stem.removeprefix("step=")) for path in root.rglob("step=*.pt"))


LONG = ("model=mlp_gan", "budget.images=10000000", "trainer.checkpoint_seconds=0.1", *TINY)
GOES_ON = "the same command resumes from what is saved"


@pytest.mark.parametrize(
    ("more", "number", "said"),
    [
        ((), signal.SIGINT, "interrupted"),
        ((), signal.SIGTERM, "terminated"),
        (("-m", "seed=0,1"), signal.SIGINT, "interrupted"),
        (("-m", "seed=0,1,2", "hydra/launcher=joblib"), signal.SIGINT, "interrupted"),
    ],
    ids=["run", "terminated", "sweep", "joblib"],
)
def test_an_interrupt_ends_everything_in_one_line(
    tmp_path: Path, more: tuple[str, ...], number: signal.Signals, said: str
) -> None:
    if "hydra/launcher=joblib" in more:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

    def ready() -> bool:
        return bool(list(tmp_path.rglob("step=*.pt")))

    code, lines = interrupted(command(*more, *LONG), tmp_path, number, ready)
    assert code == 128 + number
    assert lines == [f"bench: {said}: {GOES_ON}"], "\n".join(lines)
    if "hydra/launcher=joblib" not in more:  # whose processes are killed; the next start cleans up
        assert not list(tmp_path.rglob(".*.partial"))
    if number is signal.SIGTERM:  # what is there can be resumed, and is not begun anew
        before = steps(tmp_path)
        code, lines = interrupted(
            command(*LONG), tmp_path, number, lambda: steps(tmp_path) > before
        )
        assert steps(tmp_path) > before
        assert code == 128 + number
        assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize("module", ["bench", "bench.compare", "bench.export"])
def test_an_interrupt_while_starting_is_one_line_too(tmp_path: Path, module: str) -> None:
    runs = str(ROOT / "results")
    arguments = {"bench": LONG, "bench.compare": (runs,), "bench.export": (runs, "--out", "x")}
    program = (
        "import os, runpy, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('omegaconf', 'hydra', 'pandas', 'yaml', 'numpy'):\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        f"sys.argv = ['x', *{list(arguments[module])!r}]\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith(f"{module}: interrupted: ")
    assert len(done.stderr.splitlines()) == 1


def test_points_that_were_lost_are_made_again_or_refused(
    tmp_path: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    job = (*POINTS, f"results_root={tmp_path}")
    table = only(tmp_path, "runs/digits/mlp_gan/*/seed=0/eval.csv")
    whole = rows(table.parent)
    lines = table.read_text().splitlines(keepends=True)
    assert len(lines) == 4

    table.write_text("".join(lines[:-1]))  # the weights of the last point are there
    assert in_process.bench(*job).status == "finished"
    assert "rows of its eval.csv are missing" in caplog.text
    again = rows(table.parent)
    assert [row["checkpoint"] for row in again] == ["1", "2", "3"]
    assert float(again[-1]["fid_domain"]) == pytest.approx(float(whole[-1]["fid_domain"]), rel=1e-6)

    for content in ("", lines[0], "".join([lines[0], *lines[2:]])):
        table.write_text(content)
        for _ in range(2):  # it is not given up later either
            with pytest.raises(RunError, match=r"lost the rows of checkpoint 1 \(sampler"):
                in_process.bench(*job)
            assert table.read_text() == content


def test_two_processes_train_one_run_under_torchrun(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    job = ["-m", "bench", "model=mlp_gan", "budget.images=640", *TINY]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *job], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    run = only(tmp_path, "results/runs/digits/mlp_gan/*/seed=0")
    assert rows(run)[0]["images"] == "640"
