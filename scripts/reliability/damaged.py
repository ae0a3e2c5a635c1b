"""The newest checkpoint of a killed run is damaged: is the one before taken, and nothing else lost?

Command: python -m scripts.reliability.damaged
"""

import io
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from scripts.reliability.trial import TINY, about, bench, call, compare, environment

RUN = ("model=dcgan_small", "seed=0", "budget.images=6000", *TINY)

moments = random.Random(0)


def cut(share: float) -> Callable[[bytes], bytes]:
    """Keep so much of a file."""
    return lambda data: data[: int(share * len(data))]


def flip(data: bytes) -> bytes:
    """Turn one bit, in the middle half: weights, not the table of contents."""
    return turned(data, 8 * moments.randrange(len(data) // 4, 3 * len(data) // 4))


def flip_structure(data: bytes) -> bytes:
    """Turn one bit of data.pkl: names and shapes, which may still be ones that torch can read."""
    place = part(data, "data.pkl")
    return turned(data, moments.randrange(8 * place.start, 8 * place.stop))


def turned(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit turned."""
    at, place = divmod(bit, 8)
    return data[:at] + bytes([data[at] ^ (1 << place)]) + data[at + 1 :]


def part(data: bytes, name: str) -> range:
    """Where in a checkpoint the bytes of one part of its archive are, stored as they are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (found,) = (i for i in archive.infolist() if i.filename.rpartition("/")[2] == name)
    header = found.header_offset  # 30 bytes, of which the last four are two lengths; name; extra
    lengths = (data[header + at : header + at + 2] for at in (26, 28))
    start = header + 30 + sum(int.from_bytes(length, "little") for length in lengths)
    return range(start, start + found.file_size)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "first 1 % kept": cut(0.01),
    "half kept": cut(0.5),
    "last byte missing": lambda data: data[:-1],
    "zeros of the same size": lambda data: bytes(len(data)),
    "text": lambda data: b"not a checkpoint",
    "one bit turned (1)": flip,
    "one bit turned (2)": flip,
    "one bit turned (3)": flip,
    "one bit turned in data.pkl": flip_structure,
}
"""Ways to damage a file."""


def main(kinds: list[str]) -> int:
    """Damage the newest checkpoint in every way, resume, and print a row for each."""
    print(f"{about()}\npython -m bench {' '.join(RUN)}\n")
    print(
        "| newest checkpoint | said so | exit code | the same as undisturbed |\n|---|---|---|---|"
    )
    bad = 0
    with tempfile.TemporaryDirectory(prefix="damaged") as folder:
        whole, stopped = Path(folder) / "undisturbed", Path(folder) / "stopped"
        call(bench(*RUN, f"results_root={whole}")).check_returncode()
        stop_at_two_checkpoints(stopped)
        for kind in kinds or DAMAGE:
            tried = Path(folder) / "tried"
            shutil.copytree(stopped, tried)
            newest = checkpoints(tried)[-1]
            newest.write_bytes(DAMAGE[kind](newest.read_bytes()))
            again = call(bench(*RUN, f"results_root={tried}"))
            said = f"{newest.name} is damaged" in again.stderr
            agreement = compare(whole, tried)
            words = f"{agreement.equal + agreement.rounded} of {agreement.cells} cells"
            words += f", {agreement.equal_tensors} of {agreement.tensors} tensors"
            print(f"| {kind} | {'yes' if said else 'no'} | {again.returncode} | {words} |")
            bad += not (said and again.returncode == 0 and agreement.whole)
            shutil.rmtree(tried)
    return int(bad > 0)


def stop_at_two_checkpoints(root: Path) -> None:
    """Kill a run as soon as it has two checkpoints."""
    process = subprocess.Popen(
        bench(*RUN, f"results_root={root}"), stderr=subprocess.DEVNULL, env=environment()
    )
    while process.poll() is None and len(checkpoints(root)) < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    if process.wait() == 0:
        raise RuntimeError("the run ended before it was killed: give it a larger budget")


def checkpoints(root: Path) -> list[Path]:
    """Checkpoints of the only run, the newest last."""
    return sorted(root.rglob("step=*.pt"), key=lambda path: int(path.stem[5:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
