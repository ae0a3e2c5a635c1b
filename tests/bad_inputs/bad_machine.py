"""Bad settings of the machine: precision, device, threads, seed, folders, logger."""

from bad_case import setting

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

AREAS = {"Machine": MACHINE}
