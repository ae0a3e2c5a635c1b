"""Commands and programs one after the other in one process, which saves seconds of imports each.

Started as a program, it reads requests from standard input, a line of JSON each, and answers with a
line of JSON. `OneProcess` is its other end.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple


class Done(NamedTuple):
    """What came of a command: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class OneProcess:
    """A process that runs commands of Python in a folder.

    Args:
        folder: its working directory.
        environment: its environment.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def command(self, words: list[str]) -> Done:
        """Do what `python -m` with these words does."""
        return self._ask({"words": words})

    def program(self, text: str) -> Done:
        """Run a program."""
        return self._ask({"text": text})

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)

    def _ask(self, request: dict[str, Any]) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Done(*json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def _written_to(out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    """Let this process, and those that it starts, write to two files."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _do(request: dict[str, Any]) -> int:
    """Carry out a request; the exit code."""
    importlib.invalidate_caches()
    try:
        if "text" in request:
            exec(compile(str(request["text"]), "program", "exec"), {"__name__": "__main__"})
        else:
            module, *arguments = request["words"]
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Answer requests until standard input is closed."""
    requests = os.fdopen(os.dup(0))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path[0] = ""  # as `python -m` has it
    environment = dict(os.environ)
    for line in requests:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with _written_to(out, err):
                code = _do(json.loads(line))
            os.environ.clear()
            os.environ.update(environment)
            gc.enable()
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode(errors="replace"))
        replies.write(json.dumps([code, *said]) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
