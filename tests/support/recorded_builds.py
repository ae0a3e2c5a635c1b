"""Small models as the configurations of runs record them (`model.build`)."""

GAN = {
    "_target_": "models.gan.gan.GAN",
    "_partial_": True,
    "latent_dim": 3,
    "generator": {"_target_": "models.gan.networks.dcgan.Generator", "_partial_": True, "width": 4},
    "discriminator": {
        "_target_": "models.gan.networks.dcgan.Discriminator",
        "_partial_": True,
        "width": 4,
    },
    "objective": {"_target_": "models.gan.objectives.non_saturating"},
}

DDPM = {
    "_target_": "models.diffusion.gaussian.GaussianDiffusion",
    "_partial_": True,
    "samplers": ["ddim-2"],
    "betas": {
        "_target_": "models.diffusion.schedules.linear_betas",
        "num_timesteps": 20,
        "beta_first": 1e-3,
        "beta_last": 0.2,
    },
    "network": {
        "_target_": "models.diffusion.networks.unet.UNet",
        "_partial_": True,
        "channels": 4,
        "channel_mult": [1, 1],
        "num_res_blocks": 1,
        "groups": 2,
    },
}
REAL = {"_target_": "models.stored.RealData", "_partial_": True}
