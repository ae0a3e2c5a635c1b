"""Mirror of a run in Weights & Biases; the CSV files of `bench.runs.directory` are the record."""

import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.config import LoggerSettings
from bench.runtime.atomic_files import write_atomically

INIT_TIMEOUT_SECONDS = 30
"""Time limit for W&B to answer, after which the run continues without it."""

FINISH_TIMEOUT_SECONDS = 120
"""Time limit of the upload of a finished run; missing files stay in the run directory."""

log = logging.getLogger(__name__)


class WandbLogger:
    """Mirror of one run in Weights & Biases; metrics stand against images seen.

    An outage never stops a run: the first failure logs one warning and turns the mirror off.

    Args:
        settings: whether and where to mirror the run.
        directory: the run directory; W&B writes into its folder wandb/.
        name: name shown for the run.
        config: resolved configuration, of plain values.
    """

    def __init__(
        self, settings: LoggerSettings, directory: Path, name: str, config: dict[str, Any]
    ) -> None:
        self._run: Any = None
        if settings.wandb == "disabled":
            return
        identity = directory / "wandb-id"  # kept, so that a resumed run goes on under it
        if not identity.exists():
            write_atomically(identity, secrets.token_hex(8))

        def start() -> None:
            import wandb  # slow to import

            run = wandb.init(
                mode=settings.wandb,
                dir=directory,
                project=settings.project,
                group=settings.group,
                name=name,
                id=identity.read_text(),
                resume="allow",
                config=config,
                reinit="finish_previous",
                settings=quiet_settings(),
            )
            run.define_metric("images")
            run.define_metric("*", step_metric="images")
            self._run = run

        self._attempt(start)

    @property
    def active(self) -> bool:
        """Whether values still reach W&B."""
        return self._run is not None

    def log(self, values: Mapping[str, float], *, images: int) -> None:
        """Mirror named scalars.

        Args:
            values: scalars by name, such as "generator/loss".
            images: real images shown to the first phase, the axis of every chart.
        """
        if self.active:
            self._attempt(lambda: self._run.log({**values, "images": images}))

    def log_image(self, name: str, path: Path, *, images: int) -> None:
        """Mirror a picture, such as a grid of samples.

        Args:
            name: its series, such as "samples/ddim-50".
            path: the picture file.
            images: real images shown to the first phase.
        """
        if not self.active:
            return

        def send() -> None:
            import wandb

            self._run.log({name: wandb.Image(str(path)), "images": images})

        self._attempt(send)

    def finish(self) -> None:
        """Close the W&B run, inside the job that opened it."""
        if self.active:
            self._attempt(lambda: self._run.finish())
            self._run = None

    def _attempt(self, action: Callable[[], None]) -> None:
        """Run an action of W&B; whatever it raises turns the mirror off."""
        try:
            action()
        except Exception as error:  # a mirror's failure of any kind must not cost the run
            self._run = None
            reason = in_one_line(error)
            if isinstance(error, ModuleNotFoundError):
                reason += " (pip install wandb, or set logger.wandb=disabled)"
            log.warning("W&B is off for the rest of this run, its CSV files go on: %s", reason)


def quiet_settings() -> Any:
    """`wandb.Settings` that print nothing, wait no longer than told, and upload nothing else."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=INIT_TIMEOUT_SECONDS,
        login_timeout=INIT_TIMEOUT_SECONDS,
        finish_timeout=FINISH_TIMEOUT_SECONDS,
        disable_code=True,
        x_disable_stats=True,
    )


def in_one_line(error: Exception) -> str:
    """An error's message, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
