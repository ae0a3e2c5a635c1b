"""The report on a GPU as a Markdown page, from rows; standard library only."""

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

INTRODUCTION = """\
# GPU

`scripts/gpu_report` tests and measures this checkout on a CUDA machine in at most eight minutes and
writes this page; do not edit it by hand.

```bash
scripts/gpu_report                   # with the packages that are installed
scripts/gpu_report --wheels wheels   # installs what is missing from a folder, without the network
```

The machine needs Python 3.11 or newer with torch, pandas and scipy. `--wheels` installs the other
packages into a temporary environment and downloads nothing. The folder is made where there is a
network, with the same version of Python:

```bash
pip wheel --wheel-dir wheels hydra-core omegaconf pillow pyyaml scikit-learn safetensors rich \\
  matplotlib plotly jinja2 numba pytest diffusers
```

Packages that are still missing are named below; tests and benchmarks that need them are skipped.
The exit code is 2, and no page is written, where torch sees no CUDA device.

The tests (`pytest -m gpu tests/gpu`) compare CUDA with the CPU, with equal random numbers, in fp32
without TF32: every phase's loss and gradients, every sampler, every score and extractor of the
small models. They also kill and resume a run, train in bf16 and in two processes (nccl with two
GPUs, gloo with one), check latency, memory and kernels, and that no training step waits for the
device. The same tests run on the CPU against itself with all other tests, most of them marked slow.
What that self-test cannot execute:

- `bench/runtime/device.py`: choosing the GPU, switching TF32 off, pinned memory in `to_device`;
- `bench/runtime/distributed.py`: nccl and its device; the seed of the GPU's generator in
  `bench/training/trainer.py`;
- `bench/runtime/memory.py`: the allocator's peak; `bench/cost/measure.py`: waiting for the device;
- `tests/gpu`: errors on waiting (`waiting_is_an_error`), `torch.cuda._sleep`, the two tests without
  a `cpu` variant, and the dropout kernel of GPUs in `tests/support/equal_randomness.py`;
- `scripts/gpu/benchmarks.py`: properties of the GPU, `cudnn.benchmark`, `torch.compile`.
"""

NEVER_RUN = """
**Never run on a GPU.** No CUDA machine was at hand when this page was committed: nothing beyond the
self-test on a CPU has been verified, and no goal has been measured (DDPM step at the size of
CIFAR-10 in bf16: at least 1.3 times as fast as diffusers, and at least 50 % of the measured rate of
matrix products at batch 256).
"""


def never_run() -> str:
    """The page before any report."""
    return INTRODUCTION + NEVER_RUN


def render(rows: Sequence[Row]) -> str:
    """The page of a report, finished or cut short.

    Args:
        rows: dictionaries, told apart by their first key: "step" (a part and how it ended), "fact"
            (name and value), "rate", "goal", "test" (outcome of a test), or those of benchmarks,
            with "table" and "name".
    """
    sections = [INTRODUCTION.rstrip()]
    sections += ["## Machine", _facts(rows)]
    sections += ["## Goals", _goals(rows)]
    sections += ["## Parts", _parts(rows)]
    sections += ["## Tests", *_tests(rows)]
    sections += ["## Benchmarks", *_benchmarks(rows)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A Markdown table whose last columns hold numbers."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    rows = [[str(cell).replace("|", "\\|") for cell in line] for line in (head, rule, *lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _facts(rows: Sequence[Row]) -> str:
    found = [(row["fact"], row["value"]) for row in rows if "fact" in row]
    found += [
        (f"rate: {row['rate']}", f"{row['value']:.4g} {row['unit']}")
        for row in rows
        if "rate" in row
    ]
    return _table(("", "value"), found, 1)


def _goals(rows: Sequence[Row]) -> str:
    lines = [
        (
            row["goal"],
            f"{row['at_least']:g}",
            f"{row['value']:.2f}",
            "met" if row["value"] >= row["at_least"] else "**not met**",
        )
        for row in rows
        if "goal" in row
    ]
    if not lines:
        return "No goal was measured."
    return _table(("goal", "at least", "measured", ""), lines, 3)


def _parts(rows: Sequence[Row]) -> str:
    lines = [
        (row["step"], f"{row['seconds']:.0f}", row["outcome"], row["said"][:200])
        for row in rows
        if "step" in row
    ]
    return _table(("part", "seconds", "outcome", "last line"), lines)


def _tests(rows: Sequence[Row]) -> list[str]:
    """Numbers of outcomes by test function, then each test that did not pass, with its reason."""
    tests = [row for row in rows if "test" in row]
    if not tests:
        return ["No test was run to its end."]
    functions: dict[str, dict[str, int]] = {}
    for row in tests:
        counts = functions.setdefault(row["test"].partition("[")[0].rpartition("/")[2], {})
        counts[row["outcome"]] = counts.get(row["outcome"], 0) + 1
    outcomes = ("passed", "failed", "skipped")
    lines = [
        (f"`{name}`", *(str(counts.get(outcome, 0)) for outcome in outcomes))
        for name, counts in functions.items()
    ]
    total = [str(sum(row["outcome"] == outcome for row in tests)) for outcome in outcomes]
    found = [_table(("test", *outcomes), [*lines, ("**all**", *total)], 3)]
    rest = [row for row in tests if row["outcome"] != "passed"]
    if rest:
        reasons = [
            (f"`{row['test'].rpartition('/')[2]}`", row["outcome"], row["said"][:200])
            for row in sorted(rest, key=lambda row: row["outcome"])
        ]
        found.append(_table(("test", "outcome", "reason"), reasons))
    return found


def _benchmarks(rows: Sequence[Row]) -> list[str]:
    """A table for each title: medians, ratios to the first side, images per second."""
    titles = dict.fromkeys(row["table"] for row in rows if "name" in row)
    if not titles:
        return ["No benchmark was run."]
    shares = {(row["table"], row["share"]): row for row in rows if "share" in row}
    found = []
    for title in titles:
        lines = []
        for row in (row for row in rows if row.get("table") == title and "name" in row):
            if "failed" in row:
                lines.append((row["name"], "failed", "", "", "", row["failed"]))
                continue
            more = shares.get((title, row["name"]), {})
            lines.append(
                (
                    row["name"],
                    f"{row['median_ms']:.2f}",
                    f"{row['least_ms']:.2f} to {row['most_ms']:.2f}",
                    f"{row['ratio']:.2f} × {row['beside']}",
                    f"{more['images_per_second']:.0f}" if "images_per_second" in more else "",
                    f"{more['value']:.0%} of the rate of products" if "value" in more else "",
                )
            )
        head = ("", "median, ms", "range, ms", "speed", "images/s", "")
        found += [f"### {title}", _table(head, lines)]
    return found
