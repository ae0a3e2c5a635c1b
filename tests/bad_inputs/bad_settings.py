"""Bad settings of evaluator, extractors, training and machine."""

import fcntl
import shutil
from pathlib import Path
from typing import TextIO

import numpy as np
from bad_case import Case, nothing
from bad_files import Prepare, array, file, folder, npz, pngs, trapped_statistics, trapped_weights

import bench
from bench.runs.directory import RunDirectory, Status
from bench.schema import eval_columns

MNIST_CLASSIFIER = Path(bench.__file__).parent / "evaluation/extractors/weights/mnist.safetensors"
NO_DATA = "dataset.path=nowhere"
"""An override that is refused where the data is read: what is refused before it reads none."""
AUGMENTED = "+model.build.augmentation={{{{_target_: {}}}}}"
"""An augmentation by its name; braces are doubled, since arguments are formatted once more."""

DIFF_AUGMENT = "models.gan.augmentation.DiffAugment"
GEOMETRIC = AUGMENTED.format("models.diffusion.augmentation.GeometricAugmentation")
UNLABELLED = ("dataset=folder", "dataset.path={folder}/data")
INCEPTION = ("evaluator.extractor=inception", "evaluator.weights.inception={folder}/weights.pth")


def setting(said: str, *arguments: str) -> Case:
    """A case whose arguments say best what it is."""
    return Case(" ".join(f"`{argument}`" for argument in arguments), said, arguments)


def line(said: str, *arguments: str) -> Case:
    """The same of a command line that is refused before any job of it starts."""
    given = " ".join(f"`{argument}`" for argument in arguments)
    return Case(given, said, arguments, program="bench.cli")


def _assert_recorded(run: Path, *lines: str) -> None:
    recorded = (run / "config.yaml").read_text(encoding="utf-8").splitlines()
    assert set(lines) <= set(recorded)


FEW_IMAGES = (
    setting("dataset.train_images must be at least 2, got 0", "dataset.train_images=0"),
    setting(
        "dataset.train_images must be a whole number or null, got 'half'",
        "dataset.train_images=half",
    ),
    setting(
        "dataset.train_images=20 is less than one batch of mlp_gan: set it to at least 64, or "
        "model.training.batch_size to at most 20",
        "dataset.train_images=20",
    ),
    setting(
        "dataset.train_images=2000, but digits has 1097 training images: set it to at most 1097, "
        "or to null for all",
        "dataset.train_images=2000",
    ),
)

EVALUATOR = (
    setting("evaluator.samples must be at least 10, got 5", "evaluator.samples=5"),
    setting(
        "evaluator.samples must be a whole number or null, got 'many'", "evaluator.samples=many"
    ),
    setting(
        "evaluator.samples must be a whole number or null, got 1000000000.0: write 1000000000",
        "evaluator.samples=1e9",
    ),
    setting(
        "evaluator.samples=1000000000000 would take at least 953674 GiB of memory, 1024 bytes for "
        "one with its scores, and there are …",
        "evaluator.samples=1000000000000",
    ),
    setting(
        "evaluator.resamples=1000000 would take hours and make no interval better: set it to at "
        "most 100000",
        "evaluator.resamples=1000000",
    ),
    setting("evaluator.batch_size must be at least 1, got 0", "evaluator.batch_size=0"),
    setting(
        "evaluator.further_reference must be at least 100, got 9", "evaluator.further_reference=9"
    ),
    setting(
        "evaluator.cost_seconds=1000000000.0 is the time spent on timing each sampler: set it to "
        "at most 3600",
        "evaluator.cost_seconds=1e9",
    ),
    setting(
        "evaluator.cost_seconds=inf is the time spent on timing each sampler: set it to at most "
        "3600",
        "evaluator.cost_seconds=inf",
    ),
    setting("evaluator.cost_seconds must not be negative, got -1", "evaluator.cost_seconds=-1"),
    setting("evaluator.resamples must not be negative, got -1", "evaluator.resamples=-1"),
    setting(
        "evaluator.class_labels must be data or uniform, got 'equal'",
        "evaluator.class_labels=equal",
    ),
    setting(
        "evaluator.class_labels must be data or uniform, got None", "evaluator.class_labels=null"
    ),
    setting(
        "label_classes must be data or uniform, got 'equal'",
        "model=sgan_small",
        "model.build.label_classes=equal",
    ),
    setting(
        "evaluator.samples=701, but held-out holds 700: set evaluator.samples to at most 700",
        "model=real",
        "evaluator.samples=701",
    ),
)

EXTRACTORS = (
    setting(
        "evaluator.extractor names no extractor by 'inceptoin': did you mean inception? There …",
        "evaluator.extractor=inceptoin",
    ),
    setting(
        "evaluator.extractor names no extractor by 'inceptoin': did you mean inception? There …",
        "evaluator.extractor=[domain,inceptoin]",
        NO_DATA,
    ),
    setting(
        "evaluator.extractor names no extractor by 7: there are clip-rn101, clip-rn50, …",
        "evaluator.extractor=[domain,7]",
        NO_DATA,
    ),
    setting(
        "evaluator.extractor names no extractor by ['domain']: did you mean domain? There are …",
        "evaluator.extractor=[[domain]]",
        NO_DATA,
    ),
    setting(
        "evaluator.extractor must name extractors once each, got ['domain', 'domain']",
        "evaluator.extractor=[domain,domain]",
        NO_DATA,
    ),
    setting(
        "evaluator.extractor=['identity', 'domain'] is for points and for images, and no data set "
        "has both: leave out identity, or all others",
        "evaluator.extractor=[identity,domain]",
        NO_DATA,
    ),
    setting(
        "evaluator.weights names no extractor by 'inceptoin': did you mean inception? There …",
        "+evaluator.weights.inceptoin=x",
        NO_DATA,
    ),
    setting(
        "evaluator.weights.inception=x: there is no such file, give its path or null",
        "evaluator.weights.inception=x",
        NO_DATA,
    ),
    setting("evaluator.extractor must name extractors once each, got []", "evaluator.extractor=[]"),
    setting(
        (
            "evaluator.extractor=identity sees points, but digits has images: set "
            "evaluator.extractor=domain"
        ),
        "evaluator.extractor=identity",
    ),
    setting(
        (
            "evaluator.extractor=inception sees images, but ring8 has points: set "
            "evaluator.extractor=identity"
        ),
        "dataset=ring8",
        "evaluator.extractor=inception",
    ),
    Case(
        "unlabelled images for the domain extractor",
        (
            "folder has no class labels, so it has no domain classifier: choose "
            "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0"
        ),
        (*UNLABELLED, "evaluator.extractor=domain"),
        folder("data", pngs(24)),
    ),
    Case(
        "unlabelled images that cannot be decoded, for the domain extractor: refused before",
        (
            "folder has no class labels, so it has no domain classifier: choose "
            "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0"
        ),
        (*UNLABELLED, "evaluator.extractor=[patches,domain]"),
        folder("data", {f"{k:02}.png": b"cat" for k in range(24)}),
    ),
    Case(
        "weights for an extractor that is not used",
        (
            "evaluator.weights are given for ['inception'], which evaluator.extractor "
            "lacks: name the extractor there, or leave its weights out"
        ),
        ("evaluator.weights.inception={folder}/weights.pth",),
        file("weights.pth", b"cat"),
    ),
    Case(
        "weights that do not exist",
        (
            "evaluator.weights.inception=<folder>/weights.pth: there is no such file, give "
            "its path or null"
        ),
        INCEPTION,
    ),
    Case(
        "text as weights of inception",
        (
            "evaluator.weights.inception: <folder>/weights.pth is not the state dict of "
            "torch-fidelity's inception (it is damaged, or holds more than tensors); it is "
            "published at https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
            "/weights-inception-2015-12-05-6726825d.pth"
        ),
        INCEPTION,
        file("weights.pth", b"cat"),
    ),
    Case(
        "a pickle as weights of inception, which would create a file",
        (
            "evaluator.weights.inception: <folder>/weights.pth is not the state dict of "
            "torch-fidelity's inception (it is damaged, or holds more than tensors); it is "
            "published at https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
            "/weights-inception-2015-12-05-6726825d.pth"
        ),
        INCEPTION,
        trapped_weights,
    ),
    Case(
        "text as weights of the domain extractor",
        (
            "<folder>/weights.safetensors is not a domain classifier (Error while "
            "deserializing: header too small): give a file that "
            "scripts/train_classifiers.py wrote"
        ),
        ("evaluator.weights.domain={folder}/weights.safetensors",),
        file("weights.safetensors", b"cat"),
    ),
    Case(
        "the domain extractor of other data",
        (
            "evaluator.weights.domain=<folder>/weights.safetensors is not a classifier of "
            "the 10 classes of digits, shape (1, 8, 8): give one that "
            "scripts/train_classifiers.py wrote for it, or null"
        ),
        ("evaluator.weights.domain={folder}/weights.safetensors",),
        lambda root: shutil.copy(MNIST_CLASSIFIER, root / "weights.safetensors"),
    ),
)

STATISTICS = ("evaluator.reference={folder}/stats.npz",)
EYE = np.eye(64)

PUBLISHED = (
    setting(
        "evaluator.reference=x.npz: there is no such file, give an .npz file with mu and sigma, or "
        "null",
        "evaluator.reference=x.npz",
        NO_DATA,
    ),
    setting(
        "evaluator.reference must be text, a group of settings or null, got 7: quote it, as in "
        "'evaluator.reference=\"7\"'",
        "evaluator.reference=7",
    ),
    Case(
        "`evaluator.reference={inceptoin:x.npz}`",
        "evaluator.reference names no extractor by 'inceptoin': did you mean inception? There …",
        ("evaluator.reference={{inceptoin:x.npz}}", NO_DATA),
    ),
    Case(
        "`evaluator.reference={domain:7}`",
        (
            "evaluator.reference.domain must be text or null, got 7: quote it, as in "
            "'evaluator.reference.domain=\"7\"'"
        ),
        ("evaluator.reference={{domain:7}}",),
    ),
    Case(
        "text as published statistics",
        (
            "evaluator.reference=<folder>/stats.npz is no whole .npz file of plain arrays (File is "
            "not a zip file): write its mu and sigma again with numpy.savez"
        ),
        (*STATISTICS, NO_DATA),
        file("stats.npz", b"cat"),
    ),
    Case(
        "published statistics in an .npy file",
        (
            "evaluator.reference=<folder>/stats.npz is no whole .npz file of plain arrays (File is "
            "not a zip file): write its mu and sigma again with numpy.savez"
        ),
        (*STATISTICS, NO_DATA),
        lambda root: (
            array(EYE, "stats.npy")(root),
            (root / "stats.npy").rename(root / "stats.npz"),
        ),
    ),
    Case(
        "published statistics with a pickle in them, which would create a file",
        (
            "evaluator.reference=<folder>/stats.npz is no whole .npz file of plain arrays (it "
            "holds pickled objects, which are not loaded): write its mu and sigma again with "
            "numpy.savez"
        ),
        (*STATISTICS, NO_DATA),
        trapped_statistics,
    ),
    Case(
        "samples in place of published statistics",
        (
            "evaluator.reference=<folder>/stats.npz holds arr_0, but no mu and no sigma: give "
            "statistics of features, as pytorch-fid --save-stats and EDM's fid.py ref write them"
        ),
        (*STATISTICS, NO_DATA),
        npz("stats.npz", arr_0=np.zeros((3, 8, 8, 3), np.uint8)),
    ),
    Case(
        "published statistics without sigma",
        (
            "evaluator.reference=<folder>/stats.npz holds mu, but no sigma: give statistics of "
            "features, as pytorch-fid --save-stats and EDM's fid.py ref write them"
        ),
        (*STATISTICS, NO_DATA),
        npz("stats.npz", mu=EYE[0]),
    ),
    Case(
        "published statistics of shapes that do not fit each other",
        (
            "evaluator.reference=<folder>/stats.npz holds mu of shape (1, 64) and sigma of shape "
            "(64, 64): give a mean (D,) and a covariance (D, D)"
        ),
        (*STATISTICS, NO_DATA),
        npz("stats.npz", mu=EYE[:1], sigma=EYE),
    ),
    Case(
        "published statistics of whole numbers",
        "evaluator.reference=<folder>/stats.npz holds mu of int64 values: give float64",
        (*STATISTICS, NO_DATA),
        npz("stats.npz", mu=EYE[0].astype(np.int64), sigma=EYE),
    ),
    Case(
        "published statistics that are not finite",
        (
            "evaluator.reference=<folder>/stats.npz holds a sigma with values that are not finite: "
            "compute it again"
        ),
        (*STATISTICS, NO_DATA),
        npz("stats.npz", mu=EYE[0], sigma=EYE * np.nan),
    ),
    Case(
        "published statistics whose sigma is not symmetric",
        (
            "evaluator.reference=<folder>/stats.npz holds a sigma that is not symmetric, so it is "
            "no covariance: compute it again"
        ),
        (*STATISTICS, NO_DATA),
        npz("stats.npz", mu=EYE[0], sigma=EYE + 0.01 * np.eye(64, k=1)),
    ),
    Case(
        "published statistics whose sigma has a negative eigenvalue",
        (
            "evaluator.reference=<folder>/stats.npz holds a sigma with negative eigenvalues, so it "
            "is no covariance: compute it again"
        ),
        (*STATISTICS, NO_DATA),
        npz("stats.npz", mu=EYE[0], sigma=EYE - 0.02 * np.ones((64, 64))),
    ),
    Case(
        "published statistics of inception for the domain extractor",
        (
            "evaluator.reference=<folder>/stats.npz is of 2048 features, but domain has 64: name "
            "the extractor that it was made with as evaluator.extractor, or leave it out"
        ),
        STATISTICS,
        npz("stats.npz", mu=np.zeros(2048), sigma=np.eye(2048)),
    ),
    Case(
        "published statistics that fit two extractors",
        (
            "evaluator.reference=<folder>/stats.npz is of 64 features, as domain and patches have: "
            "name the one that it was made with, as in "
            "'evaluator.reference={domain:<folder>/stats.npz}'"
        ),
        (*STATISTICS, "evaluator.extractor=[domain,patches]"),
        npz("stats.npz", mu=EYE[0], sigma=EYE),
    ),
    Case(
        "published statistics for an extractor that is not used",
        (
            "evaluator.reference.inception=<folder>/stats.npz is for an extractor that "
            "evaluator.extractor lacks: name it there, or leave its statistics out"
        ),
        ("evaluator.reference={{inception:{folder}/stats.npz}}",),
        npz("stats.npz", mu=EYE[0], sigma=EYE),
    ),
)

TRAINING = (
    setting("budget.images must be positive, got 0", "budget.images=0"),
    setting("budget.seconds must be positive, got -1", "budget.seconds=-1"),
    setting("budget.seconds must be finite, got inf: null is unlimited", "budget.seconds=inf"),
    setting("budget.flops must be positive, got nan", "budget.flops=nan"),
    setting(
        "budget.images=1e+30 cannot be spent by any machine: set it to at most 1e+15",
        "budget.images=1e30",
    ),
    setting(
        f"budget.images={25 * '9'}… cannot be spent by any machine: set it to at most 1e+15",
        f"budget.images={400 * '9'}",
    ),
    setting(
        "budget.images=1e+16 cannot be spent by any machine: set it to at most 1e+15",
        "budget.images=null",
        "budget.images_by_default=1e16",
    ),
    setting(
        "budget.seconds=1000000000.0 cannot be spent by any machine: set it to at most 31622400, "
        "a year",
        "budget.images=null",
        "budget.seconds=1e9",
    ),
    setting(
        "budget.flops=1e+40 cannot be spent by any machine: set it to at most 1e+27",
        "budget.images=null",
        "budget.flops=1e40",
    ),
    setting("budget.images must be a number or null, got 'many'", "budget.images=many"),
    setting("budget.checkpoints must be at least 1, got 0", "budget.checkpoints=0"),
    setting("budget.first_point must be below 1, got 15", "budget.first_point=15"),
    setting(
        "budget.first_point=0.1 is the first of several evaluation points, and "
        "budget.checkpoints=1: set budget.checkpoints to at least 2",
        "budget.first_point=0.1",
    ),
    setting(
        "budget.first_point=0.1 puts evaluation points less than one of 2 steps apart: set it "
        "higher, or set fewer budget.checkpoints",
        "budget.first_point=0.1",
        "budget.checkpoints=2",
        "model.training.batch_size=32",
    ),
    setting(
        "budget.checkpoints=1000000000000 would evaluate the model as many times, with all its "
        "samplers: set it to at most 10000",
        "budget.checkpoints=1000000000000",
    ),
    setting(
        "budget.checkpoints=9, but 64 images in batches of 32 are 2 steps: set it to at most 2",
        "budget.checkpoints=9",
        "model.training.batch_size=32",
    ),
    setting(
        "model.training.batch_size=1000000000000 would take at least 238418 GiB of memory, 256 "
        "bytes for one sample as float32, and there are …",
        "model.training.batch_size=1000000000000",
    ),
    setting(
        "model.training.batch_size must be a whole number, got 64.0: write 64",
        "model.training.batch_size=64.0",
    ),
    setting(
        "trainer.checkpoint_seconds must not be negative, got nan", "trainer.checkpoint_seconds=nan"
    ),
    setting(
        "budget.images must be positive, got 0", "budget.images=null", "budget.images_by_default=0"
    ),
    setting("model.training.batch_size must be at least 1, got 0", "model.training.batch_size=0"),
    setting("model.training.ema_decay must be in [0, 1), got 1.5", "model.training.ema_decay=1.5"),
    setting(
        "model.training.optimizers.generator: Invalid learning rate: -1",
        "model.training.optimizers.generator.lr=-1",
    ),
    setting(
        "model.training: Recipe.__init__() got an unexpected keyword argument 'speed'",
        "+model.training.speed=9",
    ),
    setting(
        "model.training: cosine() got an unexpected keyword argument 'speed'",
        "+model.training.lr_schedule._target_=bench.training.recipe.cosine",
        "+model.training.lr_schedule.speed=9",
    ),
    setting(
        "model.training.lr_schedule.floor must be in [0, 1], got 3",
        "+model.training.lr_schedule._target_=bench.training.recipe.cosine",
        "+model.training.lr_schedule.floor=3",
    ),
    setting(
        (
            "model.training.optimizers must name the model's phases ['discriminator', "
            "'generator'], got ['discriminator']"
        ),
        "~model.training.optimizers.generator",
    ),
    setting(
        "model.build: GAN.__init__() got an unexpected keyword argument 'speed'",
        "+model.build.speed=9",
    ),
    setting("trainer.log_every must be at least 1, got 0", "trainer.log_every=0"),
    setting("trainer.keep must be last or best, got 'first'", "trainer.keep=first"),
    setting(
        "trainer.keep=best has nothing to select from with budget.checkpoints=1: set "
        "budget.checkpoints to at least 2, or trainer.keep=last",
        "trainer.keep=best",
        "dataset=folder",
        NO_DATA,
    ),
    setting(
        "trainer.keep=best selects among the evaluation points of training, but real is not "
        "trained: set trainer.keep=last for it",
        "model=real",
        "trainer.keep=best",
        "budget.checkpoints=4",
    ),
    setting("trainer.accumulate must be at least 1, got 0", "trainer.accumulate=0"),
    setting(
        "trainer.accumulate=3 does not divide model.training.batch_size=64: set it to 2 or 4",
        "trainer.accumulate=3",
    ),
    setting(
        "trainer.accumulate=2 would change the training of this model, in whose discriminator loss "
        "the gradient of a batch is not the mean over parts of the batch (as with batch norm, "
        "minibatch standard deviation, or a loss that is no mean over samples): set "
        "trainer.accumulate=1, or choose a model without these",
        "model=dcgan_small",
        "trainer.accumulate=2",
    ),
    setting(
        "trust=[os]: os is a module of Python itself: name a package of your own", "trust=[os]"
    ),
    setting("trust must be a list of packages, got 3: write trust=[my_models]", "trust=3"),
    setting(
        (
            "data_shape must be (C, H, W) with H and W at least 8, since the networks halve "
            "them, got (2,): choose another model, or larger images"
        ),
        "model=dcgan_small",
        "dataset=ring8",
    ),
    *(
        Case(
            f"an augmentation for points: {name}",
            "data_shape must be (C, H, W) for an augmentation, which transforms images, got (2,): "
            "leave model.build.augmentation out",
            (*arguments, "dataset=ring8"),
        )
        for name, *arguments in (
            ("DiffAugment", AUGMENTED.format(DIFF_AUGMENT)),
            ("ADA", AUGMENTED.format("models.gan.augmentation.AdaptiveAugment")),
            ("that of EDM", "model=edm_augment_small"),
            ("that of EDM for a flow", "model=rectified_flow_points", GEOMETRIC),
            ("that of EDM for MeanFlow", "model=meanflow_points", GEOMETRIC),
            ("that of EDM for a consistency model", "model=consistency_small", GEOMETRIC),
            ("DiffAugment for DDGAN", "model=ddgan_small", AUGMENTED.format(DIFF_AUGMENT)),
        )
    ),
    *(
        Case(
            f"ADA for an objective whose logits have no zero: {model}",
            "ADA follows the signs of logits, which have no zero in the objectives wasserstein, "
            "relativistic and least_squares with codes that are not opposite: set "
            "model.build.objective to non_saturating or hinge, or choose "
            "models.gan.augmentation.DiffAugment",
            (f"model={model}", AUGMENTED.format("models.gan.augmentation.AdaptiveAugment")),
        )
        for model in ("wgan_gp_small", "r3gan_small")
    ),
    setting(
        "policy of DiffAugment must list some of ['color', 'cutout', 'translation'], each at most "
        "once, got ['flip']",
        "model=stylegan2_diffaugment_small",
        "model.build.augmentation.policy=[flip]",
    ),
    Case(
        "an augmentation for a network that cannot be told of it",
        "the network does not take augment_dim, which a conditional model, a learned variance, an "
        "average velocity or an augmentation needs: choose UNet or DiT",
        ("model=simple_unet_small", GEOMETRIC),
    ),
    Case(
        "a penalty whose interval is 0 steps",
        "interval of a penalty must be a whole number of steps, at least 1, got 0",
        (
            "model=dcgan_r1_small",
            "model.build.regularisers=[{{_target_: models.gan.regularisers.R1, interval: 0}}]",
        ),
    ),
    Case(
        "a lazy penalty in a DDGAN",
        "interval of r1 must be 1 in a DDGAN, which adds penalties to every loss, got 16",
        (
            "model=ddgan_small",
            "model.build.regularisers=[{{_target_: models.gan.regularisers.R1, interval: 16}}]",
        ),
    ),
    setting(
        (
            "DiT: data_shape must be (C, H, W) with sides that are multiples of patch_size=4, got "
            "(3, 31, 31): choose another patch_size, or larger images"
        ),
        "model=dit_small",
        "dataset=folder",
        NO_DATA,
        "dataset.image_size=31",
    ),
    setting(
        (
            "data_shape must be (C, H, W) with H and W at least 8, since the networks halve them, "
            "got (1, 4, 4): choose another model, or larger images"
        ),
        "model=cgan_small",
        "dataset=folder",
        NO_DATA,
        "dataset.image_size=4",
        "dataset.channels=1",
    ),
    Case(
        "unlabelled images that cannot be decoded, for a class-conditional model: refused before",
        (
            "a conditional GAN needs class labels, and this data has none: choose an unconditional "
            "model, or give labels: of images one sub-folder per class, of signals y"
        ),
        ("model=cgan_small", *UNLABELLED),
        folder("data", {f"{k:02}.png": b"cat" for k in range(24)}),
    ),
    setting(
        (
            "U-Net: data_shape must be (C, H, W) or (C, L) with sides >= 4, got (2,): choose "
            "another model, or larger samples"
        ),
        "model=ddpm_small",
        "dataset=ring8",
    ),
    setting(
        "U-Net: patch_size must be at least 1, got 0",
        "model=v_diffusion_small",
        "model.build.network.patch_size=0",
    ),
    setting(
        (
            "U-Net: data_shape must be (C, H, W) or (C, L) with sides >= 10 for patch_size=3, got "
            "(1, 8, 8): choose another model, or larger samples"
        ),
        "model=v_diffusion_small",
        "model.build.network.patch_size=3",
    ),
    setting(
        "logit_normal needs a finite mean and a positive std, got 0.0, 0",
        "model=v_diffusion_small",
        "model.build.timesteps.std=0",
    ),
    setting(
        "model.training.optimizers.denoiser: Invalid momentum: 1, it must be in [0, 1)",
        "model=v_diffusion_small",
        "+model.training.optimizers.denoiser.momentum=1",
    ),
    setting(
        (
            "model.training.optimizers.generator: Adam.__init__() got an unexpected keyword "
            "argument 'speed'"
        ),
        "+model.training.optimizers.generator.speed=9",
    ),
    setting(
        "samplers: ddim-2000 needs as many timesteps as steps, and the model has 1000: take at "
        "most 1000 steps",
        "model=ddpm_small",
        "model.build.samplers=[ddim-2000]",
    ),
    setting(
        "samplers: 'plms-20' is not <method>-<steps>…",
        "model=ddpm_small",
        "model.build.samplers=[plms-20]",
    ),
    setting(
        "samplers: euler-20 needs noise levels on a straight line from noise to data, such as "
        "those of rectified_flow, got alpha 1 and sigma 80 at the first: ddim is Euler's method on "
        "any other path",
        "model=edm_small",
        "model.build.samplers=[euler-20]",
    ),
    setting(
        "samplers: meanflow-2 needs a model that predicts average velocities, such as meanflow, "
        "got one that predicts at single noise levels: choose euler, heun, ddim or dpmpp",
        "model=rectified_flow_small",
        "model.build.samplers=[meanflow-2]",
    ),
    setting(
        "samplers: heun-9-churn3 needs noise levels whose alphas are all 1, such as those of "
        "karras_path, got alpha 0 and sigma 1 at the first: leave out -churn, without which heun "
        "follows any path",
        "model=rectified_flow_small",
        "model.build.samplers=[heun-9-churn3]",
    ),
    setting(
        "samplers: ddim-10-uniform chooses among timesteps, and a flow has noise levels instead: "
        "leave out -uniform",
        "model=rectified_flow_small",
        "model.build.samplers=[ddim-10-uniform]",
    ),
    setting(
        "of_four must be 0, 1, 2, 3 or 4, got 0.25",
        "model=meanflow_small",
        "model.build.of_four=0.25",
    ),
    setting(
        "power of the adaptive weight must be in [0, 1], got 2",
        "model=meanflow_small",
        "model.build.power=2",
    ),
    setting(
        "logit_normal needs a finite mean and a positive std, got 0.0, 0",
        "model=rectified_flow_small",
        "model.build.times.std=0",
    ),
    setting(
        "samplers: ddim-50-cfg3 is guided, which needs a conditional model: leave out -cfg, or "
        "choose a class-conditional model such as cond_ddpm or cond_edm",
        "model=ddpm_small",
        "model.build.samplers=[ddim-50-cfg3]",
    ),
    setting(
        "samplers: heun-9-cfg2 is guided, which needs a conditional model: leave out -cfg, or "
        "choose a class-conditional model such as cond_ddpm or cond_edm",
        "model=edm_small",
        "model.build.samplers=[heun-9-cfg2]",
    ),
    setting(
        "samplers: ddim-10-uniform chooses among timesteps, and EDM has noise levels instead: "
        "leave out -uniform",
        "model=edm_small",
        "model.build.samplers=[ddim-10-uniform]",
    ),
    setting(
        "samplers: ddim-10 needs noise levels that begin with more noise than signal, since it "
        "starts from pure noise, got alpha 0.950652 and sigma 0.310259 at the first: take more "
        "timesteps or larger betas",
        "model=ddpm_small",
        "model.build.betas.num_timesteps=10",
        "model.build.samplers=[ddim-10]",
    ),
    setting(
        "samplers: ddim-1-uniform needs noise levels that begin with more noise than signal, since "
        "it starts from pure noise, got alpha 0.99995 and sigma 0.01 at the first: take more "
        "steps, or leave out -uniform",
        "model=ddpm_small",
        "model.build.samplers=[ddim-1-uniform]",
    ),
    setting(
        "samplers: heun-9 needs noise levels that begin with more noise than signal, since it "
        "starts from pure noise, got alpha 1 and sigma 0.5 at the first: take a larger sigma_max",
        "model=edm_small",
        "+model.build.sigma_max=0.5",
        "model.build.samplers=[heun-9]",
    ),
    setting(
        "samplers: 'ddim-10' is not consistency-<steps>, such as consistency-1, and consistency "
        "models have no other samplers",
        "model=consistency_small",
        "model.build.samplers=[ddim-10]",
    ),
    setting(
        "samplers: consistency-3 needs 2 noise levels between its steps, and model.build.between "
        "has 1: add levels there, or take at most 2",
        "model=consistency_small",
        "model.build.samplers=[consistency-3]",
    ),
    setting(
        "discretisation must be the numbers of its steps at the start and at the end of "
        "training, the second one the first times a power of two, got [10, 100]",
        "model=consistency_small",
        "model.build.discretisation=[10,100]",
    ),
    setting(
        "between must be noise levels from sigma_max=80 down to sigma_min=0.002, descending, got "
        "[100.0]",
        "model=consistency_small",
        "model.build.between=[100.0]",
    ),
    setting(
        "temperatures must be positive numbers, got [0.0]",
        "model=drifting_small",
        "model.build.temperatures=[0.0]",
    ),
    setting(
        "split must be in (0, 1), got 1.0",
        "model=drifting_small",
        "model.build.split=1.0",
    ),
    setting(
        "split must be in (0, 1), got 0.0",
        "model=one_step_small",
        "model.build.split=0.0",
    ),
    setting(
        "nowhere is not a run directory, it has no config.yaml: name one such as "
        "results/runs/<dataset>/<model>/<variant>/seed=<seed>",
        "model=one_step_small",
        "model.teacher_run=nowhere",
    ),
    setting(
        "latent_dim must be 64, the values of one sample, or null for a generator of noise of the "
        "sample's shape, got 100",
        "model=drifting",
        "+model.build.latent_dim=100",
    ),
    setting(
        "masked autoencoder: data_shape must be (C, H, W) with sides >= 16 for patch_size=4, got "
        "(1, 8, 8): choose another model, or larger images",
        "model=drifting_small",
        "model.build.features.patch_size=4",
    ),
    setting(
        "predicts must be one of ('eps', 'x_0', 'v'), got 'noise'",
        "model=ddpm_small",
        "model.build.predicts=noise",
    ),
    setting(
        "betas must satisfy 0 < beta_first <= beta_last < 1, got 0.0001, 2",
        "model=ddpm_small",
        "model.build.betas.beta_last=2",
    ),
    setting(
        "betas must leave a signal power that falls at every timestep and stays in (0, 1), got "
        "betas 0.9 to 0.99 with powers 0.1 to 0: choose larger betas where it stays at 1, smaller "
        "ones or fewer timesteps where it reaches 0",
        "model=ddpm_small",
        "model.build.betas.beta_first=0.9",
        "model.build.betas.beta_last=0.99",
    ),
    setting(
        "variance='learned' needs a positive bound_weight, which alone trains it",
        "model=ddpm_small",
        "model.build.variance=learned",
    ),
    setting(
        "nowhere/config.json does not exist: name a directory that diffusers' save_pretrained "
        "wrote",
        "model=ddpm",
        "model.pretrained=nowhere",
    ),
)

DIGITS = "47cf09e6d70eaea3"
"""Hash of the data set digits."""


def _recorded(run: Path, dataset: str, data_hash: str, train_images: str) -> None:
    """A finished run of stored samples on some data of digits' shape."""
    build = {"_target_": "models.stored.RealData", "_partial_": True}
    model = {"name": "real", "build": build}
    row = {"checkpoint": 1, "sampler": "held-out", "weights": "raw", "image_shape": "1x8x8"}
    with RunDirectory(run) as records:
        records.write_config({"model": model, "dataset": {"name": dataset}, "data_hash": data_hash})
        records.append_eval([row | {"train_images": train_images}], eval_columns(("domain",)))
        records.write_status(Status("finished", step=1))


def _run_on(dataset: str, data_hash: str, train_images: str = "all") -> Prepare:
    """A run on this data, and one on all images of digits."""

    def prepare(root: Path) -> None:
        _recorded(root / "other", dataset, data_hash, train_images)
        _recorded(root / "digits", "digits", DIGITS, "all")

    return prepare


_PARTS = {
    "`model.teacher_run` of `one_step`": (
        "model=one_step_small",
        "model.teacher_run={folder}/other",
    ),
    "`model.draft_run` of `hybrid`": (
        "model=hybrid_small",
        "model.draft_run={folder}/other",
        "model.refine_run={folder}/digits",
    ),
    "`model.refine_run` of `hybrid`": (
        "model=hybrid_small",
        "model.draft_run={folder}/digits",
        "model.refine_run={folder}/other",
    ),
}

OTHER_RUNS = (
    *(
        Case(
            f"{what}: a run on other data",
            "<folder>/other was trained on other data: its dataset.name=faces had the hash "
            f"0123456789abcdef, and dataset.name=digits has the hash {DIGITS}: name a run on this "
            "data, or choose the data of that run",
            arguments,
            prepare=_run_on("faces", "0123456789abcdef"),
        )
        for what, arguments in _PARTS.items()
    ),
    *(
        Case(
            f"{what}: a run on a part of the training images",
            "<folder>/other was trained with dataset.train_images=100, and here it is null: set "
            "dataset.train_images=100, or name a run with null",
            arguments,
            prepare=_run_on("digits", DIGITS, train_images="100"),
        )
        for what, arguments in _PARTS.items()
    ),
)

MACHINE = (
    setting("precision must be auto, fp32 or bf16, got 'fp8'", "precision=fp8"),
    setting("device=cuda, but torch sees no CUDA device: use device=cpu", "device=cuda"),
    setting("device must be auto, cpu, cuda or cuda:N, got 'abacus'", "device=abacus"),
    setting("threads must be at least 1 or null, got 0", "threads=0"),
    setting("threads must be at most 1024 or null, got 1000000: this machine…", "threads=1000000"),
    setting("seed must not be negative, got -1", "seed=-1"),
    setting(
        "seed must be at most 9223372036854775807, got 100000000000000000000",
        "seed=100000000000000000000",
    ),
    setting("seed must be a whole number, got 0.5", "seed=0.5"),
    setting("results_root must be text, got None", "results_root=null"),
    setting(
        "results_root must be text, got 2024: quote it, as in 'results_root=\"2024\"'",
        "results_root=2024",
    ),
    setting("data_root must be text, got None", "data_root=null"),
    setting("cache_root must be text or null, got [1]", "cache_root=[1]"),
    setting(
        "model.build needs more memory than is available: make the model smaller",
        "model=mlp_gan",
        "model.build.latent_dim=1000000000000",
    ),
    setting(
        "logger.wandb must be disabled, offline or online, got 'sometimes'",
        "logger.wandb=sometimes",
    ),
)

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

AREAS = {
    "Command line": COMMAND_LINE,
    "Cache": CACHE,
    "Names": NAMES,
    "Few images": FEW_IMAGES,
    "Evaluator": EVALUATOR,
    "Published statistics": PUBLISHED,
    "Extractors": EXTRACTORS,
    "Model and training": TRAINING,
    "Runs within models": OTHER_RUNS,
    "Machine": MACHINE,
}
