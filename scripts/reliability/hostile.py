"""Hostile files that contain code or lead elsewhere: does any of it take effect?

Each file would create a marker file if it were trusted. Command: python -m
scripts.reliability.hostile
"""

import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
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
    """A run whose checkpoints are all pickles, exported."""
    for file in run.glob("checkpoints/step=*.pt"):
        torch.save({"format": 1, "weights": Mark(mark)}, file)
    return exported(run, work)


def arrays(run: Path, mark: Path, work: Path) -> list[str]:
    """Samples of another system as an .npz with an array of objects."""
    np.savez(work / "theirs.npz", arr_0=np.array([Mark(mark)], dtype=object))
    return scored(work / "theirs.npz", work)


def array(run: Path, mark: Path, work: Path) -> list[str]:
    """Samples of another system as an .npy with objects."""
    np.save(work / "theirs.npy", np.array([Mark(mark)], dtype=object), allow_pickle=True)
    return scored(work / "theirs.npy", work)


def scored(file: Path, work: Path) -> list[str]:
    """The command that scores samples of another system."""
    return bench("model=samples", f"model.path={file}", *TINY, f"results_root={work / 'results'}")


def data_array(run: Path, mark: Path, work: Path) -> list[str]:
    """Pictures of a data set that are pickles."""
    folder = work / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(pickle.dumps(Mark(mark)))
    overrides = ("dataset=folder", f"dataset.path={folder}", "dataset.image_size=8")
    return bench("model=mlp_gan", *TINY, *overrides, f"results_root={work / 'results'}")


def configuration(run: Path, mark: Path, work: Path) -> list[str]:
    """A run whose config.yaml calls something other than a model, exported."""
    return with_build(run, work, {"_target_": "os.mkdir", "path": str(mark)})


def with_build(run: Path, work: Path, build: object) -> list[str]:
    """Give a run another model to build; the command that exports its samples."""
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["model"]["build"] = build
    file.write_text(yaml.safe_dump(config))
    return exported(run, work)


def exported(run: Path, work: Path) -> list[str]:
    """The command that exports the samples of a run."""
    return [sys.executable, "-m", "bench.export", str(run), "--out", str(work / "samples.zip")]


def helper(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that calls a function of ours which makes no model, inside a list."""
    call = {"_target_": "bench.runtime.atomic_files.check_room", "folder": str(mark)}
    return with_build(run, work, {"_target_": "models.gan.gan.GAN", "regularisers": [call]})


def data_helper(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that calls a function of the data package which loads no data set."""
    return with_build(run, work, {"_target_": "bench.data.dataset.content_hash"})


def wrong_argument(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that gives a model an argument of another kind."""
    return with_build(run, work, {"_target_": "models.gan.gan.GAN", "latent_dim": [str(mark)]})


def trusting_itself(run: Path, mark: Path, work: Path) -> list[str]:
    """A run that brings a package of its own and says that this is trusted."""
    package = work / "brought"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(mark)!r}, 'w')\n")
    file = run / "config.yaml"
    trust = {"trust": ["brought"], "hydra": {"trust": "brought"}}
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | trust))
    command = with_build(run, work, {"_target_": "brought.Model"})
    return ["env", f"PYTHONPATH={work}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", *command]


def trusted_elsewhere(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that calls, through a package which the command trusts, what that imports."""
    package = work / "trusted_package"
    package.mkdir()
    (package / "__init__.py").write_text("import os\n")
    call_of = {"_target_": "trusted_package.os.mkdir", "path": str(mark)}
    command = [*with_build(run, work, call_of), "--trust", "trusted_package"]
    return ["env", f"PYTHONPATH={work}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", *command]


def environment(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that would read an environment variable."""
    target = "models.gan.gan.GAN"
    return with_build(run, work, {"_target_": target, "latent_dim": "${oc.env:HOME}"})


def aliases(run: Path, mark: Path, work: Path) -> list[str]:
    """A short config.yaml whose aliases expand to an enormous number of values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 40)]
    (run / "config.yaml").write_text("\n".join(lines))
    return exported(run, work)


def deep_status(run: Path, mark: Path, work: Path) -> list[str]:
    """A status.json that is nested a hundred thousand levels deep, compared."""
    (run / "status.json").write_text("[" * 100_000)
    return [sys.executable, "-m", "bench.compare", str(run), "--out", str(work / "tables")]


def cache_elsewhere(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml whose cache would be the mark, with a data set that is cached there."""
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text()) | {"cache_root": str(mark)}
    config["dataset"]["load"] = {
        "_target_": "bench.data.stacked.load_stacked_digits",
        "_partial_": True,
        "name": "digits",
    }
    file.write_text(yaml.safe_dump(config))
    (run / "data.json").unlink()  # else the data set is not read
    return exported(run, work)


def named_elsewhere(run: Path, mark: Path, work: Path) -> list[str]:
    """A data set whose name is a path to the marker."""
    name = f"dataset.name=../../../{mark.name}"
    return bench(*RUN, name, f"results_root={work / 'results'}")


def compared_elsewhere(run: Path, mark: Path, work: Path) -> list[str]:
    """A run whose rows name a data set that leads to the mark, compared."""
    file = run / "eval.csv"
    file.write_text(file.read_text().replace("\ndigits,", f"\n../{mark.name},"))
    return [sys.executable, "-m", "bench.compare", str(run), "--out", str(work / "tables")]


def yaml_object(run: Path, mark: Path, work: Path) -> list[str]:
    """A config.yaml that names a Python object."""
    line = f"mark: !!python/object/apply:os.mkdir [{mark}]"
    file = run / "config.yaml"
    file.write_text(f"{line}\n{file.read_text()}")
    return exported(run, work)


@dataclass(frozen=True)
class Trial:
    """A file from elsewhere.

    Attributes:
        prepare: puts it in place, given a run, the marker that it would create and a working
            folder; returns the command that reads it.
        word: part of the message that shows the file was refused for the right reason.
    """

    prepare: Callable[[Path, Path, Path], list[str]]
    word: str


TRIALS = {
    "newest checkpoint of a run, resumed": Trial(checkpoint, "no plain tensors"),
    "all checkpoints of a run, exported": Trial(exported_checkpoint, "no plain tensors"),
    "samples as .npz": Trial(arrays, "allow_pickle"),
    "samples as .npy": Trial(array, "Python objects"),
    "images of a data set": Trial(data_array, "not an image"),
    "config.yaml that calls another function": Trial(configuration, "os.mkdir"),
    "config.yaml that calls a helper of ours in a list": Trial(helper, "check_room"),
    "config.yaml that calls a helper of the data sets": Trial(data_helper, "content_hash"),
    "config.yaml with an argument of another kind": Trial(wrong_argument, "latent_dim"),
    "config.yaml that trusts a package itself": Trial(trusting_itself, "--trust brought"),
    "config.yaml that calls through a trusted package": Trial(trusted_elsewhere, "os.mkdir"),
    "config.yaml that reads the environment": Trial(environment, "refers to other values"),
    "config.yaml whose cache lies elsewhere": Trial(cache_elsewhere, "made with other data"),
    "config.yaml with a Python object": Trial(yaml_object, "python/object"),
    "config.yaml with nested aliases": Trial(aliases, "aliases"),
    "status.json that is nested too deeply": Trial(deep_status, "nested too deeply"),
    "a name of a data set that leads elsewhere": Trial(named_elsewhere, "dataset.name"),
    "rows of a data set that lead elsewhere": Trial(compared_elsewhere, "names are"),
}
"""Files, by what they pretend to be."""


def main(kinds: list[str]) -> int:
    """Try every file and print a row for each."""
    print(f"{about()}\n\n| file | code ran | exit code | said |\n|---|---|---|---|")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="hostile") as folder:
        made = Path(folder) / "made"
        call(bench(*RUN, f"results_root={made}")).check_returncode()
        for name in kinds or TRIALS:
            work = Path(folder) / "work"
            shutil.copytree(made, work / "results")
            row, good = attempt(TRIALS[name], work)
            print(f"| {name} | {row} |", flush=True)
            bad += not good
            shutil.rmtree(work)
    return int(bad > 0)


def attempt(trial: Trial, work: Path) -> tuple[str, bool]:
    """Have a file read.

    Args:
        trial: the file.
        work: a folder with the results of a run.

    Returns:
        A row's cells, and whether the file was refused for the right reason.
    """
    mark = work / "mark"
    (run,) = (status.parent for status in (work / "results").rglob("status.json"))
    done = call(trial.prepare(run, mark, work))
    lines = [line for line in done.stderr.splitlines() if line.strip() and line[0] != "▶"]
    said = next((line for line in lines if trial.word in line), (lines or ["nothing"])[-1])
    good = trial.word in said and not mark.exists() and "Traceback" not in done.stderr
    said = said.replace(f"{run}/", "").replace(str(work), "…").replace("|", "/")
    return f"{'YES' if mark.exists() else 'no'} | {done.returncode} | {said}", good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
