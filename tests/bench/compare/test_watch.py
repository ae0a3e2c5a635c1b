"""`bench.compare --watch`: what is written when, what ends it, and what it survives."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from synthetic_runs import costs, scores, write_run

from bench.compare import outputs, watch
from bench.compare.cli import gather, main
from bench.compare.watch import Watch, Watcher
from bench.runs.directory import RunDirectory, Status
from bench.runtime import atomic_files

HEADER = "step,images,train_seconds,key,value\n"


def finished(folder: Path, seed: int = 0) -> None:
    write_run(folder, "dcgan_small", seed, {"generator": scores(10.0 + seed) | costs(1, 0.5)})


def running(folder: Path, seed: int = 0) -> Path:
    status = Status("running", step=3, command="python -m bench model=mlp_gan")
    row = {"generator": scores(77.0)}
    path = write_run(folder, "mlp_gan", seed, row, status=status, checkpoints=4)
    (path / "train.csv").write_text(HEADER + "3,192,2.5,generator/loss,2.5\n")
    return path


@pytest.fixture
def made(tmp_path, monkeypatch) -> Watcher:
    """What watches tmp_path/runs, and writes to tmp_path/out."""
    paths = [tmp_path / "runs"]
    monkeypatch.setattr(watch.os, "nice", lambda _: 0)
    watched = Watch(
        paths, tmp_path / "out", "python", 60, lambda: gather(paths, mixed=(), name=None)
    )
    return Watcher(watched)


def page(made: Watcher) -> str:
    text = made.file.read_text(encoding="utf-8")
    assert text.endswith("</html>")
    return text


def results(text: str) -> str:
    """The page without its part on what is in progress."""
    before, _, rest = text.partition('<section id="in-progress">')
    return before + rest.partition("</section>")[2]


def test_before_there_is_a_run_there_is_a_page(made):
    assert made.update()
    assert "<strong>no run yet.</strong>" in page(made)
    assert "No run has a result yet" in page(made)
    assert not made.update()  # nothing has changed
    assert sorted(path.name for path in made.file.parents[1].rglob("*")) == ["index.html", "report"]


def test_a_run_that_goes_on_is_shown_and_in_no_table(made, tmp_path):
    running(tmp_path)
    assert made.update()
    text = page(made)
    assert "<strong>1 running.</strong>" in text
    assert '"name":"generator/loss"' in text
    assert '<section id="protocol">' not in text
    finished(tmp_path)
    assert made.update()
    text = page(made)
    assert "<strong>1 running, 1 finished.</strong>" in text
    assert "mlp_gan" in text.partition('<section id="in-progress">')[2].partition("</section>")[0]
    tables = (made.file.parents[1] / "digits.csv").read_text()
    assert "dcgan_small" in tables
    assert "77" not in tables
    assert "unfinished" in results(text)


def test_only_what_changed_is_made_anew(made, tmp_path, monkeypatch):
    path = running(tmp_path)
    finished(tmp_path)
    made.update()
    monkeypatch.setattr(watch, "build", lambda *_, **__: pytest.fail("nothing has ended"))
    assert not made.update()
    with (path / "train.csv").open("a") as file:
        file.write("4,256,3.5,generator/loss,3.5\n")
    assert made.update()
    assert "3.5" in page(made)


def test_the_last_page_is_that_of_a_report_that_is_not_watched(made, tmp_path):
    path = running(tmp_path)
    finished(tmp_path)
    made.update()
    with RunDirectory(path) as records:
        records.write_status(Status("failed", "the loss was not finite", step=4))
    made.update()
    watched = results(page(made))
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    final = page(made)
    assert "in-progress" not in final
    assert "sessionStorage" not in final
    body = re.compile(r"<main.*</main>", re.DOTALL)
    (left,), (right,) = body.findall(watched), body.findall(final)
    command = re.compile(r"^python.*$", re.MULTILINE)  # the pages name the commands that made them
    assert command.sub("", left).split() == command.sub("", right).split()


def test_runs_that_cannot_share_a_table_are_said_on_the_page(made, tmp_path):
    finished(tmp_path)
    made.update()
    protocol = {"budget": "999 s"}
    write_run(tmp_path, "ddpm_small", 0, {"ddim-50": scores(3.0)}, protocol=protocol)
    assert made.update()
    assert "could not be brought up to date" in page(made)
    assert "split the tables with --allow-mixed budget" in page(made)
    assert "dcgan_small" in results(page(made))  # the earlier tables
    assert not made.update()
    shutil.rmtree(tmp_path / "runs" / "digits" / "ddpm_small")
    assert made.update()
    assert "could not be brought up to date" not in page(made)


def test_runs_that_vanish_while_they_are_compared_are_tried_again(made, tmp_path, monkeypatch):
    finished(tmp_path, 0)
    finished(tmp_path, 1)

    def vanishing(*arguments, **options):
        shutil.rmtree(tmp_path / "runs" / "digits" / "dcgan_small" / "default" / "seed=1")
        raise FileNotFoundError(2, "No such file or directory", "eval.csv")

    with monkeypatch.context() as patched:
        patched.setattr(watch, "build", vanishing)
        assert made.update()
    assert made.update()
    assert "<strong>1 finished.</strong>" in page(made)
    assert "could not be brought" not in page(made)


def test_all_runs_may_be_removed(made, tmp_path):
    finished(tmp_path)
    made.update()
    shutil.rmtree(tmp_path / "runs")
    assert made.update()
    assert "<strong>no run yet.</strong>" in page(made)


def test_it_ends_by_itself_when_all_has_been_quiet(made, tmp_path, monkeypatch, capsys):
    path, slept = running(tmp_path), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            with RunDirectory(path) as records:
                records.write_status(Status("finished"))
        assert len(slept) < 50

    clock = iter(range(10_000))
    monkeypatch.setattr(watch.time, "sleep", sleep)
    monkeypatch.setattr(watch.time, "monotonic", lambda: float(next(clock)))
    watch.watch(made._watched, quiet=20)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"watching {tmp_path}/runs every 60 s → {tmp_path}/out/report/")
    assert [line.partition(" ")[2] for line in shown[1:-1]] == ["1 running", "1 finished"]
    assert shown[-1] == "no run is going on and nothing has changed for 0.333 min: the end"
    assert slept[:3] == [60, 59, 59]  # less the second that making the page took


def test_a_disk_that_is_full_for_a_while_does_not_end_it(made, tmp_path, monkeypatch, capsys):
    path, slept = running(tmp_path), []

    def full(*_):
        raise OSError(28, "No space left on device")

    def sleep(_: float) -> None:
        slept.append(1)
        with (path / "train.csv").open("a") as file:
            file.write(f"4,256,3.5,generator/loss,{len(slept)}\n")
        monkeypatch.setattr(outputs, "write_atomically", full if len(slept) in (2, 3) else real)
        if len(slept) == 6:
            raise KeyboardInterrupt

    real = atomic_files.write_atomically
    monkeypatch.setattr(watch.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        watch.watch(made._watched)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert '"y":[2.5,1.0,2.0,3.0,4.0,5.0]' in page(made)


KILLED = """
import os, signal, sys
from bench.compare import cli
from bench.runtime import atomic_files

def killed(source, target):
    if str(target).endswith("index.html") and target.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

replace = atomic_files.os.replace
atomic_files.os.replace = killed
sys.exit(cli.main(sys.argv[1:]))
"""
"""The command, killed when its second page is written but has not replaced the first one."""


def test_killed_while_it_writes_it_leaves_a_whole_page_and_the_next_one_tidies_up(made, tmp_path):
    running(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    process = subprocess.Popen([*command, "--watch", "5"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("watching ")
    finished(tmp_path)
    assert process.wait(timeout=120) == -signal.SIGKILL
    assert "<strong>1 running.</strong>" in page(made)
    assert len(list(made.file.parent.iterdir())) == 2
    Watcher(made._watched)
    assert [path.name for path in made.file.parent.iterdir()] == ["index.html"]


SWEEP = (
    "-m", "model=mlp_gan", "dataset=digits", "seed=0,1", "budget.seconds=600", "threads=1",
    "trainer.checkpoint_seconds=0.5", "trainer.log_every=1", "device=cpu",
)  # fmt: skip


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen]:
    """A module that runs as a process, until the end of the block at the latest."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=pipe, stderr=pipe, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_sweep_is_seen_from_before_its_first_run_until_it_is_interrupted(tmp_path):
    runs, file = tmp_path / "results" / "runs", tmp_path / "results/comparison/report/index.html"

    def shows(pattern: str) -> bool:
        text = file.read_text(encoding="utf-8")
        assert text.endswith("</html>")
        return re.search(pattern, text) is not None

    places = (f"results_root={tmp_path}/results", f"cache_root={tmp_path}/cache")
    with started("bench.compare", str(runs), "--watch", "5") as watching:
        wait_for(file.exists)
        assert shows("<strong>no run yet.</strong>")
        with started("bench", *SWEEP, *places) as sweep:
            wait_for(lambda: shows("<strong>1 running.</strong>"))
            wait_for(lambda: shows('"name":"generator/loss"'))
            sweep.send_signal(signal.SIGINT)
            sweep.communicate(timeout=60)
        assert watching.stdout is not None
        wait_for(lambda: " 1 stopped" in watching.stdout.readline())
        assert shows("<strong>1 stopped.</strong>")
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert err == "bench.compare: interrupted: give the same command again\n"
    assert out == ""  # no tables
