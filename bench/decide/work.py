"""The process of bench.decide that times or runs jobs, and ends with the one that started it."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from bench.runtime.interrupts import said_in_one_line


def main(file: Path) -> None:
    """Do what a file says; what comes of it is written beside the file."""
    given = json.loads(file.read_text(encoding="utf-8"))
    if "survey" in given:
        from bench.planning import survey

        outlooks, wrong = survey(**given["survey"])
        for k, outlook in enumerate(outlooks):
            outlook.write(file.with_name(f"{k}.json"))
        file.with_name("wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
        return
    from bench.cli import run_listed
    from bench.runtime.outlook import read

    outlook = read(file.with_name("outlook.json"))
    if outlook is None:
        raise FileNotFoundError(f"{file.with_name('outlook.json')} is missing")
    try:
        run_listed(given["run"]["jobs"], given["run"]["words"], outlook)
    except (ValueError, OSError) as error:
        print(f"bench.decide: {error}", file=sys.stderr)
        sys.exit(2)


def _end_with_starter() -> None:
    """Interrupt this process when standard input, a pipe, is closed at its other end."""

    def wait() -> None:
        if not os.read(0, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    with said_in_one_line("bench.decide", ""):
        _end_with_starter()
        main(Path(sys.argv[1]))
