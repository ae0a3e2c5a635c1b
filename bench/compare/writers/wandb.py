"""The comparison as one artifact of Weights & Biases."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.runs.wandb_mirror import in_one_line, quiet_settings

TYPE = "comparison"
"""The type of the artifact."""


def log_comparison(project: str, files: Sequence[Path], folder: Path) -> str:
    """Log files as one artifact, in a W&B run of its own; offline with WANDB_MODE=offline.

    Args:
        project: W&B project.
        files: tables, pictures and report, all below `folder`.
        folder: folder of the comparison; W&B writes to wandb/ in it.

    Returns:
        A sentence with the location of the artifact.

    Raises:
        OSError: W&B cannot be used; the files stay where they are.
    """
    run = None
    try:
        import wandb  # slow to import

        run = wandb.init(
            project=project,
            job_type=TYPE,
            name=TYPE,
            dir=folder,
            settings=quiet_settings(),
        )
        artifact = wandb.Artifact(TYPE, type=TYPE)
        for file in files:
            artifact.add_file(str(file), name=file.relative_to(folder).as_posix())
        run.log_artifact(artifact)
        offline = f"kept offline, upload it with: wandb sync {Path(run.dir).parent}"
        where = offline if run.offline else run.url
        run.finish()
        run = None
    except ModuleNotFoundError as error:
        raise OSError(
            f"--wandb needs a package that is missing ({error}): pip install wandb; the files of "
            f"the comparison are in {folder}"
        ) from error
    except Exception as error:  # W&B raises errors of many kinds, all of which mean the same here
        raise OSError(
            f"W&B did not take the comparison ({in_one_line(error)}): its files are in {folder}; "
            "log in with wandb login, or set WANDB_MODE=offline and upload with wandb sync later"
        ) from error
    finally:
        if run is not None:
            with suppress(Exception):  # the first error is reported
                run.finish()
    return f"W&B artifact {TYPE}: {where}"
