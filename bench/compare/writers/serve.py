"""The report in a browser: one folder, served to this machine alone."""

import os
import sys
import webbrowser
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.runtime.printing import words

HOST = "127.0.0.1"
"""Loopback: no other machine can connect."""

PORT = 8000
"""Where the report is served unless told otherwise."""

NAMES = frozenset({HOST, "localhost"})
"""By these names the report may be asked for: another one is a foreign page's, bound to us."""


class ReportHandler(SimpleHTTPRequestHandler):
    """Serves the files of one folder: no lists of files, and nothing outside of it."""

    server_version = "bench.compare"
    sys_version = ""

    def send_head(self) -> Any:
        """Find what was asked for, or answer with an error."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        folder = Path(self.directory).resolve()
        asked = Path(self.translate_path(self.path)).resolve()
        if host not in NAMES or not asked.is_relative_to(folder):
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """Refuse: only files that are asked for by name are shown."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server that is bound but not yet running.

    Args:
        folder: what to serve.
        port: to listen on; 0 for any that is free.

    Raises:
        OSError: the port is taken or not allowed.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(ReportHandler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise OSError(
            f"--serve {port}: cannot listen on port {port} of {HOST} ({error}): name another one, "
            "or 0 for any that is free"
        ) from error


def serve(server: ThreadingHTTPServer, say: Callable[[str], None] = print) -> None:
    """Serve until the reader presses Ctrl-C, and open the browser where there is a screen.

    Args:
        server: as `make_server` gives it.
        say: shows a line to the reader.
    """
    address = f"http://{HOST}:{server.server_address[1]}/"
    with server:
        with words():
            say(f"The report is at {address} (Ctrl-C ends)")
        if has_screen():
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            with words():
                say("")


def has_screen() -> bool:
    """Whether a browser would have a window; one of the terminal would take this terminal."""
    names = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in names)
