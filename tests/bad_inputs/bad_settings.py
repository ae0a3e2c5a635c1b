"""Bad settings: of evaluator, extractors, training and machine."""

from bad_case import Case
from bad_files import file, folder, pngs, trapped_weights

UNLABELLED = ("dataset=folder", "dataset.path={folder}/data")
INCEPTION = ("evaluator.extractor=inception", "evaluator.weights.inception={folder}/weights.pth")


def setting(*arguments: str, said: str = "") -> Case:
    """A case whose arguments say best what it is."""
    return Case(" ".join(f"`{argument}`" for argument in arguments), said, arguments)


EVALUATOR = (
    setting("evaluator.samples=5"),
    setting("evaluator.samples=many"),
    setting("evaluator.batch_size=0"),
    setting("evaluator.cost_seconds=-1"),
    setting("evaluator.cost_seconds=.inf"),
    setting("evaluator.resamples=-1"),
    setting("model=real", "evaluator.samples=701"),
)

EXTRACTORS = (
    setting("evaluator.extractor=inceptoin"),
    setting("evaluator.extractor=[]"),
    setting("evaluator.extractor=[domain,domain]"),
    setting("evaluator.extractor=identity"),
    setting("dataset=ring8", "evaluator.extractor=inception"),
    Case("unlabelled images for the domain extractor", "", (*UNLABELLED, "evaluator.extractor=domain"), folder("data", pngs(24))),
    Case("weights for an extractor that is not used", "", ("evaluator.weights.inception={folder}/weights.pth",)),
    Case("weights that do not exist", "", INCEPTION),
    Case("text as weights of inception", "", INCEPTION, file("weights.pth", b"cat")),
    Case("a pickle as weights of inception, which would create a file", "", INCEPTION, trapped_weights),
    Case("text as weights of the domain extractor", "", ("evaluator.weights.domain={folder}/weights.safetensors",), file("weights.safetensors", b"cat")),
    Case("the domain extractor of other data", "", ("evaluator.weights.domain=bench/metrics/weights/mnist.safetensors",)),
)

TRAINING = (
    setting("budget.images=0"),
    setting("budget.seconds=-1"),
    setting("budget.seconds=.inf"),
    setting("budget.flops=.nan"),
    setting("budget.images=many"),
    setting("budget.checkpoints=0"),
    setting("budget.images=null", "budget.images_by_default=0"),
    setting("model.training.batch_size=0"),
    setting("model.training.ema_decay=1.5"),
    setting("model.training.optimizers.generator.lr=-1"),
    setting("~model.training.optimizers.generator"),
    setting("+model.build.speed=9"),
    setting("trainer.log_every=0"),
    setting("model=dcgan_small", "dataset=ring8"),
    setting("model=ddpm_mlp", "dataset=digits"),
    setting("model=ddpm_small", "model.build.ddim_steps=[2000]"),
)

MACHINE = (
    setting("precision=fp8"),
    setting("device=cuda"),
    setting("device=abacus"),
    setting("threads=0"),
    setting("seed=-1"),
    setting("seed=0.5"),
    setting("logger.wandb=sometimes"),
)

AREAS = {
    "Evaluator": EVALUATOR,
    "Extractors": EXTRACTORS,
    "Model and training": TRAINING,
    "Machine": MACHINE,
}
