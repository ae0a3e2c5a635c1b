"""Bad records: damaged or unsuitable runs to resume, export and compare."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from bad_case import Case, nothing
from bad_files import Prepare, file, folder

from bench.runs.directory import RunDirectory, Status
from bench.schema import eval_columns

RUNS = "runs/digits/mlp_gan/default"
"""Where the runs to compare are, in the folder."""

TABLES = ("--out", "{folder}/tables")
COMPARED = ("{folder}/runs", *TABLES)
EXPORTED = ("{run}", "--device", "cpu", "--out", "{folder}/out.npz")
ONNX = ("{run}", "--format", "onnx", "--out", "{folder}/out.onnx")
AGAIN = "delete this file and give the run's command again, which goes on from the last checkpoint"
COLUMNS = eval_columns(("domain",))
PROTOCOL = {"budget": "images=64", "device": "cpu: Example CPU", "precision": "fp32"}


def no_change(run: Path) -> None:
    """Leave the finished run as it is."""


def unfinished(name: str, content: bytes) -> Prepare:
    """Another content of one of its files, and no status: the run is resumed."""

    def spoil(run: Path) -> None:
        (run / "status.json").unlink()
        (run / name).write_bytes(content)

    return spoil


def dangling(name: str, target: str) -> Prepare:
    """A link to nothing in place of a file, and no status: the run is resumed."""

    def spoil(run: Path) -> None:
        (run / "status.json").unlink()
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target)

    return spoil


def rearranged(run: Path) -> None:
    """Save eval.csv as a spreadsheet might, and resume."""
    (run / "status.json").unlink()
    table = run / "eval.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = sorted(rows[0])
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def has_its_row(run: Path) -> None:
    """Assert that the run is finished with the row of its only point."""
    with RunDirectory(run, reading=True) as records:
        (row,) = records.eval_rows()
        assert records.has_every_point()
        assert records.status is not None
        assert records.status.status == "finished"
    assert float(row["fid_domain"]) > 0
    assert row["checkpoint"] == "1"
    assert row["sampler"] == "generator"


def with_config(old: str, new: str) -> Prepare:
    def spoil(run: Path) -> None:
        config = (run / "config.yaml").read_text()
        assert old in config
        (run / "config.yaml").write_text(config.replace(old, new))

    return spoil


def multiplied() -> bytes:
    """YAML that stands for 9 ** 40 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 40)]
    return "\n".join(lines).encode()


def with_latent_dim(value: str) -> Prepare:
    def spoil(run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["model"]["build"]["latent_dim"] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return spoil


def damage_checkpoints(run: Path) -> None:
    (run / "status.json").unlink()
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.write_bytes(b"cat")


def write_run(root: Path, seed: float | str = 0, **values: Any) -> Path:
    """A finished run for the comparison, with one row."""
    path = root / RUNS / f"seed={seed}"
    identity = {"dataset": "digits", "model": "mlp_gan", "variant": "default", "seed": seed}
    point = {"sampler": "generator", "weights": "raw", "checkpoint": 1, "checkpoints": 1}
    with RunDirectory(path) as run:
        run.append_eval([identity | point | PROTOCOL | {"fid_domain": 5.5} | values], COLUMNS)
        run.write_status(Status("finished", step=1))
    return path


def move(path: Path, target: Path) -> None:
    path.rename(target)


def two_spellings(root: Path) -> None:
    write_run(root, "0")
    write_run(root, "00")


def with_file(name: str, content: bytes) -> Prepare:
    return lambda root: (write_run(root) / name).write_bytes(content)


def with_words(old: bytes, new: bytes) -> Prepare:
    def write(root: Path) -> None:
        table = write_run(root) / "eval.csv"
        assert old in table.read_bytes()
        table.write_bytes(table.read_bytes().replace(old, new))

    return write


def cut_short(root: Path) -> None:
    table = write_run(root) / "eval.csv"
    table.write_bytes(table.read_bytes()[:-12])


def without_table(root: Path) -> None:
    (write_run(root) / "eval.csv").unlink()


def linked_to_nothing(root: Path) -> None:
    table = write_run(root) / "eval.csv"
    table.unlink()
    table.symlink_to("gone.csv")


def folder_as_table(root: Path) -> None:
    table = write_run(root) / "eval.csv"
    table.unlink()
    table.mkdir()


def name_that_is_not_utf_8(root: Path) -> None:
    """A folder called caf\\xe9, as Latin-1 writes it."""
    shutil.move(write_run(root), os.fsdecode(os.fsencode(root) + b"/runs/caf\xe9"))


def copied(root: Path) -> None:
    shutil.copytree(write_run(root), root / "runs" / "copy")


def two_budgets(root: Path) -> None:
    write_run(root, 0)
    write_run(root, 1, budget="images=128")


def one_of_two_emptied(root: Path) -> None:
    write_run(root, 0)
    (write_run(root, 1) / "eval.csv").write_bytes(b"")


def one_of_two_without_header(root: Path) -> None:
    write_run(root, 0)
    table = write_run(root, 1) / "eval.csv"
    table.write_bytes(table.read_bytes().partition(b"\n")[2])


def says_why_without(seed: int, words: str) -> Callable[[Path], None]:
    """Assert that the page has the scores of the other seed, and says why this one has none."""

    def check(root: Path) -> None:
        page = (root / "tables" / "digits.md").read_text().replace("\\", "")
        assert "5.5" in page
        assert f"mlp_gan seed {seed} failed and has no result: " in page
        assert f"{RUNS}/seed={seed}/eval.csv {words}" in page

    return check


def two_runs_in_one_table(root: Path) -> None:
    first, second = (write_run(root, seed) / "eval.csv" for seed in (0, 1))
    row = second.read_text().splitlines(keepends=True)[1].replace("generator", "other")
    first.write_text(first.read_text() + row)


def without_name(root: Path) -> None:
    (root / "runs").mkdir()
    (root / "runs" / "status.json").write_text(json.dumps({"status": "running"}))


RESUMED = (
    Case(
        "another configuration in the same place",
        (
            "run <run> was made with another configuration (trainer.log_every: 49 → 50): "
            "delete the directory or change results_root"
        ),
        (),
        spoil=with_config("log_every: 50", "log_every: 49"),
    ),
    Case(
        "a damaged `config.yaml`",
        "<run>/config.yaml is damaged (while parsing a flow node expected the node content…",
        (),
        spoil=unfinished("config.yaml", b"model: ["),
    ),
    Case(
        "a damaged `status.json`",
        (
            "<run>/status.json is not the status of a run (Expecting property name enclosed in "
            f"double quotes: line 1 column 2 (char 1)): {AGAIN}"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text("{"),
    ),
    Case(
        "a `config.yaml` whose YAML aliases multiply",
        (
            "<run>/config.yaml is damaged (it has YAML aliases, which are not supported): delete "
            "<run> and run again"
        ),
        (),
        spoil=unfinished("config.yaml", multiplied()),
    ),
    Case(
        "a `status.json` that is nested too deeply",
        (
            "<run>/status.json is not the status of a run (it is nested too deeply): delete this "
            "file and give the run's command again, which goes on from the last checkpoint"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text("[" * 100_000),
    ),
    Case(
        "a `status.json` with text for a number",
        (
            "<run>/status.json is not the status of a run (its step is 'one'): delete this file "
            "and give the run's command again, which goes on from the last checkpoint"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text('{"status": "running", "step": "one"}'),
    ),
    Case(
        "an unknown status",
        (
            "<run>/status.json is not the status of a run (its status is 'done', must be "
            f"'running', 'finished' or 'failed'): {AGAIN}"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text('{"status": "done"}'),
    ),
    Case(
        "an `eval.csv` that is not UTF-8",
        (
            "<run>/eval.csv is not UTF-8 ('utf-8' codec can't decode byte 0xff in position 8:"
            " invalid start byte): save it as UTF-8"
        ),
        (),
        spoil=unfinished("eval.csv", b"dataset\n\xff\n"),
    ),
    Case(
        "an `eval.csv` that is cut short",
        "<run>/eval.csv has rows that are not whole: delete <run> and run again",
        (),
        spoil=unfinished("eval.csv", b"dataset,model\ndigits\n"),
    ),
    Case(
        "an `eval.csv` with other columns",
        "<run>/eval.csv has other columns: delete <run> and run again",
        (),
        spoil=unfinished("eval.csv", b"checkpoint,model\n1,mlp_gan\n"),
    ),
    Case(
        "a `train.csv` with words for numbers",
        (
            "<run>/train.csv is damaged (invalid literal for int() with base 10: 'one'): "
            "delete <run> and run again"
        ),
        (),
        spoil=unfinished("train.csv", b"step,images,train_seconds,key,value\none,64,0,loss,1\n"),
    ),
    Case(
        "checkpoints that are all damaged",
        "every checkpoint in <run>/checkpoints is damaged: delete the run to repeat it",
        (),
        spoil=damage_checkpoints,
    ),
    Case(
        "a foreign file among the checkpoints",
        (
            "<run>/checkpoints/step=abc.pt is not named as a checkpoint is, step=<number>.pt: "
            "rename it, or move it to another folder"
        ),
        (),
        spoil=unfinished("checkpoints/step=abc.pt", b"cat"),
    ),
    Case(
        "a checkpoint that is a link to nothing",
        (
            "<run>/checkpoints/step=9.pt is a link to gone.pt, which does not exist: bring that "
            "back, or remove the link"
        ),
        (),
        spoil=dangling("checkpoints/step=9.pt", "gone.pt"),
    ),
    Case(
        "an `eval.csv` that is a link to nothing",
        (
            "<run>/eval.csv is a link to gone.csv, which does not exist: bring that back, or remove"
            " the link"
        ),
        (),
        spoil=dangling("eval.csv", "gone.csv"),
    ),
    Case(
        "an emptied `eval.csv` of a finished run, all of whose weights are kept",
        "the rows are made again",
        (),
        spoil=lambda run: (run / "eval.csv").write_bytes(b""),
        check=has_its_row,
    ),
    Case(
        "an `eval.csv` with a byte order mark and columns in another order",
        "it is read as any other",
        (),
        spoil=rearranged,
        check=has_its_row,
    ),
)


def with_status(**values: Any) -> Prepare:
    """Change the status of the run."""

    def spoil(run: Path) -> None:
        written = json.loads((run / "status.json").read_text())
        (run / "status.json").write_text(json.dumps(written | values))

    return spoil


def with_data(**values: Any) -> Prepare:
    """Change what a run recorded of its data."""

    def spoil(run: Path) -> None:
        written = json.loads((run / "data.json").read_text())
        (run / "data.json").write_text(json.dumps(written | values))

    return spoil


def export(
    given: str,
    said: str,
    arguments: tuple[str, ...],
    spoil: Prepare | None = no_change,
    prepare: Prepare = nothing,
) -> Case:
    return Case(given, said, arguments, prepare, spoil, "bench.export")


EXPORT = (
    export(
        "not a run",
        (
            "<folder> is not a run directory, it has no config.yaml: name one such as "
            "results/runs/<dataset>/<model>/<variant>/seed=<seed>"
        ),
        ("{folder}", "--out", "{folder}/out.npz"),
        None,
    ),
    export(
        "a finished run whose checkpoints are gone",
        (
            "<run> has no checkpoint any more: run its command again with another results_root to "
            "train it"
        ),
        EXPORTED,
        lambda run: shutil.rmtree(run / "checkpoints"),
    ),
    export(
        "a run that has not finished",
        (
            "<run> has not finished: give its command again to go on with it, or --unfinished to "
            "take its last checkpoint"
        ),
        EXPORTED,
        with_status(status="running"),
    ),
    export(
        "a run that failed",
        (
            "<run> failed (generator: the loss is not finite at step 7): name another run, or "
            "--unfinished to take it"
        ),
        EXPORTED,
        with_status(status="failed", reason="generator: the loss is not finite at step 7"),
    ),
    export(
        "the folder of the seeds of a run",
        (
            "<folder>/results/runs/digits/mlp_gan is not a run directory, it has no config.yaml: "
            "name one of those in it, …"
        ),
        ("{folder}/results/runs/digits/mlp_gan", "--out", "{folder}/out.npz"),
    ),
    export(
        "checkpoints that are all damaged",
        "every checkpoint in <run>/checkpoints is damaged: delete the run to repeat it",
        (*EXPORTED, "--unfinished"),
        damage_checkpoints,
    ),
    export(
        "a damaged `config.yaml`",
        (
            "<run>/config.yaml is not the configuration of a run: delete the run and give "
            "its command again"
        ),
        EXPORTED,
        lambda run: (run / "config.yaml").write_text(""),
    ),
    export(
        "a `config.yaml` whose YAML aliases multiply",
        (
            "<run>/config.yaml is damaged (it has YAML aliases, which are not supported): delete "
            "the run and give its command again"
        ),
        EXPORTED,
        lambda run: (run / "config.yaml").write_bytes(multiplied()),
    ),
    export(
        "a `config.yaml` that is nested too deeply",
        (
            "<run>/config.yaml is damaged (it is nested more than 40 levels deep): delete the run "
            "and give its command again"
        ),
        EXPORTED,
        lambda run: (run / "config.yaml").write_text("[" * 100_000),
    ),
    export(
        "a `config.yaml` that calls what is not listed",
        (
            "<run>/config.yaml: model.build calls 'bench.data.dataset.content_hash', which "
            "conf/constructors.yaml does not list: do not use this run or, where the code is your "
            "own, add a line there"
        ),
        EXPORTED,
        with_config("models.gan.gan.GAN", "bench.data.dataset.content_hash"),
    ),
    export(
        "a `config.yaml` that calls a package of somebody's own",
        (
            "<run>/config.yaml: model.build calls 'my_models.net.Net', which "
            "conf/constructors.yaml does not list: do not use this run or, if you trust that code, "
            "add --trust my_models"
        ),
        EXPORTED,
        with_config("models.gan.gan.GAN", "my_models.net.Net"),
    ),
    export(
        "`--trust os`",
        "--trust os: os is a module of Python itself: name a package of your own",
        (*EXPORTED, "--trust", "os"),
    ),
    export(
        "`--trust torch`",
        (
            "--trust torch: torch is an installed package: name one of your own, in a folder on "
            "PYTHONPATH or installed by pip install -e"
        ),
        (*EXPORTED, "--trust", "torch"),
    ),
    export(
        "`--trust models`",
        (
            "--trust models: models is a package of this project: conf/constructors.yaml lists "
            "what is called"
        ),
        (*EXPORTED, "--trust", "models"),
    ),
    export(
        "`--trust no_such_package`",
        (
            "--trust no_such_package: Python finds no such package: put the folder that holds it "
            "on PYTHONPATH"
        ),
        (*EXPORTED, "--trust", "no_such_package"),
    ),
    export(
        "a `config.yaml` with an argument of another kind",
        (
            "<run>/config.yaml: model.build.latent_dim='many' is no value that models.gan.gan.GAN "
            "takes: do not use this run"
        ),
        EXPORTED,
        with_latent_dim("many"),
    ),
    export(
        "a `config.yaml` whose data set has a path for a name",
        (
            "<run>/config.yaml: dataset.name must be 1 to 100 printable characters, without / and "
            "\\ and with no dot as the first, got '../../x'"
        ),
        EXPORTED,
        with_config("name: digits", "name: ../../x"),
    ),
    export(
        "a run made with other data, of a version that recorded nothing of it",
        (
            "<run> was made with other data: the hash of digits was 047cf09e6d70eaea3 and "
            "is 47cf09e6d70eaea3, name a folder of the former with --data-root"
        ),
        EXPORTED,
        lambda run: (
            with_config("data_hash: ", "data_hash: 0")(run),
            (run / "data.json").unlink(),
        ),
    ),
    export(
        "a `data.json` of other data",
        (
            "<run>/data.json describes data of the hash 47cf09e6d70eaea3, and config.yaml names "
            "047cf09e6d70eaea3: delete this file, and the data set itself is read"
        ),
        EXPORTED,
        with_config("data_hash: ", "data_hash: 0"),
    ),
    export(
        "a damaged `data.json`",
        (
            "<run>/data.json is damaged (it must have name, hash, shape, classes, frequencies, "
            "signal_low, signal_high, train_images, train_size, held_out_size and nothing else): "
            "delete this file, and the data set itself is read"
        ),
        EXPORTED,
        lambda run: (run / "data.json").write_text("[]"),
    ),
    export(
        "a `data.json` with a shape that is none",
        (
            "<run>/data.json is damaged (its shape is [1, 0, 8]): delete this file, and the data "
            "set itself is read"
        ),
        EXPORTED,
        with_data(shape=[1, 0, 8]),
    ),
    export(
        "an unknown sampler",
        "'ddim-50' is no sampler of digits/mlp_gan/<variant>/seed=0: there is generator",
        (*EXPORTED, "--sampler", "ddim-50"),
    ),
    export("no samples", "--samples must be at least 1, got 0", (*EXPORTED, "--samples", "0")),
    export(
        "a device that is none",
        "device must be auto, cpu, cuda or cuda:N, got 'abacus'",
        ("{run}", "--device", "abacus", "--out", "{folder}/out.npz"),
    ),
    export(
        "`--format diffusers` of a model that diffusers has not",
        (
            "<run> cannot be exported by --format diffusers, since diffusers has no pipeline for "
            "GAN: choose --format onnx or samples"
        ),
        ("{run}", "--format", "diffusers", "--out", "{folder}/pipeline"),
    ),
    export(
        "`--format diffusers` into a file",
        "--out=<folder>/out.zip: a pipeline of diffusers is a folder, give a name of one",
        ("{run}", "--format", "diffusers", "--out", "{folder}/out.zip"),
    ),
    export(
        "`--format onnx` into a file of samples",
        "--out=<folder>/out.npz: give a name that ends in .onnx for --format onnx",
        ("{run}", "--format", "onnx", "--out", "{folder}/out.npz"),
    ),
    export(
        "samples into an ONNX file",
        "--part, and an --out that ends in .onnx, are for --format onnx: add that",
        ("{run}", "--out", "{folder}/out.onnx"),
    ),
    export(
        "a network that the model has not",
        "--part must be one of ['generator'], got 'denoiser'",
        (*ONNX, "--part", "denoiser"),
    ),
    export(
        "`--format diffusers` of a part",
        "--part=generator is for --format onnx: leave it out",
        ("{run}", "--format", "diffusers", "--out", "{folder}/pipeline", "--part", "generator"),
    ),
    export(
        "a sampler for a format of models",
        "--sampler is for --format samples, not onnx",
        (*ONNX, "--sampler", "generator"),
    ),
    export(
        "a GPU for a format of models",
        "--device=cuda is for --format samples: models are exported from the CPU",
        (*ONNX, "--device", "cuda"),
    ),
    export(
        "an ONNX file that no export wrote, by force",
        (
            "<folder>/out.onnx is not an exported ONNX file: choose another --out, or delete it "
            "yourself, since --force replaces only what was exported"
        ),
        (*ONNX, "--force"),
        prepare=file("out.onnx", b"mine"),
    ),
    export(
        "a folder with other files for a pipeline, by force",
        (
            "<folder>/mine holds unet, which is not part of an export, and no .export.json that "
            "lists what an export made: choose another --out, or delete the folder yourself, since "
            "--force replaces only what was exported"
        ),
        ("{run}", "--format", "diffusers", "--out", "{folder}/mine", "--force"),
        prepare=folder("mine", {"unet/config.json": b"mine"}),
    ),
    export(
        "a file that exists",
        "<folder>/out.npz exists: choose another --out, or give --force to replace it",
        EXPORTED,
        prepare=file("out.npz", b"mine"),
    ),
    export(
        "a file that no export wrote, by force",
        (
            "<folder>/thesis.txt is not an exported file of samples: choose another --out, "
            "or delete it yourself, since --force replaces only what was exported"
        ),
        ("{run}", "--out", "{folder}/thesis.txt", "--force"),
        prepare=file("thesis.txt", b"mine"),
    ),
    export(
        "a folder with other files, by force",
        (
            "<folder>/mine holds cat.png, which is not part of an export, and no .export.json that "
            "lists what an export made: choose another --out, or delete the folder yourself, since "
            "--force replaces only what was exported"
        ),
        ("{run}", "--out", "{folder}/mine", "--force"),
        prepare=folder("mine", {"cat.png": b"mine"}),
    ),
    export(
        "a folder of pictures that are called as exported ones are, by force",
        (
            "<folder>/mine holds 000000.png, which is not part of an export, and no .export.json "
            "that lists what an export made: choose another --out, or delete the folder yourself, "
            "since --force replaces only what was exported"
        ),
        ("{run}", "--out", "{folder}/mine", "--force"),
        prepare=folder("mine", {"000000.png": b"mine"}),
    ),
    export(
        "an exported folder that somebody has added to, by force",
        (
            "<folder>/mine holds cat.png, which is not part of an export: choose another --out, or "
            "delete the folder yourself, since --force replaces only what was exported"
        ),
        ("{run}", "--out", "{folder}/mine", "--force"),
        prepare=folder(
            "mine",
            {"cat.png": b"mine", ".export.json": b'{"files": {"000000.png": "0123456789abcdef"}}'},
        ),
    ),
    export(
        "an exported folder in which a picture was changed, by force",
        (
            "<folder>/mine holds 000000.png, which was changed since it was exported: choose "
            "another --out, or delete the folder yourself"
        ),
        ("{run}", "--out", "{folder}/mine", "--force"),
        prepare=folder(
            "mine",
            {
                "000000.png": b"mine",
                ".export.json": b'{"files": {"000000.png": "0123456789abcdef"}}',
            },
        ),
    ),
)


def compared(
    given: str,
    said: str,
    prepare: Prepare = nothing,
    arguments: tuple[str, ...] = COMPARED,
    check: Callable[[Path], None] | None = None,
) -> Case:
    return Case(given, said, arguments, prepare, program="bench.compare", check=check)


def made_by(words: str) -> Prepare:
    """A run whose status says so of how bench.decide made it."""

    def write(root: Path) -> None:
        (write_run(root) / "status.json").write_text(
            json.dumps({"status": "finished", "sequential": words})
        )

    return write


COMPARE = (
    compared(
        "a `status.json` with unknown words about `bench.decide`",
        (
            "<runs>/seed=0/status.json is not the status of a run ('by hand' does not say how a "
            f"run was made sequentially): {AGAIN}"
        ),
        made_by("by hand"),
    ),
    compared(
        "a `status.json` with a margin that is no ratio above 1",
        (
            "<runs>/seed=0/status.json is not the status of a run ('e-process margin=0.9 look=1' "
            f"does not say how a run was made sequentially): {AGAIN}"
        ),
        made_by("e-process margin=0.9 look=1"),
    ),
    compared(
        "no runs at all",
        "results/runs does not exist: name run directories or folders of runs",
        arguments=(),
    ),
    compared(
        "a folder without runs",
        (
            "<folder>/runs holds no run, there is no status.json or eval.csv below it: name"
            " run directories or folders of runs"
        ),
        folder("runs", {"notes.txt": b"cats"}),
    ),
    compared(
        "a finished run without `eval.csv`",
        (
            "<runs>/seed=0/eval.csv has no rows although the run is finished: give the run's "
            "command again, which scores its last point anew, or delete <runs>/seed=0 and run it "
            "again, or name other runs"
        ),
        without_table,
    ),
    compared(
        "an empty `eval.csv`",
        (
            "<runs>/seed=0/eval.csv is empty: delete <runs>/seed=0 and run it again, or "
            "name other runs"
        ),
        with_file("eval.csv", b""),
    ),
    compared(
        "an empty `eval.csv` beside that of another seed",
        "the run is named as failed, and the others are compared",
        one_of_two_emptied,
        check=says_why_without(1, "is empty"),
    ),
    compared(
        "an `eval.csv` without its header beside that of another seed",
        "the run is named as failed, and the others are compared",
        one_of_two_without_header,
        check=says_why_without(1, "has no header, its first line names no columns"),
    ),
    compared(
        "a header without rows",
        (
            "<runs>/seed=0/eval.csv has no rows although the run is finished: give the run's "
            "command again, which scores its last point anew, or delete <runs>/seed=0 and run it "
            "again, or name other runs"
        ),
        with_file("eval.csv", (",".join(COLUMNS) + "\n").encode()),
    ),
    compared(
        "an `eval.csv` that is cut short",
        (
            f"<runs>/seed=0/eval.csv is half-written: line 2 has {len(COLUMNS) - 9} of "
            f"{len(COLUMNS)} values; delete "
            "<runs>/seed=0 and run it again, or name other runs"
        ),
        cut_short,
    ),
    compared(
        "an `eval.csv` without its last line end",
        (
            "<runs>/seed=0/eval.csv is half-written: its last line does not end; delete "
            "<runs>/seed=0 and run it again, or name other runs"
        ),
        lambda root: (table := write_run(root) / "eval.csv").write_bytes(table.read_bytes()[:-1]),
    ),
    compared(
        "blind spots of an extractor in other words than ours",
        (
            "<runs>/seed=0/eval.csv: blind_domain is wrong, 'perhaps' names no blind spot of a "
            "metric: delete <runs>/seed=0 and run it again, or name other runs"
        ),
        lambda root: write_run(root, blind_domain="perhaps"),
    ),
    compared(
        "an `eval.csv` that is not UTF-8",
        ("<runs>/seed=0/eval.csv is not UTF-8 ('utf-8' codec can't decode byte 0xe9 in position …"),
        with_words(b"Example", b"\xe9xample"),
    ),
    compared(
        "an `eval.csv` of another version",
        (
            "<runs>/seed=0/eval.csv is not an eval.csv of this version: it lacks the "
            "columns recall_domain, recall_low_domain, recall_high_domain; name "
            "other runs, or delete <runs>/seed=0 and run it again"
        ),
        with_words(b"recall_", b"rec_"),
    ),
    compared(
        "an `eval.csv` that is a link to nothing",
        (
            "<runs>/seed=0/eval.csv is a link to gone.csv, which does not exist: bring that file "
            "back, or put the file itself in place of the link, or name other runs"
        ),
        linked_to_nothing,
    ),
    compared(
        "a folder called `eval.csv`",
        (
            "<runs>/seed=0/eval.csv cannot be read (Is a directory): it must be a file that you "
            "may read, or name other runs"
        ),
        folder_as_table,
    ),
    compared(
        "a folder whose name is not UTF-8",
        "<folder>/runs/caf\\udce9 has a name that is not UTF-8: rename it",
        name_that_is_not_utf_8,
    ),
    compared(
        "a seed that is no whole number",
        (
            "<runs>/seed=0 names a seed '0.5', which is no whole number: correct it in its "
            "eval.csv or path, or name other runs"
        ),
        lambda root: move(write_run(root, 0.5), root / RUNS / "seed=0"),
    ),
    compared(
        "an evaluation point that there cannot be",
        (
            "<runs>/seed=0/eval.csv has a row of checkpoint 2 of 1, which is impossible: delete "
            "<runs>/seed=0 and run it again, or name other runs"
        ),
        lambda root: nothing(write_run(root, checkpoint=2)),
    ),
    compared(
        "one seed written in two ways",
        (
            "<runs>/seed=0 and <runs>/seed=00 are the same run (digits, mlp_gan, default, seed "
            "0): name the one to compare"
        ),
        two_spellings,
    ),
    compared(
        "control characters in a path",
        ("<folder>/\\x1b[31mruns does not exist: name run directories or folders of runs"),
        arguments=("{folder}/\x1b[31mruns", *TABLES),
    ),
    compared(
        "words for a number",
        (
            "<runs>/seed=0/eval.csv: a value of fid_domain is no number (could not convert "
            "string to float: 'low'): delete <runs>/seed=0 and run it again, or name other "
            "runs"
        ),
        with_words(b",5.5,", b",low,"),
    ),
    compared(
        "the rows of two runs in the file of one of them",
        "the run is named as failed, and the others are compared",
        two_runs_in_one_table,
        check=says_why_without(0, "mixes the rows of 2 runs"),
    ),
    compared(
        "a run and its copy",
        (
            "<folder>/runs/copy and <runs>/seed=0 are the same run (digits, mlp_gan, "
            "default, seed 0): name the one to compare"
        ),
        copied,
    ),
    compared(
        "a damaged `status.json`",
        (
            "<runs>/seed=0/status.json is not the status of a run (Expecting property name "
            f"enclosed in double quotes: line 1 column 2 (char 1)): {AGAIN}"
        ),
        with_file("status.json", b"{"),
    ),
    compared(
        "a `status.json` that is nested too deeply",
        (
            "<runs>/seed=0/status.json is not the status of a run (it is nested too deeply): "
            "delete this file and give the run's command again, which goes on from the last "
            "checkpoint"
        ),
        with_file("status.json", b"[" * 100_000),
    ),
    compared(
        "a run of a model with a path for a name",
        (
            "<runs>/seed=0 names a data set, model, variant, seed or sampler '../x', but names are "
            "1 to 100 printable characters, without / and \\ and with no dot as the first: name "
            "other runs"
        ),
        lambda root: write_run(root, model="../x"),
    ),
    compared(
        "a run that has no rows and no name",
        (
            "<folder>/runs has no evaluation yet and its path does not end in "
            "<dataset>/<model>/<variant>/seed=<seed>: cannot tell which run it is, move it "
            "to such a path or name other runs"
        ),
        without_name,
    ),
    compared(
        "runs of different budgets",
        (
            "runs on digits that differ in budget cannot share a table: 'images=64' in "
            "<runs>/seed=0, 'images=128' in <runs>/seed=1; name the runs to compare, as in "
            "python -m bench.compare <runs>/seed=1, or split the tables with --allow-mixed "
            "budget, or map sizes, numbers of images and budgets with --map"
        ),
        two_budgets,
    ),
    compared(
        "an unknown field to be mixed",
        (
            "--allow-mixed budgte: there is no such field, choose from data_hash, "
            "train_images, image_shape, reference, reference_size, samples, held_out_samples, "
            "class_labels, extractors, preprocessing, metric_backend, budget, precision, device, "
            "threads, processes"
        ),
        two_budgets,
        (*COMPARED, "--allow-mixed", "budgte"),
    ),
    compared(
        "a page in another folder",
        "--page '../modes' must be a file name of letters, digits, '-' and '_'",
        two_budgets,
        (*COMPARED, "--page", "../modes"),
    ),
    compared(
        "a report rewritten all the time, `--watch 0`",
        (
            "--watch must be 5 to 3600 seconds, got '0': give another number, or none for 60 "
            "(folders of runs come before it)"
        ),
        two_budgets,
        (*COMPARED, "--watch", "0"),
    ),
    compared(
        "folders of runs after `--watch`",
        (
            "--watch must be 5 to 3600 seconds, got '<folder>/runs': give another number, or none "
            "for 60 (folders of runs come before it)"
        ),
        two_budgets,
        (*TABLES, "--watch", "{folder}/runs"),
    ),
    compared(
        "a watched report that is not wanted",
        "--watch rewrites the report again and again: leave out --no-report",
        two_budgets,
        (*COMPARED, "--watch", "--no-report"),
    ),
    compared(
        "a watched report to be uploaded",
        "--watch rewrites the report again and again: leave out --wandb",
        two_budgets,
        (*COMPARED, "--watch", "--wandb", "cats"),
    ),
    compared(
        "the explanation of columns, watched",
        "--columns compares no runs: leave out all other arguments",
        two_budgets,
        ("--columns", "--watch"),
    ),
    compared(
        "a watched report in a folder that is a file",
        "<folder>/report/report/index.html cannot be written (Not a directory): name another "
        "folder with --out",
        file("report", b"mine"),
        ("{folder}/runs", "--watch", "--out", "{folder}/report"),
    ),
    compared(
        "a server for the report, `--serve`",
        "--serve was removed: the report is one file, open it with --open",
        two_budgets,
        ("{folder}/runs", "--serve", "8000"),
    ),
    compared(
        "an argument beside `--columns`",
        "--columns compares no runs: leave out all other arguments",
        two_budgets,
        ("--columns", "{folder}/runs"),
    ),
    compared(
        "a report to open that is left out",
        "--open shows the report: leave out --no-report",
        two_budgets,
        ("{folder}/runs", "--open", "--no-report"),
    ),
)

AREAS = {
    "Runs to resume": RESUMED,
    "Runs to export": EXPORT,
    "Runs to compare": COMPARE,
}
