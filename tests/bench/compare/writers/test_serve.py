"""The report served: on loopback alone, no other folder, no foreign names, no lists of files."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.compare.writers.serve import HOST, make_server

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def port(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("the report")
    (tmp_path / "report" / "more").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "report" / "link").symlink_to(tmp_path / "secret")
    with make_server(tmp_path / "report", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get(port: int, path: str, host: str = HOST) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000"])
def test_the_report_is_shown(port, host):
    assert get(port, "/", host) == (200, "the report")


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/link", "/more/", "/absent"])
def test_nothing_else_is(port, path):
    status, text = get(port, path)
    assert status in (403, 404)
    assert "secret\n" not in text
    assert text != "secret"


def test_a_foreign_name_for_this_machine_is_refused(port):
    assert get(port, "/", "rebound.example.org")[0] == 403


@pytest.mark.parametrize("wrong", [70000, -1])
def test_a_port_that_there_is_not_is_one_sentence(tmp_path, wrong):
    with pytest.raises(OSError, match=f"--serve {wrong}: cannot listen .*name another one"):
        make_server(tmp_path, wrong)


def test_a_taken_port_is_one_sentence(tmp_path, port):
    with pytest.raises(OSError, match=f"--serve {port}: cannot listen"):
        make_server(tmp_path, port)


def hear_interrupts() -> None:
    """As a terminal starts it; what runs in a shell's background inherits that it does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_command_serves_until_it_is_interrupted(study, tmp_path):
    line = [sys.executable, "-u", "-m", "bench.compare", str(study), "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*line, "--serve", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        preexec_fn=hear_interrupts,
    )
    try:
        assert process.stdout is not None
        said = next(text for text in process.stdout if text.startswith("The report is at"))
        port = int(said.split(":")[2].partition("/")[0])
        status, text = get(port, "/")
        assert (status, text) == (200, (tmp_path / "report" / "index.html").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
