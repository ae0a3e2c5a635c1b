"""`bench.compare --watch`: the report rewritten while runs go on.

What is compared is read and laid out again only when a run has ended, begun or been scored. The
part on runs in progress is made anew when anything has changed, and put into the page.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.compare.claims.verdicts import Judgement
from bench.compare.live import LiveRun, LiveRuns
from bench.compare.outputs import REPORT, Outputs, Pages, build, write_report, write_tables
from bench.compare.writers.html.live import PLACE, counts, live_part
from bench.runtime.printing import printable, words

EVERY, SHORTEST, LONGEST = 60, 5, 3600
"""Seconds between two versions of the report: by default, at least and at most."""

QUIET = 10.0
"""Minutes without any change after which no further run is expected."""

MOST_CPU = 0.1
"""Largest share of a core that is used; with very many runs the report is made less often."""

NICENESS = 10
"""By how much the priority is lowered once the first page is written, for training next to it."""


@dataclass(frozen=True)
class Watch:
    """What is watched.

    Attributes:
        paths: run directories or folders of runs, which need not exist yet.
        out: folder of the pages.
        command: the command line, for the pages.
        every: seconds between two versions.
        gather: reads and compares the runs; raises ValueError or OSError if that cannot be done.
        mapped: whether the map was asked for.
    """

    paths: Sequence[Path]
    out: Path
    command: str
    every: float
    gather: Callable[[], tuple[Pages, Sequence[Judgement]]]
    mapped: bool = False


def watch(
    watched: Watch, *, opened: Callable[[Path], None] | None = None, quiet: float = 60 * QUIET
) -> None:
    """Rewrite the report until no run is going on and nothing has changed for a while.

    Args:
        watched: what is watched.
        opened: called with the path of the report once it is written.
        quiet: seconds without a change after which watching ends.

    Raises:
        OSError: the first report cannot be written.
    """
    report = Watcher(watched)
    report.update()
    places = ", ".join(map(str, watched.paths))
    _say(f"watching {places} every {watched.every:g} s → {report.file} (Ctrl-C ends it)")
    if opened is not None:
        opened(report.file)
    with suppress(OSError):
        os.nice(NICENESS)
    told, changed, failed = "", time.monotonic(), ""
    wait = watched.every
    while True:
        if report.counts != told:
            told = report.counts
            _say(f"{time.strftime('%H:%M:%S')} {told}")
        if report.runs and not report.active and time.monotonic() - changed >= quiet:
            _say(f"no run is going on and nothing has changed for {quiet / 60:.3g} min: the end")
            return
        time.sleep(wait)
        start, used = time.monotonic(), time.process_time()
        try:
            if report.update():
                changed = time.monotonic()
            failed = ""
        except OSError as error:  # a full disk may have room again
            if str(error) != failed:
                failed = str(error)
                print(f"bench.compare: {printable(failed)}", file=sys.stderr, flush=True)
        took = time.monotonic() - start
        least = (time.process_time() - used) / MOST_CPU
        wait = max(watched.every, least) - min(took, watched.every)


def _say(text: str) -> None:
    with words():
        print(printable(text), flush=True)


class Watcher:
    """The report and what it was made of, so that only what has changed is made again.

    Args:
        watched: what is watched.

    Attributes:
        file: the report.
        runs: the runs when they were last read.
    """

    def __init__(self, watched: Watch) -> None:
        self.file = watched.out / REPORT
        self.runs: list[LiveRun] = []
        self._watched = watched
        self._live = LiveRuns(watched.paths)
        self._frame = build({}, (), watched.command, watched=True)
        self._made_of: object = None  # by which a change is noticed: of the tables, of the page
        self._shown: object = None
        self._note = ""
        _remove_leftovers(self.file)

    @property
    def counts(self) -> str:
        """How many runs there are of each state."""
        return counts(self.runs)

    @property
    def active(self) -> bool:
        """Whether a run is going on."""
        return any(run.active for run in self.runs)

    def update(self) -> bool:
        """Read what has changed, and write the page if anything has.

        Returns:
            Whether it was written.

        Raises:
            OSError: it cannot be written.
        """
        fault = ""
        try:
            self.runs = self._live.read()
        except (OSError, ValueError) as error:  # such as a folder that is being moved
            fault = str(error)
        new = self._compare()
        shown = ([run.signature for run in self.runs], self._note, fault)
        if not new and shown == self._shown:
            return False
        part = live_part(
            self.runs,
            written=time.time(),
            every=self._watched.every,
            note=fault or self._note,
        )
        assert self._frame.html is not None
        write_report(self._frame.html.replace(PLACE, part, 1), self._watched.out)
        self._shown = shown
        return True

    def _compare(self) -> bool:
        """Compare the runs if one has ended, begun or been scored since; returns whether it was.

        Raises:
            OSError: tables cannot be written.
        """
        made_of = [run.compared for run in self.runs]
        if made_of == self._made_of:
            return False
        outputs = self._outputs()
        if outputs is None:  # tried again next time
            self._made_of = None
            return False
        if any(run.ended for run in self.runs):
            write_tables(outputs, self._watched.out)
        self._frame, self._made_of = outputs, made_of
        return True

    def _outputs(self) -> Outputs | None:
        """The page with the runs that have ended; None if they cannot be compared now."""
        command = self._watched.command
        if not any(run.ended for run in self.runs):
            self._note = ""
            return build({}, (), command, watched=True)
        try:
            pages, judgements = self._watched.gather()
            outputs = build(pages, judgements, command, watched=True, asked=self._watched.mapped)
        except (OSError, ValueError) as error:  # files that are being replaced, or a real fault
            self._note = f"The tables below could not be brought up to date: {error}"
            return None
        self._note = ""
        return outputs


def _remove_leftovers(report: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote this report."""
    for file in report.parent.glob(f".{report.name}.*.tmp"):
        pid = file.name.split(".")[-2]
        if pid.isdecimal() and not Path("/proc", pid).exists() and Path("/proc/self").exists():
            with suppress(OSError):
                file.unlink()
