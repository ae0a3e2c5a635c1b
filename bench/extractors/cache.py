"""Tensors that are expensive to compute, kept on disk under all that they depend on."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bench.files import replacing
from bench.metrics.resampling import METRICS_VERSION

log = logging.getLogger(__name__)


def cached_tensors(
    cache_dir: Path, key: tuple[object, ...], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Read tensors that were computed before, or compute and keep them.

    A damaged file is reported and made again. Processes that start together may each compute; the
    file is replaced whole.

    Args:
        cache_dir: the folder "features" in it holds the files.
        key: all that the tensors depend on, with a stable repr.
        compute: gives named CPU tensors.
    """
    digest = hashlib.sha256(repr((METRICS_VERSION, *key)).encode()).hexdigest()[:24]
    path = cache_dir / "features" / f"{digest}.safetensors"
    if path.exists():
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            log.warning("%s is damaged (%s): computing it again", path, error)
    tensors = {name: tensor.contiguous() for name, tensor in compute().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={"key": repr(key)}))
    return tensors
