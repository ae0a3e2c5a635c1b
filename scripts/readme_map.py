"""Fill the answer of README.md from the committed map.

The headline of docs/evidence/map/map.md, its picture, and samples of one seed of every family at
the largest budget, unselected.

Command: python scripts/readme_map.py, as docs/evidence/commands_map.sh does at its end.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.compare.map.contenders import representatives
from bench.compare.read import Run, read_runs
from bench.runtime.printing import exact_duration

ROOT = Path(__file__).resolve().parent.parent
MAP = Path("docs/evidence/map")
SHOWN = {"fashion_mnist": "Fashion-MNIST, 28×28", "cifar10": "CIFAR-10 (a copy in JPEG), 32×32"}
"""Data sets whose samples are shown, with what they are called."""

WIDTH = 140


def longest(runs: Sequence[Run], models: Sequence[str]) -> Run | None:
    """The run of seed 0, on all images, with the largest budget; None without one."""
    found = [
        run
        for run in runs
        if run.model in models
        and (run.seed, run.state) == ("0", "finished")
        and run.table.texts("train_images")[:1] == ("all",)
    ]
    return max(found, key=lambda run: run.table.numbers("train_seconds").max(), default=None)


def picture(run: Run) -> Path:
    """The samples of the first sampler that the run lists, at its last point; from the root.

    Raises:
        FileNotFoundError: it is not there.
    """
    point, sampler = run.last.numbers("checkpoint")[0], run.last.texts("sampler")[0]
    file = run.path / "samples" / f"checkpoint={point:.0f}_{sampler}.png"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: a run of seed 0 keeps its last samples")
    return file.relative_to(ROOT)


def samples(runs: Sequence[Run], name: str) -> Iterator[str]:
    """A caption and a table of pictures of one data set; nothing without its runs.

    Families without a run of the largest budget are left out.
    """
    columns = {"real images": ("real",), **representatives("flagships")}
    found = {family: longest(runs, models) for family, models in columns.items()}
    shown = {family: run for family, run in found.items() if run is not None}
    spent = {family: run.table.numbers("train_seconds").max() for family, run in shown.items()}
    most = max(spent.values(), default=0.0)
    shown = {f: run for f, run in shown.items() if not spent[f] or spent[f] > 0.9 * most}
    if len(shown) < 2:
        return
    limit = exact_duration(round(most / 15) * 15)
    trained = f"after {limit} of training on one core, all images"
    yield f"{name}: samples of seed 0 {trained}, not selected."
    yield ""
    yield f"| {' | '.join(shown)} |"
    yield f"|{' --- |' * len(shown)}"
    cells = [f'<img src="{picture(r)}" width="{WIDTH}" alt="{f}">' for f, r in shown.items()]
    yield f"| {' | '.join(cells)} |"
    yield ""


def block(runs: Sequence[Run], page: str) -> str:
    """What stands between the marks of README.md.

    Args:
        runs: of the map.
        page: map.md.
    """
    answers = [part for part in page.split("\n\n")[2:4] if part.startswith(("On ", "Settled, "))]
    quotes = [
        [f"> {line}" for line in textwrap.wrap(part, 118, break_on_hyphens=False)]
        for part in answers
    ]
    lines = "\n>\n".join("\n".join(quote) for quote in quotes).splitlines()
    lines += ["", f"![who is ahead where]({MAP}/map.svg)", ""]
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.dataset, []).append(run)
    for dataset, name in SHOWN.items():
        lines += samples(by_name.get(dataset, []), name)
    return "\n".join(lines).strip()


def main() -> None:
    """Write README.md."""
    runs = read_runs([ROOT / MAP / "runs"])
    text = block(runs, (ROOT / MAP / "map.md").read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    marks = re.compile(r"(<!-- map:begin -->\n).*?(\n<!-- map:end -->)", re.DOTALL)
    filled = marks.sub(lambda m: f"{m[1]}{text}{m[2]}", readme.read_text(encoding="utf-8"))
    readme.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
