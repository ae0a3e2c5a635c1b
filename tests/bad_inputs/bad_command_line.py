"""Bad command lines, names and commands to the cache."""

import fcntl
from pathlib import Path
from typing import TextIO

from bad_case import Case, line, nothing, setting
from bad_files import Prepare, folder


def _assert_recorded(run: Path, *lines: str) -> None:
    recorded = (run / "config.yaml").read_text(encoding="utf-8").splitlines()
    assert set(lines) <= set(recorded)


COMMAND_LINE = (
    Case(
        "an unknown model",
        "model=gpt names no model: there are cgan, cgan_small, …",
        ("model=gpt",),
        own_process=True,
    ),
    line(
        "model=dcgan_smal names no model: did you mean dcgan_small? There are cgan, …",
        "model=dcgan_smal",
    ),
    line(
        "model=gan_small names no model: did you mean cgan_small or sgan_small? There are cgan, …",
        "-m",
        "model=dcgan_small,gan_small",
        "seed=0,1",
    ),
    line(
        "dataset=cifr names no dataset: did you mean cifar10? There are cifar10, digits, …",
        "dataset=cifr",
    ),
    line(
        "experiment=familes names no experiment: did you mean families? There are "
        "choose_ddpm_small, …",
        "-m",
        "experiment=quickstart,familes",
    ),
    line(
        "sweep=rael names no grid of experiment=families: did you mean real? There are real, "
        "families",
        "-m",
        "experiment=families",
        "sweep=rael",
    ),
    line(
        "--dryrun is no flag: did you mean --dry-run? There are --dry-run, …",
        "dataset=digits",
        "--dryrun",
    ),
    Case(
        "`--config-dir` with a file that is no YAML",
        "a file of --config-dir is no YAML: while parsing a flow sequence in …",
        ("--config-dir={folder}/mine", "model=my_gan"),
        folder("mine", {"model/my_gan.yaml": b"name: [my_gan\n"}),
        program="bench.cli",
    ),
    Case(
        "a launcher under torchrun",
        "hydra/launcher=joblib under torchrun: each of its processes would start every job, leave "
        "the launcher out, or torchrun",
        ("-m", "hydra/launcher=joblib", "model=mlp_gan", "seed=0,1"),
        program="bench.cli",
        environment={"WORLD_SIZE": "2"},
    ),
    line("budget=short names no budget: there is default", "budget=short"),
    line(
        "hydra/launcher=basik names no launcher: did you mean basic? There are basic, …",
        "-m",
        "hydra/launcher=basik",
    ),
    line(
        "budget.image is no setting: did you mean budget.images? budget has images, …",
        "budget.image=5",
    ),
    line(
        "trainer.log_evry is no setting: did you mean trainer.log_every? trainer has log_every, …",
        "trainer.log_evry=5",
    ),
    line(
        "model.training.bacth_size is no setting: did you mean model.training.batch_size? "
        "model.training of ddpm_small has batch_size, …",
        "-m",
        "model=ddpm_small,dcgan_small",
        "model.training.bacth_size=5,6",
    ),
    line(
        "model.training.lr_schedule is no setting: model.training of dcgan_small has batch_size, "
        "optimizers, ema_decay, clip_norm, warmup_images; +model.training.lr_schedule=… hands it "
        "to bench.training.recipe.Recipe",
        "model.training.lr_schedule=cosine",
    ),
    line(
        "batch_size is no setting: did you mean model.training.batch_size or "
        "evaluator.batch_size? The configuration has model, …",
        "batch_size=5",
    ),
    line("modle is no setting: did you mean model? The configuration has …", "modle=dcgan"),
    line(
        "model.build.network is no setting: did you mean model.build.generator? model.build of "
        "dcgan_small has …",
        "~model.build.network",
    ),
    setting(
        "trainer.log_evry is no setting: did you mean log_every? There are log_every, "
        "checkpoint_seconds, compile, accumulate, keep",
        "+trainer.log_evry=5",
    ),
    setting(
        "model.foo is no setting, and no setting interpolates it: leave it out", "+model.foo=3"
    ),
    setting(
        "dataset.fold is no setting, and no setting interpolates it: leave it out",
        "++dataset.fold.size=3",
    ),
    setting(
        "model.trainig is no setting, and no setting interpolates it: did you mean model.training?",
        "+model.trainig.batch_size=3",
    ),
    setting(
        "sample is no setting, and no setting interpolates it: did you mean evaluator.samples "
        "or dataset.samples?",
        "+sample=500",
    ),
    setting(
        "devise is no setting, and no setting interpolates it: did you mean device?",
        "+devise=cpu",
    ),
    setting("foo is no setting, and no setting interpolates it: leave it out", "+foo=3"),
    Case(
        "a setting of one's own that others interpolate, one through another",
        "accepted: it is recorded with the run",
        ("+size=10", "+sizes.samples=${{size}}", "evaluator.samples=${{sizes.samples}}"),
        check=lambda run: _assert_recorded(run, "size: 10", "  samples: 10"),
    ),
    Case(
        "a path with an unquoted `=` in it",
        (
            "mismatched input '=' expecting <EOF> See "
            "https://hydra.cc/docs/1.2/advanced/override_grammar/basic for details …"
        ),
        ("model=samples", "model.path=seed=0/samples.npz"),
        exit_code=1,
        own_process=True,
    ),
    Case(
        "a bad value, in a process of its own",
        "evaluator.samples must be at least 10, got 5",
        ("evaluator.samples=5",),
        own_process=True,
    ),
)
RULE = "1 to 100 printable characters, without / and \\ and with no dot as the first"
"""What a name must be."""

NAMES = (
    *(
        setting(f"dataset.name must be {RULE}, got {name!r}", f"dataset.name={name}")
        for name in ("../../x", "a/b", "..", ".hidden")
    ),
    Case("an empty name", f"model.name must be {RULE}, got ''", ("model.name=''",)),
    Case(
        "a name of 250 letters",
        f"dataset.name must be {RULE}, got …",
        (f"dataset.name={250 * 'a'}",),
    ),
    Case(
        "a name with a line end",
        f"dataset.name must be {RULE}, got 'a\\nb'",
        ("dataset.name='a\nb'",),
    ),
    setting(f"dataset.load.name must be {RULE}, got '../x'", "dataset.load.name=../x"),
    setting(
        "dataset.name must be text, got 2024: quote it, as in 'dataset.name=\"2024\"'",
        "dataset.name=2024",
    ),
)
_held: list[TextIO] = []


def _cache(root: Path) -> None:
    """A cache with a classifier of "cats"."""
    name = f"cats-{16 * 'a'}-{8 * 'b'}.safetensors"
    folder("cache", {f"classifiers/{name}": b"cat", f"names/{16 * 'a'}": b"cats"})(root)


def _cache_in_use(root: Path) -> None:
    """The same while a process decodes images; the lock is held until the tests end."""
    _cache(root)
    _held.append((root / "cache" / f".{24 * 'c'}.bench-lock").open("w"))
    fcntl.flock(_held[-1], fcntl.LOCK_EX)


def cached(given: str, said: str, *arguments: str, prepare: Prepare = _cache) -> Case:
    """A case of `python -m bench.cache`."""
    place = ("--cache-root={folder}/cache",)
    return Case(given, said, (*place, *arguments), prepare, program="bench.cache")


CACHE = (
    cached(
        "`bench.cache --clear` while a run decodes images",
        f"<folder>/cache is being filled by another process (.{24 * 'c'}.bench-lock is locked): "
        "give the command again when it is done, nothing was removed",
        "--clear",
        prepare=_cache_in_use,
    ),
    cached(
        "`bench.cache --clear cast`",
        "--clear cast names no cached data set: did you mean cats? There is cats",
        "--clear",
        "cast",
    ),
    cached(
        "`bench.cache --clear` of an empty cache",
        "--clear cats names no cached data set: the cache is empty",
        "--clear",
        "cats",
        prepare=nothing,
    ),
    cached(
        "`bench.cache --older-than 3`",
        "--older-than says what to remove: give --clear, too",
        "--older-than=3",
    ),
    cached(
        "`bench.cache --clear --older-than -3`",
        "--older-than must not be negative, got -3",
        "--older-than=-3",
        "--clear",
    ),
)

AREAS = {"Command line": COMMAND_LINE, "Cache": CACHE, "Names": NAMES}
