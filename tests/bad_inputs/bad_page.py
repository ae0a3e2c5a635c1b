"""The table of all bad inputs, and the page generated from it."""

import bad_command_line
import bad_comparing
import bad_evaluation
import bad_exporting
import bad_folders
import bad_images
import bad_loading
import bad_machine
import bad_models
import bad_questions
import bad_resuming
import bad_samples
import bad_signals
from bad_case import Case

AREAS = (
    bad_command_line.AREAS
    | bad_evaluation.AREAS
    | bad_models.AREAS
    | bad_machine.AREAS
    | bad_signals.AREAS
    | bad_folders.AREAS
    | bad_images.AREAS
    | bad_samples.AREAS
    | bad_resuming.AREAS
    | bad_exporting.AREAS
    | bad_comparing.AREAS
    | bad_loading.AREAS
    | bad_questions.AREAS
)
CASES = {f"{area}: {case.given}": case for area, cases in AREAS.items() for case in cases}

INTRODUCTION = """\
# Bad inputs

Messages for invalid, damaged or unsuitable input. Every line is a test
(`tests/bad_inputs/test_bad_inputs.py`, which also writes this page): the program is run with the
input, the message is compared word for word, and nothing may have been trained, evaluated,
unpickled or written. The exit code is 2, for Hydra's own messages 1.

`<folder>` stands for the folder of the input, `<run>` for a run directory, `<variant>` for its
variant, `<runs>` for a folder of runs, `<hash>` for the hash of samples, and … for the rest of a
message. Unless stated otherwise, `python -m bench` is run with `dataset=digits` and
`model=mlp_gan`; `bench.export`, `bench.compare` and `bench.load` use small runs of these. In Python
the message is that of an exception.
"""


def page() -> str:
    """All cases by area, in Markdown."""
    blocks = [INTRODUCTION]
    for area, cases in AREAS.items():
        rows = "".join(f"| {case.given} | {_said(case)} |\n" for case in cases)
        blocks.append(f"## {area}\n\n| input | message |\n|---|---|\n{rows}")
    return "\n".join(blocks)


def _said(case: Case) -> str:
    """What the user sees, as code; what becomes of an accepted input, as text."""
    return case.said if case.check else f"`{case.said}`"
