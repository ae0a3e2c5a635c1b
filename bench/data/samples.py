"""Reader of samples of other systems: folders and zips of images, NumPy files."""

import io
import logging
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from torch import Tensor

from bench.data.archive import UNREADABLE, Tree, open_tree
from bench.data.cache import BROKEN_NPZ
from bench.data.dataset import Split, content_hash, gather, kind_of
from bench.data.decode import decode_into
from bench.data.layout import image_names
from bench.data.sample_files import ADM_KEY
from bench.data.survey import Wanted, settle
from bench.runtime.memory import available_bytes
from models.stored import Stored

_LOGGER = logging.getLogger(__name__)
_SETTING = "model.path"
_JPEG = b"\xff\xd8\xff"
"""First bytes of every JPEG."""

_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""The luminance quantisation table of quality 50 (ITU-T T.81, Table K.1)."""

_DAMAGE = (*UNREADABLE, *BROKEN_NPZ)
_MIB = 1 << 20


def read_samples(shape: tuple[int, ...], *, path: str | None) -> Stored:
    """Read samples of one shape, in the order in which torch-fidelity's command reads them.

    - A folder or zip of images, at any depth: by name, as strings are sorted (10.png before
      2.png). Images are decoded like data sets (`decode_image`): grey and colour are converted,
      sizes are not. 16-bit images span 0 to 65535; if fewer bits would hold all of them, they are
      refused.
    - .npz: the array `arr_0` (ADM's files; labels beside it are ignored), else the only array of
      the right shape; .npy. Images are uint8 (N, H, W, C), (N, C, H, W) or grey (N, H, W), the
      first that fits. Points are floating-point (N, D), in the units of the stored data.

    No code in a file is executed.

    Args:
        shape: shape of one sample: (C, H, W) of images, (C, L) of signals, (D,) of points.
        path: the file or folder.

    Raises:
        FileNotFoundError: there is nothing at path.
        ValueError: the samples are damaged or have another shape; the message says what to save.
    """
    if path is None:
        raise ValueError(
            f"model=samples needs {_SETTING}=<a folder or zip of images, an .npz or an .npy file>"
        )
    if Path(path).suffix.lower() in (".npz", ".npy"):
        samples = _check(_read_array(Path(path).expanduser(), shape), shape, path)
    else:
        samples = _read_images(path, shape)
    samples_hash = content_hash(Split(samples))
    _LOGGER.info("%s=%s: %d samples, hash %s", _SETTING, path, len(samples), samples_hash)

    # A plain function, as in `Dataset.spec`: a deep copy of a model shares it.
    def gather_stored(indices: Tensor) -> Tensor:
        return gather(samples, indices.detach().cpu().numpy())

    return Stored(gather_stored, len(samples), samples_hash)


def _read_images(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Decode all images of a folder or zip, (N, C, H, W) uint8.

    Raises:
        ValueError: the data set holds no images, or 16-bit images would be dark.
    """
    if len(shape) != 3:
        raise ValueError(
            f"{_SETTING}={path}: the data set holds {kind_of(shape)}, not images: give an .npz or "
            f".npy file of float32 {_wanted(shape)}"
        )
    with open_tree(path, _SETTING) as tree:
        names = image_names(tree)
        _check_memory(path, len(names) * math.prod(shape))
        images = np.empty((len(names), *shape), np.uint8)
        target, _ = settle(tree, names, Wanted(shape[0], image_size=None, resize=False))
        if target.bits < 16:
            raise ValueError(
                f"{tree} has 16-bit images without a value above {2**target.bits - 1}: they would "
                "be dark, save them with 8 bits"
            )
        decode_into(
            tree, [(images, names)], target, "save them in that size (resizing changes every score)"
        )
        _warn_of_jpegs(tree, names)
    return images


def _is_jpeg(tree: Tree, name: str) -> bool:
    """Whether a file starts with the JPEG signature, whatever its name."""
    with tree.open(name) as file:
        return file.read(len(_JPEG)) == _JPEG


def _warn_of_jpegs(tree: Tree, names: Sequence[str]) -> None:
    """Warn once that images are stored with lossy compression, whatever their suffixes."""
    jpegs = [name for name in names if _is_jpeg(tree, name)]
    if jpegs:
        _LOGGER.warning(
            "%s: %d of %d images are JPEGs (the first of %s): compression is hardly visible "
            "but changes scores, save samples as PNG (docs/protocol.md has measurements)",
            tree,
            len(jpegs),
            len(names),
            _compression(tree.read(jpegs[0])),
        )


def _compression(data: bytes) -> str:
    """How a JPEG was compressed: "quality about 75, chroma at half resolution"."""
    with Image.open(io.BytesIO(data)) as image:
        tables = getattr(image, "quantization", {})
        sampling = get_sampling(image)
    chroma = ", chroma at half resolution" if sampling in (1, 2) else ""
    return f"quality about {_quality(tables[0])}{chroma}" if 0 in tables else "unknown quality"


def _quality(table: Sequence[int]) -> int:
    """The quality in 1..100 whose luminance table, scaled as in libjpeg, is closest to `table`."""
    standard = sorted(_LUMINANCE)

    def distance(quality: int) -> int:
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        scaled = [min(max((value * scale + 50) // 100, 1), 255) for value in standard]
        return sum(abs(a - b) for a, b in zip(scaled, sorted(table), strict=True))

    return min(range(100, 0, -1), key=distance)


def _read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a .npy file, memory-mapped, or the samples of an .npz file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{_SETTING}={path}: there is no such file, give a folder or zip of images, an .npz or "
            "an .npy"
        )
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            _check_archive(path, [ADM_KEY] if ADM_KEY in archive.files else archive.files)
            if ADM_KEY in archive.files:
                return archive[ADM_KEY]
            arrays = {name: archive[name] for name in archive.files}
    except _TooLargeError:
        raise
    except _DAMAGE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{_SETTING}={path} is not a whole file of plain arrays ({reason}): write it again "
            "with numpy.savez or numpy.save"
        ) from error
    fitting = [array for array in arrays.values() if _is_shaped(array, shape)]
    if len(fitting) != 1:
        raise ValueError(
            f"{_SETTING}={path} holds {len(fitting)} arrays of samples of shape {_wanted(shape)} "
            f"among {sorted(arrays)}: name the one to evaluate {ADM_KEY}"
        )
    return fitting[0]


class _TooLargeError(ValueError):
    """Samples that do not fit into memory."""


def _check_archive(path: Path, names: list[str]) -> None:
    """Raise _TooLargeError if the arrays of an .npz file, unpacked, do not fit into memory."""
    with zipfile.ZipFile(path) as archive:
        members = {f"{name}.npy" for name in names} | set(names)
        sizes = [info.file_size for info in archive.infolist() if info.filename in members]
    _check_memory(path, sum(sizes))


def _check_memory(path: Path | str, needed: int) -> None:
    """Raise _TooLargeError if samples do not fit into free memory, before any is read."""
    if needed > (free := available_bytes()):
        raise _TooLargeError(
            f"{_SETTING}={path} holds samples of {needed / _MIB:,.1f} MiB and {free / _MIB:,.1f} "
            "MiB of memory are free: give fewer, or an .npy file, which is read where it lies"
        )


def _check(array: np.ndarray, shape: tuple[int, ...], path: str) -> np.ndarray:
    """Return images as (N, C, H, W) uint8, points as float32, signals as float32 or float64.

    Raises:
        ValueError: the array has other values or another shape.
    """
    where = f"{_SETTING}={path}"
    if len(shape) == 3 and array.dtype != np.uint8:
        raise ValueError(f"{where} holds {array.dtype} values: save images as uint8 in 0..255")
    if len(shape) != 3 and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{where} holds {array.dtype} values: save {kind_of(shape)} as float32")
    if not _is_shaped(array, shape):
        raise ValueError(
            f"{where} is of shape {array.shape}, the data set needs {_wanted(shape)}: save samples "
            "of that shape (nothing is resized or converted here, since that changes every score)"
        )
    if not len(array):
        raise ValueError(
            f"{where} holds no samples: its shape is {array.shape}, write it again with samples"
        )
    if len(shape) == 3:
        return _channels_first(array, shape)
    wide = len(shape) == 2 and array.dtype.itemsize > 4  # scaled before they are rounded
    values = array.astype(np.float64 if wide else np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{where} holds {kind_of(shape)} that are not finite: remove them")
    return values


def _is_shaped(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    return array.ndim > 1 and array.shape[1:] in _layouts(shape)


def _layouts(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Accepted storage shapes of one sample, the preferred one first."""
    if len(shape) != 3:
        return [shape]
    channels, height, width = shape
    return [(height, width, channels), shape, *([(height, width)] if channels == 1 else [])]


def _wanted(shape: tuple[int, ...]) -> str:
    return " or ".join(f"(N, {', '.join(map(str, layout))})" for layout in _layouts(shape))


def _channels_first(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """View an array of one of the `_layouts` as (N, C, H, W)."""
    channels, height, width = shape
    if array.shape[1:] == (height, width, channels):
        return array.transpose(0, 3, 1, 2)
    return array.reshape(len(array), *shape)
