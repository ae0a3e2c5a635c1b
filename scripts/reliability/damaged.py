"""Damaged checkpoints and cached files: is the damage detected, and nothing lost?

Command: python -m scripts.reliability.damaged [kinds of damage]
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

from PIL import Image

from bench.data.dataset import Split
from bench.data.sources import load_digits
from scripts.reliability.trial import (
    TINY,
    Agreement,
    about,
    bench,
    call,
    compare,
    compare_cells,
    environment,
)

RUN = ("model=dcgan_small", "seed=0", "budget.images=6000", *TINY)

moments = random.Random(0)


def cut(share: float) -> Callable[[bytes], bytes]:
    """Truncate a file to a share of its size."""
    return lambda data: data[: int(share * len(data))]


def flip(data: bytes) -> bytes:
    """Flip one bit in the middle half: weights, not the table of contents."""
    return turned(data, 8 * moments.randrange(len(data) // 4, 3 * len(data) // 4))


def flip_structure(data: bytes) -> bytes:
    """Flip one bit of data.pkl: names and shapes, which torch may still be able to read."""
    place = part(data, "data.pkl")
    return turned(data, moments.randrange(8 * place.start, 8 * place.stop))


def turned(data: bytes, bit: int) -> bytes:
    """The bytes with one bit flipped."""
    at, place = divmod(bit, 8)
    return data[:at] + bytes([data[at] ^ (1 << place)]) + data[at + 1 :]


def part(data: bytes, name: str) -> range:
    """Byte range of one uncompressed member of a checkpoint's archive."""
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


def zeroed(data: bytes) -> bytes:
    """500 bytes of zeros in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(500) + data[middle + 500 :]


def unnamed(data: bytes) -> bytes:
    """Zeros instead of a header."""
    return bytes(64) + data[64:]


CACHED: dict[str, tuple[str, Callable[[bytes], bytes] | None]] = {
    "500 zeroed bytes of training images": ("*/train_images.npy", zeroed),
    "training images, half kept": ("*/train_images.npy", cut(0.5)),
    "training images, empty": ("*/train_images.npy", cut(0)),
    "training images, zeros as header": ("*/train_images.npy", unnamed),
    "held-out images, missing": ("*/test_images.npy", None),
    "labels, missing": ("*/train_labels.npy", None),
    "labels, one bit turned": ("*/train_labels.npy", flip),
    "meta.json, missing": ("*/meta.json", None),
    "meta.json, half kept": ("*/meta.json", cut(0.5)),
    "features, one bit turned": ("features/*.safetensors", flip),
    "features, half kept": ("features/*.safetensors", cut(0.5)),
    "features, empty": ("features/*.safetensors", cut(0)),
}
"""Which files of a cache are damaged, and how; None deletes them."""


def main(kinds: list[str]) -> int:
    """Print the tables of checkpoints and of cached files; 0 if everything is as expected."""
    known = [*DAMAGE, *CACHED]
    if unknown := sorted(set(kinds) - set(known)):
        raise SystemExit(f"unknown kinds {unknown}: choose among {known}")
    print(about())
    chosen = kinds or known
    bad = sum(
        table([kind for kind in chosen if kind in damage])
        for damage, table in ((DAMAGE, damaged_checkpoints), (CACHED, damaged_cache))
        if set(chosen) & set(damage)
    )
    return int(bad > 0)


def damaged_checkpoints(kinds: list[str]) -> int:
    """Damage the newest checkpoint in every way and resume; prints rows, counts what failed."""
    print(f"python -m bench {' '.join(RUN)}\n")
    print(
        "| newest checkpoint | reported | exit code | identical to the undisturbed run |\n"
        "|---|---|---|---|"
    )
    bad = 0
    with tempfile.TemporaryDirectory(prefix="damaged") as folder:
        whole, stopped = Path(folder) / "undisturbed", Path(folder) / "stopped"
        call(bench(*RUN, f"results_root={whole}")).check_returncode()
        stop_at_two_checkpoints(stopped)
        for kind in kinds:
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
    return bad


def damaged_cache(kinds: list[str]) -> int:
    """Damage cached files and score again; prints rows, counts what failed."""
    print("\npython -m bench model=real, digits as a folder of images\n")
    print("| cached file | reported | exit code | scores as before | reported again |")
    print("|---|---|---|---|---|")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="damaged") as name:
        root = Path(name)
        dataset = load_digits(data_root=root)
        for split, part in ((dataset.train, "train"), (dataset.test, "test")):
            write_images(root / "digits" / part, split)

        def score(results: str, cache: Path) -> subprocess.CompletedProcess:
            places = (f"dataset.path={root / 'digits'}", f"cache_root={cache}")
            return call(bench("model=real", *TINY, *places, f"results_root={root / results}"))

        score("undisturbed", root / "whole").check_returncode()
        (before,) = (root / "undisturbed").rglob("eval.csv")
        for kind in kinds:
            cache = root / "cache"
            shutil.copytree(root / "whole", cache)
            pattern, damage = CACHED[kind]
            for file in cache.glob(pattern):
                file.unlink() if damage is None else file.write_bytes(damage(file.read_bytes()))
            first = score("tried", cache)
            found = Agreement()
            compare_cells(before, root / "tried" / before.relative_to(root / "undisturbed"), found)
            again = score("again", cache)
            said, healed = (" is damaged (" in done.stderr for done in (first, again))
            cells = f"{found.equal + found.rounded} of {found.cells} cells"
            words = ["yes" if said else "no", first.returncode, cells, "yes" if healed else "no"]
            print(f"| {kind} | {' | '.join(map(str, words))} |", *found.apart, sep="\n", flush=True)
            bad += not said or healed or first.returncode != 0 or bool(found.apart)
            for left in (cache, root / "tried", root / "again"):
                shutil.rmtree(left, ignore_errors=True)
    return bad


def write_images(folder: Path, split: Split) -> None:
    """Write grey images as PNGs into folders by class."""
    if split.labels is None:
        raise ValueError("the images have no labels")
    for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        path = folder / str(label) / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)


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
