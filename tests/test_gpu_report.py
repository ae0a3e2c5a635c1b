"""scripts/gpu_report without a GPU: its page, its time limits, what it installs and refuses."""

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from scripts.gpu import page, report
from scripts.gpu.report import Part, environment_of, read_rows, run_part

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gpu.md"

ROWS = [
    {"fact": "GPU", "value": "Some GPU"},
    {"part": "machine", "rate": "matrix product, bf16", "value": 700.123, "unit": "TFLOP/s"},
    {"goal": "step: times as fast as diffusers", "value": 1.42, "at_least": 1.3},
    {"goal": "step: share", "value": 0.31, "at_least": 0.5},
    {"step": "machine", "seconds": 4.2, "outcome": "finished", "said": ""},
    {"step": "training", "seconds": 90.0, "outcome": "exit code 1", "said": "Boom: it | broke"},
    {"test": "tests/gpu/test_a.py::test_x[m-cuda]", "outcome": "passed", "said": ""},
    {"test": "tests/gpu/test_a.py::test_x[n-cuda]", "outcome": "failed", "said": "off by one"},
    {"table": "step", "name": "ours", "median_ms": 2.0, "least_ms": 1.9, "most_ms": 2.5}
    | {"ratio": 1.4, "beside": "diffusers"},
    {"share": "ours", "table": "step", "value": 0.31, "images_per_second": 4000.0},
    {"table": "step", "name": "compiled", "failed": "RuntimeError: no compiler"},
]


def test_the_page_names_machine_goals_parts_tests_and_medians():
    text = page.render(ROWS)
    for line in (
        "| GPU | Some GPU |",
        "| rate: matrix product, bf16 | 700.1 TFLOP/s |",
        "| step: times as fast as diffusers | 1.3 | 1.42 | met |",
        "| step: share | 0.5 | 0.31 | **not met** |",
        "| training | 90 | exit code 1 | Boom: it \\| broke |",
        "| `test_a.py::test_x` | 1 | 1 | 0 |",
        "| `test_a.py::test_x[n-cuda]` | failed | off by one |",
        "| ours | 2.00 | 1.90 to 2.50 | 1.40 × diffusers | 4000 | 31% of the rate of products |",
        "| compiled | failed |  |  |  | RuntimeError: no compiler |",
    ):
        assert line in text.splitlines()


def test_a_page_of_nothing_says_so():
    text = page.render([])
    for sentence in ("No goal was measured.", "No test was run to its end.", "No benchmark"):
        assert sentence in text


def test_the_committed_page_is_a_report_or_says_that_it_was_never_run():
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(page.INTRODUCTION.rstrip())
    assert text == page.never_run() or "\n## Machine\n\n| " in text


def test_without_cuda_it_says_so_in_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(report, "device_found", lambda python: False)
    out = tmp_path / "page.md"
    assert report.main(["--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "needs a CUDA device" in said
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_machine_without_cuda_is_seen():
    assert not report.device_found(sys.executable)


def test_a_part_that_hangs_is_stopped_with_what_it_started(tmp_path):
    file = tmp_path / "alive"
    child = (
        f"import time, pathlib\nwhile True: pathlib.Path({str(file)!r}).touch(); time.sleep(.05)"
    )
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); "
    code += "time.sleep(60)"
    start = time.monotonic()
    row = run_part(Part("hangs", ("-c", code), 1), sys.executable, 3.0, environment_of())
    assert time.monotonic() - start < 30
    assert row["outcome"] == "stopped at its limit of 3 s"
    time.sleep(0.5)
    file.unlink(missing_ok=True)
    time.sleep(0.5)
    assert not file.exists()


def test_a_part_that_fails_is_on_the_page_and_the_others_go_on(tmp_path, monkeypatch):
    code = "import json, sys; open(sys.argv[1], 'a').write(json.dumps(dict(fact='a', value='b')))"

    def parts_of(device, rows, *, small, parallel):
        fails = Part("fails", ("-c", "raise SystemExit('no luck')"), 5)
        return [fails, Part("works", ("-c", code, str(rows)), 5)]

    monkeypatch.setattr(report, "parts_of", parts_of)
    out = tmp_path / "page.md"
    assert report.main(["--device", "cpu", "--minutes", "1", "--out", str(out)]) == 0
    text = out.read_text()
    assert "| exit code 1 | no luck |" in text
    assert "| works | " in text
    assert "| a | b |" in text


def test_limits_leave_time_for_later_parts(tmp_path, monkeypatch):
    limits = []

    def run(part, python, limit, environment):
        limits.append((part.name, limit))
        return {"step": part.name, "seconds": 0.0, "outcome": "finished", "said": ""}

    monkeypatch.setattr(report, "run_part", run)
    out = tmp_path / "page.md"
    assert report.main(["--device", "cpu", "--out", str(out)]) == 0
    parts = report.parts_of("cpu", tmp_path, small=False, parallel=False)
    later = sum(part.reserved for part in parts[1:])
    assert limits[0][1] == pytest.approx(480 - report.PAGE_SECONDS - later, abs=5)
    assert limits[-1][1] == pytest.approx(480 - report.PAGE_SECONDS, abs=5)  # nothing was needed
    assert sum(part.reserved for part in parts) <= 480 - report.PAGE_SECONDS


def test_lines_that_a_stopped_part_left_unfinished_are_dropped(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"fact": "a", "value": 1}) + '\n{"fact": "b", "va')
    assert read_rows(file) == [{"fact": "a", "value": 1}]


def test_requirements_are_those_of_the_project_without_torch():
    names = [report.name_of(line) for line in report.requirements()]
    assert {"hydra-core", "scikit-learn", "pytest", "diffusers"} <= set(names)
    assert not {"torch", "torchvision"} & set(names)


def test_wheels_are_installed_from_the_folder_alone(tmp_path, monkeypatch):
    """Beside what is installed here, which the new environment sees too."""
    pytest.importorskip("pip")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    info = "brought_along-1.0.dist-info"
    with zipfile.ZipFile(wheels / "brought_along-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("brought_along.py", "VALUE = 7\n")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: brought-along\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    wanted = ["brought-along", "not-brought-along>=2", "torch"]
    monkeypatch.setattr(report, "requirements", lambda: wanted)
    python, rows = report.install(wheels, tmp_path, time.monotonic() + 120)
    assert rows == [{"fact": "not found in wheels/", "value": "not-brought-along>=2"}]
    code = "import brought_along, importlib.util; print(brought_along.VALUE, "
    code += "importlib.util.find_spec('torch').origin)"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["7", torch.__file__]


def test_benchmarks_run_on_a_cpu_and_name_what_they_measured(tmp_path):
    rows = tmp_path / "rows.jsonl"
    script = ROOT / "scripts" / "gpu" / "benchmarks.py"
    for part in ("machine", "training"):
        command = [sys.executable, script, part, "--out", rows, "--device", "cpu", "--small"]
        subprocess.run(command, check=True, env=environment_of(), timeout=300)
    found = read_rows(rows)
    assert [row for row in found if "failed" in row] == []
    assert {"matrix product, bf16", "matrix product, fp32"} <= {row.get("rate") for row in found}
    names = {row.get("name") for row in found if row.get("table") == "DDPM step, bf16, batch 2"}
    assert {"ours", "ours, whole step of the trainer"} <= names
    assert any("times as fast as diffusers" in row.get("goal", "") for row in found)
