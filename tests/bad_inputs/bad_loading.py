"""Bad arguments of `bench.load` and of `sample`, and runs that cannot be loaded."""

import shutil

from bad_case import Case, nothing
from bad_files import Prepare
from spoiled_runs import no_change, with_config, with_data, with_latent_dim, with_status

RUN = "digits/mlp_gan/<variant>/seed=0"


def loading(given: str, said: str, options: str = "", spoil: Prepare = no_change) -> Case:
    """A run that is not loaded; options of `load` in YAML."""
    return Case(given, said, ("{run}", options), nothing, spoil, "bench.load")


def sampling(given: str, said: str, options: str) -> Case:
    """Samples that a run does not give; options of `sample` in YAML."""
    return Case(given, said, ("{run}", "", options), nothing, no_change, "bench.load")


LOADED = (
    Case(
        "a folder that is not there",
        (
            "<folder>/none is not a run directory, it has no config.yaml: name one such as "
            "results/runs/<dataset>/<model>/<variant>/seed=<seed>"
        ),
        ("{folder}/none",),
        program="bench.load",
    ),
    Case(
        "the folder of all runs",
        (
            "<folder>/results is not a run directory, it has no config.yaml: name one such as "
            "results/runs/<dataset>/<model>/<variant>/seed=<seed>"
        ),
        ("{folder}/results",),
        nothing,
        no_change,
        "bench.load",
    ),
    Case(
        "the folder of the seeds of a model",
        (
            "<folder>/results/runs/digits/mlp_gan is not a run directory, it has no config.yaml: "
            "name one of those in it, …"
        ),
        ("{folder}/results/runs/digits/mlp_gan",),
        nothing,
        no_change,
        "bench.load",
    ),
    loading(
        "a run that has not finished",
        (
            "<run> has not finished: give its command again to go on with it, or unfinished=True "
            "to take its last checkpoint"
        ),
        spoil=with_status(status="running"),
    ),
    loading(
        "a run that failed",
        (
            "<run> failed (generator: the loss is not finite at step 7): name another run, or "
            "unfinished=True to take it"
        ),
        spoil=with_status(status="failed", reason="generator: the loss is not finite at step 7"),
    ),
    loading(
        "a finished run whose checkpoints are gone",
        (
            "<run> has no checkpoint any more: run its command again with another results_root to "
            "train it"
        ),
        spoil=lambda run: shutil.rmtree(run / "checkpoints"),
    ),
    loading(
        "a damaged `status.json`",
        "<run>/status.json is not the status of a run (…",
        spoil=lambda run: (run / "status.json").write_text("{"),
    ),
    loading(
        "a damaged `data.json` in Python",
        (
            "<run>/data.json is damaged (its classes is 10): delete this file, and the data set "
            "itself is read"
        ),
        spoil=with_data(classes=10),
    ),
    loading(
        "a `config.yaml` that calls a package of somebody's own, in Python",
        (
            "<run>/config.yaml: model.build calls 'my_models.net.Net', which "
            "conf/constructors.yaml does not list: do not use this run or, if you trust that code, "
            'add trust=("my_models",)'
        ),
        spoil=with_config("models.gan.gan.GAN", "my_models.net.Net"),
    ),
    loading(
        "`trust=[os]`",
        'trust=("os",): os is a module of Python itself: name a package of your own',
        "trust: [os]",
    ),
    loading(
        "a `config.yaml` with an argument of another kind, in Python",
        (
            "<run>/config.yaml: model.build.latent_dim='many' is no value that models.gan.gan.GAN "
            "takes: do not use this run"
        ),
        spoil=with_latent_dim("many"),
    ),
    loading(
        "`device=abacus`",
        "device must be auto, cpu, cuda or cuda:N, got 'abacus'",
        "device: abacus",
    ),
    loading(
        "`device=cuda` on a machine without one, in Python",
        "device=cuda, but torch sees no CUDA device: use device=cpu",
        "device: cuda",
    ),
)

SAMPLED = (
    sampling("`sample(0)`", "n must be at least 1, got 0", "n: 0"),
    sampling("`sample(2.5)`", "n must be a whole number, got 2.5", "n: 2.5"),
    sampling("`batch_size=0`", "batch_size must be at least 1, got 0", "batch_size: 0"),
    sampling("`seed=-1`", "seed must be at least 0, got -1", "seed: -1"),
    sampling(
        "a sampler with a typing error",
        f"'generater' is no sampler of {RUN}: did you mean generator? There is generator",
        "sampler: generater",
    ),
    sampling(
        "a sampler that the model has not",
        f"'ddim-50' is no sampler of {RUN}: there is generator",
        "sampler: ddim-50",
    ),
    sampling(
        "labels for a model that is not class-conditional",
        f"{RUN} is not class-conditional: leave out labels",
        "labels: 3",
    ),
)

AREAS = {"Runs to load in Python": LOADED, "Samples to generate in Python": SAMPLED}
