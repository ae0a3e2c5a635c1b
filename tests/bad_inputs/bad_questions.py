"""Bad input of `python -m bench.decide`."""

from pathlib import Path

from bad_case import Case, nothing
from bad_files import Prepare, folder
from synthetic_runs import POINTS, mode_scores, write_run

from bench.runs.directory import Status
from bench.runs.looks import Look
from bench.variant import run_directory

MODELS = ("mlp_gan_points", "drifting_points")
SMALL = ("budget.images=512", "evaluator.samples=100", "evaluator.resamples=0", "threads=1")
PLACES = ("results_root={folder}/results", "cache_root={folder}/cache")


def command(*arguments: str, models: tuple[str, ...] = MODELS) -> tuple[str, ...]:
    """A small command with these words."""
    return (f"model={','.join(models)}", "dataset=ring8", *SMALL, *PLACES, *arguments)


def case(given: str, said: str, *arguments: str, prepare: Prepare = nothing) -> Case:
    """A case of `python -m bench.decide`."""
    return Case(given, said, arguments, prepare, program="bench.decide")


def word(said: str, *words: str) -> Case:
    """A case whose words say best what it is."""
    given = " ".join(f"`{word}`" for word in words)
    return case(f"`bench.decide` {given}", said, *command(*words))


def earlier(devices: tuple[str, str] = ("cpu: Example CPU",) * 2) -> Prepare:
    """Runs of an earlier call, one of each model, made on these devices."""

    def prepare(root: Path) -> None:
        places = [place.format(folder=root) for place in PLACES]
        overrides = ["dataset=ring8", *SMALL, *places]
        for model, device in zip(MODELS, devices, strict=True):
            named = [f"model={model}", *overrides]
            run = run_directory(root / "results", "ring8", model, named, 0)
            write_run(
                root / "results",
                model,
                0,
                {"sampler": mode_scores(8, 90.0, 0.1, 1.0)},
                dataset="ring8",
                variant=run.parent.name,
                status=Status("finished", step=9, sequential=Look().text, seconds=2.0),
                protocol=POINTS | {"device": device},
                extractors=("identity",),
            )

    return prepare


LAUNCHED = b"""# @package _global_
sweep:
  mine:
    model: mlp_gan_points,drifting_points
    hydra/launcher: joblib
"""
NO_QUESTION = (
    "there is no question to settle: it takes two trained models on one data set, and here is "
    "mlp_gan_points: name another one, as in model=dcgan_small,ddpm_small"
)

AREAS = {
    "Settling questions (`bench.decide`)": (
        case(
            "no `hours`",
            "hours is missing: say how long all runs may take together, as in hours=2",
            *command(),
        ),
        word("hours must be a number above 0 and at most 10000, got '0'", "hours=0"),
        word("hours must be a number above 0 and at most 10000, got '2h'", "hours=2h"),
        word(
            "margin must be a number above 1 and at most 10, got '1': ratios between 1 / margin "
            "and margin count as equal",
            "hours=1",
            "margin=1",
        ),
        word("seeds must be a number at least 2 and at most 200, got '1'", "hours=1", "seeds=1"),
        word("seeds must be a whole number, got 2.5", "hours=1", "seeds=2.5"),
        word("machines must be one or several, got 'all'", "hours=1", "machines=all"),
        word(
            "machines=several is for claims, whose tests compare runs of one machine with each "
            "other: leave it out, or give every machine a results_root of its own",
            "hours=1",
            "machines=several",
        ),
        case("a single model", NO_QUESTION, *command("hours=1", models=MODELS[:1])),
        case(
            "a single model and real data",
            NO_QUESTION,
            *command("hours=1", models=(MODELS[0], "real")),
        ),
        case(
            "a limit shorter than one block",
            "hours=1e-05 is shorter than one block, every model with one seed, which takes about …",
            *command("hours=0.00001"),
        ),
        case(
            "a setting that no run can have",
            "model=mlp_gan_points dataset=ring8 budget.images=512 evaluator.samples=100 "
            "evaluator.resamples=0 threads=0 results_root=<folder>/results "
            "cache_root=<folder>/cache: threads must be at least 1 or null, got 0",
            *(w if w != "threads=1" else "threads=0" for w in command("hours=1")),
        ),
        case(
            "an experiment of one's own with words of Hydra in a grid",
            "experiment=mine: its grid mine sets hydra/launcher, which bench.decide reads from "
            "the command line only: give it there, not in the grid",
            *("--config-dir={folder}/conf", "experiment=mine", "dataset=ring8", *SMALL, *PLACES),
            "hours=1",
            prepare=folder("conf", {"experiment/mine.yaml": LAUNCHED}),
        ),
        case(
            "runs of another machine in the folder",
            "runs on ring8 differ in device ('cpu: Example CPU' in …",
            *command("hours=1"),
            prepare=earlier(("cuda: Example GPU", "cpu: Example CPU")),
        ),
        case(
            "runs that would be scored in two ways, and so could not share a table",
            "runs on ring8 would differ in metric backend ('bench metrics …",
            *(f"{w},10" if w == "evaluator.resamples=0" else w for w in command("hours=1")),
        ),
        case(
            "another `margin` than that of earlier runs",
            "margin=1.2 is not that of the earlier runs of these models, 1.1, and a margin cannot "
            "be chosen after their results: leave it out, or give another results_root",
            *command("hours=1", "margin=1.2"),
            prepare=earlier(),
        ),
    ),
}
