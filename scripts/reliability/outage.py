"""Weights & Biases unreachable, failing or silent: are the results those of a run without it?

Command: python -m scripts.reliability.outage
"""

import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from scripts.reliability.trial import TINY, about, bench, call, compare

RUN = ("model=mlp_gan", "seed=0", "budget.images=2000", *TINY)


class Broken(BaseHTTPRequestHandler):
    """Answers every request with a server error."""

    def do_POST(self) -> None:
        """Answer."""
        self.send_error(500)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def refusing() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


@contextmanager
def failing() -> Iterator[int]:
    """A server that answers every request with 500."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


OUTAGES = {
    "connection refused": refusing,
    "connected, never answered": silent,
    "every answer an error 500": failing,
}
"""Servers that are none, by what they do."""


def main(kinds: list[str]) -> int:
    """Train with every kind of outage and print a row for each."""
    print(f"{about()}\npython -m bench {' '.join(RUN)} logger.wandb=online\n")
    print(
        "| W&B | exit code | warnings | extra seconds | identical to a run without W&B |\n"
        "|---|---|---|---|---|"
    )
    bad = 0
    with tempfile.TemporaryDirectory(prefix="outage") as folder:
        whole = Path(folder) / "without"
        start = time.monotonic()
        call(bench(*RUN, f"results_root={whole}")).check_returncode()
        usual = time.monotonic() - start
        for kind in kinds or OUTAGES:
            root = Path(folder) / kind.replace(" ", "_").replace(",", "")
            with OUTAGES[kind]() as port:
                start = time.monotonic()
                line = bench(*RUN, "logger.wandb=online", f"results_root={root}")
                address = f"http://127.0.0.1:{port}"
                done = call(line, WANDB_BASE_URL=address, WANDB_API_KEY="0" * 40)
                more = time.monotonic() - start - usual
            warned = sum("W&B" in line for line in done.stderr.splitlines())
            agreement = compare(whole, root)
            cells = f"{agreement.equal + agreement.rounded} of {agreement.cells} cells"
            cells += f", {agreement.equal_tensors} of {agreement.tensors} tensors"
            print(f"| {kind} | {done.returncode} | {warned} | {more:.0f} | {cells} |", flush=True)
            bad += done.returncode != 0 or not warned or not agreement.whole
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
