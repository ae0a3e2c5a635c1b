"""Files from elsewhere that hold code: does any of it run?

Each file would leave a mark if it were trusted. Command: python -m scripts.reliability.hostile
"""

import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from scripts.reliability.trial import TINY, about, bench, call

RUN = ("model=mlp_gan", "seed=0", "budget.images=512", *TINY)


class Mark:
    """Unpickled by a reader that trusts its input, it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.file,)


def checkpoint(run: Path, mark: Path, work: Path) -> list[str]:
    """A run whose newest checkpoint is a pickle, resumed."""
    newest = sorted(run.glob("checkpoints/step=*.pt"))[-1]
    torch.save({"format": 1, "weights": Mark(mark)}, newest)
    status = run / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"running"'))
    return bench(*RUN, f"results_root={work / 'results'}")


def exported_checkpoint(run: Path, mark: Path, work: Path) -> list[str]:
    """The same, samples of which are asked for."""
    for file in run.glob("checkpoints/step=*.pt"):
        file.write_bytes(pickle.dumps(Mark(mark)))
    return [sys.executable, "-m", "bench.export", str(run), "--out", str(work / "samples.zip")]


def arrays(run: Path, mark: Path, work: Path) -> list[str]:
    """Samples of another system as an .npz with an array of objects."""
    np.savez(work / "theirs.npz", arr_0=np.array([Mark(mark)], dtype=object))
    return bench("model=samples", f"model.path={work / 'theirs.npz'}", *TINY)


def array(run: Path, mark: Path, work: Path) -> list[str]:
    """The same as .npy."""
    np.save(work / "theirs.npy", np.array([Mark(mark)], dtype=object), allow_pickle=True)
    return bench("model=samples", f"model.path={work / 'theirs.npy'}", *TINY)


def data_array(run: Path, mark: Path, work: Path) -> list[str]:
    """Pictures of a data set that are pickles."""
    folder = work / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(pickle.dumps(Mark(mark)))
    overrides = ("dataset=folder", f"dataset.path={folder}", "dataset.image_size=8")
    return bench("model=mlp_gan", *TINY, *overrides, f"results_root={work / 'results'}")


def configuration(run: Path, mark: Path, work: Path) -> list[str]:
    """A run whose config.yaml calls something else than a model, samples of which are asked for."""
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["model"]["build"] = {"_target_": "os.mkdir", "path": str(mark)}
    file.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "bench.export", str(run), "--out", str(work / "samples.zip")]


def yaml_object(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that names a Python object."""
    line = f"mark: !!python/object/apply:os.mkdir [{mark}]"
    file = run / "config.yaml"
    file.write_text(f"{line}\n{file.read_text()}")
    return [sys.executable, "-m", "bench.export", str(run), "--out", str(work / "samples.zip")]


TRIALS: dict[str, Callable[[Path, Path, Path], list[str]]] = {
    "newest checkpoint of a run, resumed": checkpoint,
    "all checkpoints of a run, exported": exported_checkpoint,
    "samples as .npz": arrays,
    "samples as .npy": array,
    "images of a data set": data_array,
    "config.yaml that calls another function": configuration,
    "config.yaml with a Python object": yaml_object,
}
"""Files, by what they pretend to be."""


def main(arguments: list[str]) -> int:
    """Try every file and print a row for each."""
    del arguments
    print(f"{about()}\n\n| file | code ran | exit code | said |\n|---|---|---|---|")
    ran = 0
    with tempfile.TemporaryDirectory(prefix="hostile") as folder:
        made = Path(folder) / "made"
        call(bench(*RUN, f"results_root={made}")).check_returncode()
        for name, prepare in TRIALS.items():
            work = Path(folder) / "work"
            work.mkdir()
            shutil.copytree(made, work / "results")
            mark = work / "mark"
            (run,) = (status.parent for status in (work / "results").rglob("status.json"))
            done = call(prepare(run, mark, work))
            words = [line for line in done.stderr.splitlines() if line.strip()]
            warned = [line for line in words if "damaged" in line]
            said = (warned if done.returncode == 0 else words)[-1]
            said = said.replace(f"{run}/", "").replace(str(work), "…").replace("|", "/")
            print(f"| {name} | {'YES' if mark.exists() else 'no'} | {done.returncode} | {said} |")
            ran += mark.exists() or "Traceback" in done.stderr
            shutil.rmtree(work)
    return int(ran > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
