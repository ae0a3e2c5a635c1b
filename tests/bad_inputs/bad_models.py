"""Bad settings of models and of the runs that they are made of."""

from pathlib import Path

from bad_case import DATA, NO_DATA, Case, setting
from bad_files import Prepare, folder
from bad_training import TRAINING

from bench.runs.directory import RunDirectory, Status
from bench.schema import eval_columns

AUGMENTED = "+model.build.augmentation={{{{_target_: {}}}}}"
"""An augmentation by its name; braces are doubled, since arguments are formatted once more."""

DIFF_AUGMENT = "models.gan.augmentation.DiffAugment"
GEOMETRIC = AUGMENTED.format("models.diffusion.augmentation.GeometricAugmentation")

MODELS = (
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
        ("model=cgan_small", *DATA),
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

AREAS = {"Model and training": TRAINING + MODELS, "Runs within models": OTHER_RUNS}
