"""Bad arguments of `bench.export`, and runs that cannot be exported."""

import shutil

from bad_case import Case, nothing
from bad_files import Prepare, file, folder
from spoiled_runs import (
    damage_checkpoints,
    multiplied,
    no_change,
    with_config,
    with_data,
    with_latent_dim,
    with_status,
)

EXPORTED = ("{run}", "--device", "cpu", "--out", "{folder}/out.npz")
ONNX = ("{run}", "--format", "onnx", "--out", "{folder}/out.onnx")


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

AREAS = {"Runs to export": EXPORT}
