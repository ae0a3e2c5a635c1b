"""Concurrent appends by eight processes: is any row lost, incomplete or duplicated?

Command: python -m scripts.reliability.appending [--processes 8] [--rows 500]
"""

import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from bench.errors import RunInUseError
from bench.runs.directory import RunDirectory
from bench.runtime import jobs
from bench.runtime.atomic_files import append, locked
from bench.schema import eval_columns
from scripts.reliability.trial import about

COLUMNS = eval_columns(("domain",))


def report_lines(folder: Path, writer: int, rows: int) -> None:
    """Append outcomes to the report of a sweep: no lock, one write per line."""
    os.environ[jobs.REPORT] = str(folder / "report")
    for k in range(rows):
        jobs.tell(jobs.Outcome(f"{writer},{k}: {'x' * (k % 500)}", left=False))


def run_rows(folder: Path, writer: int, rows: int) -> None:
    """Append evaluation rows to one run, whose lock one process holds at a time."""
    for k in range(rows):
        row = {"model": "m", "sampler": f"{writer},{k}", "checkpoint": k, "fid_domain": k}
        while True:
            try:
                with RunDirectory(folder / "run") as run:
                    run.append_eval([row], COLUMNS)
                break
            except RunInUseError:
                time.sleep(0.0005)


def csv_lines(folder: Path, writer: int, rows: int) -> None:
    """Append lines to a CSV file with a blocking lock."""
    for k in range(rows):
        with locked(folder / ".lock"):
            append(folder / "table.csv", f"{writer},{k},{'x' * (k % 500)}\n")


def told(folder: Path) -> list[str]:
    """Rows that reached the report."""
    return [o.words.partition(":")[0] for o in jobs.collect(folder / "report")]


def recorded(folder: Path) -> list[str]:
    """Rows that reached eval.csv."""
    with RunDirectory(folder / "run") as run:
        return [row["sampler"] for row in run.eval_rows()]


def lines(folder: Path) -> list[str]:
    """Lines that reached the CSV file."""
    with (folder / "table.csv").open(newline="") as file:
        return [f"{writer},{k}" for writer, k, _ in csv.reader(file)]


FILES = {
    "report of a sweep (one write per line, no lock)": (report_lines, told, 1),
    "eval.csv of one run (lock of the run)": (run_rows, recorded, 10),
    "CSV with a blocking lock": (csv_lines, lines, 1),
}
"""Writer, reader, and by how much fewer rows are written, since eval.csv is replaced whole."""


def main(arguments: list[str]) -> int:
    """Write every file by all processes and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--processes", type=int, default=8)
    options.add_argument("--rows", type=int, default=500, help="of each process")
    given = options.parse_args(arguments)
    print(f"{about()}, {given.processes} processes\n")
    print("| file | rows written | lost | incomplete or duplicated |\n|---|---|---|---|")
    bad = 0
    for name, (write, read, fewer) in FILES.items():
        rows = max(1, given.rows // fewer)
        with tempfile.TemporaryDirectory(prefix="appending") as folder:
            context = multiprocessing.get_context("fork")
            processes = [
                context.Process(target=write, args=(Path(folder), writer, rows))
                for writer in range(given.processes)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            found = read(Path(folder))
        wanted = {f"{writer},{k}" for writer in range(given.processes) for k in range(rows)}
        lost, more = len(wanted - set(found)), len(found) - len(wanted & set(found))
        print(f"| {name} | {len(wanted)} | {lost} | {more} |", flush=True)
        bad += lost + more + sum(process.exitcode != 0 for process in processes)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
