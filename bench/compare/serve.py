"""The report in a browser: one folder, served to this machine alone."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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


def serve(folder: Path, port: int, say: Callable[[str], None] = print) -> None:
    """Serve a folder until the reader presses Ctrl-C.

    Args:
        folder: what to serve.
        port: to listen on; 0 for any that is free.
        say: shows a line to the reader.

    Raises:
        OSError: the port is taken or not allowed.
    """
    with make_server(folder, port) as server:
        say(f"The report is at http://{HOST}:{server.server_address[1]}/ (Ctrl-C ends)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
