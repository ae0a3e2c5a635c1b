"""Command line of `python -m bench.decide`."""

import io
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from math import prod

from bench.cli import at_once, check_arguments, checked_lines
from bench.command_line import LAUNCHER, each_value, overrides_in, values, with_jobs
from bench.compare.claims.declaration import Claim, read_claims
from bench.compare.claims.questions import questions_of_claims
from bench.compare.claims.verdicts import judge
from bench.compare.cli import compare as write_pages
from bench.compare.cli import output_folder
from bench.compare.comparison import Comparison
from bench.compare.outputs import REPORT
from bench.compare.questions import Question
from bench.compare.topics.settled import questions_of_pairs
from bench.decide import answer
from bench.decide.loop import Job, Limits, Ran, decide
from bench.decide.plan import block_seconds, count_pairs, plan_text
from bench.decide.processes import Processes
from bench.decide.project import Project, check_protocols, fields_of, look_at
from bench.decide.request import Grid, Request, read_command_grids, read_request
from bench.decide.units import Unit, make_units, tally
from bench.runs.looks import Look
from bench.runtime import jobs
from bench.runtime.cores import cores
from bench.runtime.printing import duration, printable, replace_what_cannot_be_shown, words

HELP = """\
usage: python -m bench.decide experiment=families dataset=digits hours=2
                              [margin=1.1] [seeds=30] [machines=one] [--dry-run]

Run seed after seed of every model of an experiment until it is settled which one is better, or
until the time is up. Takes what a sweep (python -m bench -m) takes, and

  hours=2      limit of the time of all runs together (required)
  margin=1.1   FIDs that differ by less than this factor count as practically equal
  seeds=30     largest number of seeds of a model
  machines=one or several (for claims only): each test compares runs of one machine with each
               other, and counts the seeds of all machines
  --dry-run    print the plan and stop

The same command goes on after it was interrupted. Details: docs/decide.md
"""


def main(arguments: Sequence[str]) -> int:
    """Settle the questions of an experiment.

    Returns:
        The exit code: 0 when all is settled or the limit is reached, 2 after one sentence on
        standard error if the command cannot be carried out.
    """
    replace_what_cannot_be_shown()
    if {"-h", "--help"} & set(arguments):
        with words():
            print(HELP, end="")
        return 0
    try:
        return _main(read_request(arguments))
    except ChildProcessError:
        return 2  # the process has said why
    except (ValueError, OSError) as error:
        print(f"bench.decide: {printable(str(error))}", file=sys.stderr)
        return 2


def _main(request: Request) -> int:
    """Plan, run blocks, and say what came of it; the exit code."""
    check_arguments(request.arguments)
    _check_machines(request)
    grids = read_command_grids(request.arguments)
    lines = checked_lines([grid.words for grid in grids])
    grids = [
        Grid(grid.name, tuple(line), grid.seeded) for grid, line in zip(grids, lines, strict=True)
    ]
    _check_several(grids)
    processes = _processes(request)
    _say("timing a few steps and a small evaluation of every model …")
    units = make_units(grids, processes.survey(grids))
    claims = _claims(request, units)
    pairs = {} if claims else count_pairs(units)
    if not claims:
        _check_pairs(units, pairs)
    _check_device(request, units)
    several = {"several_machines": request.several_machines}
    varied = fields_of(units, **several)
    check_protocols(units, varied)
    limits = Limits(3600 * request.hours, request.seeds)
    margin = _margin(request, units)
    questions = partial(_of_claims, claims) if claims else partial(_of_pairs, margin)
    look = partial(look_at, units, questions, at_once=processes.at_once, **several)
    project = look()
    if not request.dry:
        _check_limit(project, request)
    with words():
        print(printable(plan_text(project, limits, margin, pairs, len(claims)), kept="\n"))
    if request.dry:
        _check_limit(project, request)
        return 0

    def run_block(project: Project, block: Sequence[Job], seconds: float) -> Ran:
        on_record = [run for comparison in project.comparisons for run in comparison.runs]
        check_protocols([project.units[job.unit] for job in block], varied, on_record)
        planned = [project.units[job.unit].job(job.seed) for job in block]
        return processes.run(planned, Look(margin=margin, look=project.look), seconds)

    def say(project: Project, block: Sequence[Job]) -> None:
        _say(answer.progress_line(project, block, limits, margin))

    end = decide(look, run_block, limits, say)
    again = request.again(answer.wanted_hours(end.project, limits))
    said = answer.answer(end, limits, margin, again)
    files = _pages(end.project, varied) if end.project.folders else []
    with words():
        for line in ["", *answer.states(end.project), "", *said, "", *files]:
            print(printable(line))
    return 0


def _say(line: str) -> None:
    print(f"◆ {printable(line)}", file=sys.stderr, flush=True)


def _claims(request: Request, units: Sequence[Unit]) -> list[Claim]:
    """The claims that the experiment's grids are made for; none unless it is one of claims."""
    if not _experiments_of_claims(request):
        return []
    grids = {unit.grid for unit in units}
    return [claim for claim in read_claims() if grids.intersection(claim.runs)]


def _experiments_of_claims(request: Request) -> list[str]:
    """The experiments of a command that are made for claims."""
    named = map(str, values(request.arguments, "experiment"))
    return [name for name in named if name.startswith("claims_")]


def _of_claims(
    claims: Sequence[Claim], comparisons: Sequence[Comparison]
) -> list[tuple[Question, str]]:
    """The questions of claims, with the data set of each that belongs to one."""
    datasets = {comparison.dataset for comparison in comparisons}
    found = questions_of_claims(judge(claims, comparisons, sequential=True))
    return [(q, q.place if q.place in datasets else "") for q in found]


def _of_pairs(margin: float, comparisons: Sequence[Comparison]) -> list[tuple[Question, str]]:
    """The questions between models, with the data set of each."""
    return [
        (question, comparison.dataset)
        for comparison in comparisons
        for question in questions_of_pairs(comparison, margin)
    ]


def _processes(request: Request) -> Processes:
    """What starts the processes of jobs."""
    machine = {"gpu_count": jobs.gpus(), "cores": cores()}
    arguments = with_jobs(request.arguments, **machine)
    of_jobs = set(overrides_in(arguments))
    hydra = [w for w in arguments if w not in of_jobs or w.lstrip("+~").startswith("hydra")]
    local = set(values(arguments, LAUNCHER)) <= set(jobs.LOCAL)
    return Processes(request, tuple(hydra), at_once(arguments), local, machine["cores"])


def _check_several(grids: Sequence[Grid]) -> None:
    """Refuse a command of which one look shows that it names a single run.

    Raises:
        ValueError: it does.
    """
    counts = [prod(len(each_value(w)) for w in overrides_in(grid.words)) for grid in grids]
    if sum(counts) == 1:
        raise ValueError(_no_question([*values(grids[0].words, "model"), "the default"][0]))


def _check_device(request: Request, units: Sequence[Unit]) -> None:
    """Refuse to go on with runs of several machines where it is not known which one this is.

    Raises:
        ValueError: it is not.
    """
    if request.several_machines and not any(u.planned.protocol.get("device") for u in units):
        launcher = "".join(map(str, values(request.arguments, LAUNCHER)))
        raise ValueError(
            "machines=several must know on which machine runs are made, and those of "
            f"{LAUNCHER}={launcher} start elsewhere: leave it out, or start bench.decide on each "
            "machine"
        )


def _check_machines(request: Request) -> None:
    """Refuse runs of several machines where models are ranked.

    Raises:
        ValueError: no claims are asked.
    """
    if request.several_machines and not _experiments_of_claims(request):
        raise ValueError(
            "machines=several is for claims, whose tests compare runs of one machine with each "
            "other: leave it out, or give every machine a results_root of its own"
        )


def _check_pairs(units: Sequence[Unit], pairs: dict[str, int]) -> None:
    """Refuse a command without a question.

    Raises:
        ValueError: no two models are trained on one data set under one protocol, or one of two is
            class-conditional.
    """
    if not pairs:
        trained = [unit.planned for unit in units if unit.seeded]
        mixed = len({planned.class_conditional for planned in trained}) > 1
        alike = ", both or neither of them class-conditional" if mixed else ""
        names = ", ".join(dict.fromkeys(planned.model for planned in trained))
        raise ValueError(_no_question(names or "none", alike))


def _no_question(models: object, alike: str = "") -> str:
    return (
        f"there is no question to settle: it takes two trained models on one data set{alike}, and "
        f"here is {models}: name another one, as in model=dcgan_small,ddpm_small"
    )


def _margin(request: Request, units: Sequence[Unit]) -> float:
    """The margin of practical equality: of the runs so far, else as given, else the default.

    Raises:
        ValueError: another margin than that of the runs is given: a margin that is chosen after
            looking at the results shows nothing.
    """
    made = sorted({margin for unit in units for margin in tally(unit).margins})
    if not made:
        return request.margin or Look().margin
    if request.margin not in (None, made[0]) or len(made) > 1:
        raise ValueError(
            f"margin={request.margin or made[-1]:g} is not that of the earlier runs of these "
            f"models, {made[0]:g}, and a margin cannot be chosen after their results: leave it "
            "out, or give another results_root"
        )
    return made[0]


def _check_limit(project: Project, request: Request) -> None:
    """Refuse a limit that does not allow a first block.

    Raises:
        ValueError: it does not.
    """
    block = block_seconds(project.units, project.at_once)
    if project.spent == 0 and block is not None and 3600 * request.hours < block:
        hours = answer.rounded_up(block / 3600)
        raise ValueError(
            f"hours={request.hours:g} is shorter than one block, every model with one seed, which "
            f"takes about {duration(block)}: give at least hours={hours:g}"
        )


def _pages(project: Project, mixed: Sequence[str]) -> list[str]:
    """Write the pages of bench.compare, split by these fields; what to say of them."""
    folders = list(project.folders)
    options = [word for field in mixed for word in ("--allow-mixed", field)]
    command = shlex.join(["python", "-m", "bench.compare", *map(str, folders), *options])
    out = output_folder(folders)
    with redirect_stdout(io.StringIO()):
        files = write_pages(folders, out, command, mixed=mixed)
    pages = [file for file in files if file.suffix == ".md" or file == out / REPORT]
    return ["Pages:", *(f"  {file}" for file in pages), "The same pages:", f"  {command}"]
