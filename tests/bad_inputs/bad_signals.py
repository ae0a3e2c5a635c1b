"""Bad data sets of signals."""

import numpy as np
from bad_case import Case
from bad_files import file, npz

SIGNALS = ("dataset=signals", "dataset.path={folder}/x.npz", "model=dcgan_small")
WAVES = np.sin(np.arange(40 * 2 * 24.0)).reshape(40, 2, 24).astype(np.float32)


def with_value(value: float, *at: int) -> np.ndarray:
    """The waves with a value at these signals, in the second channel."""
    x = WAVES.copy()
    x[list(at), 1, 3] = value
    return x


OF_ONES_OWN = (
    Case(
        "no path",
        "dataset.path=null: set it to an .npz file with x, an array (N, C, L) of signals",
        ("dataset=signals", "model=dcgan_small"),
    ),
    Case(
        "a path that does not exist",
        "dataset.path=<folder>/x.npz: there is no such file, give an .npz file with x",
        SIGNALS,
    ),
    Case(
        "a file that is no .npz",
        "dataset.path=<folder>/x.npz is not a whole file of plain arrays (File is not a zip file): "
        "give signals equal lengths, and write them again with numpy.savez",
        SIGNALS,
        file("x.npz", b"1,2,3"),
    ),
    Case(
        "signals of unequal length",
        "dataset.path=<folder>/x.npz is not a whole file of plain arrays (it holds Python objects, "
        "as signals of unequal length become): give signals equal lengths, and write them again "
        "with numpy.savez",
        SIGNALS,
        npz("x.npz", x=np.array([[list(range(9))], [list(range(8))]], dtype=object)),
    ),
    Case(
        "no array named x",
        "dataset.path=<folder>/x.npz holds ['signals'], but no x: name the array of signals x",
        SIGNALS,
        npz("x.npz", signals=WAVES),
    ),
    Case(
        "signals without an axis for channels",
        "dataset.path=<folder>/x.npz holds x of shape (40, 24): give signals as (N, C, L) (add an "
        "axis for a single channel: x[:, None])",
        SIGNALS,
        npz("x.npz", x=WAVES[:, 0]),
    ),
    Case(
        "an array of rank 4",
        "dataset.path=<folder>/x.npz holds x of shape (40, 2, 24, 1): give signals as (N, C, L)",
        SIGNALS,
        npz("x.npz", x=WAVES[..., None]),
    ),
    Case(
        "signals of whole numbers",
        "dataset.path=<folder>/x.npz holds x of int64 values: save signals as float32",
        SIGNALS,
        npz("x.npz", x=WAVES.astype(np.int64)),
    ),
    Case(
        "a single signal",
        "dataset.path=<folder>/x.npz holds 1 signals: at least two are needed, one to train on and "
        "one to hold out",
        SIGNALS,
        npz("x.npz", x=WAVES[:1]),
    ),
    Case(
        "signals of seven values",
        "dataset.path=<folder>/x.npz holds signals of shape (2, 7): give at least one channel and "
        "8 values in each",
        SIGNALS,
        npz("x.npz", x=WAVES[..., :7]),
    ),
    Case(
        "signals with gaps",
        "dataset.path=<folder>/x.npz has 2 of 40 signals with gaps (NaN or infinite values), "
        "first: 5: fill them or leave these signals out",
        SIGNALS,
        npz("x.npz", x=with_value(np.nan, 5, 9)),
    ),
    Case(
        "an infinite value",
        "dataset.path=<folder>/x.npz has 1 of 40 signals with gaps (NaN or infinite values), "
        "first: 3: fill them or leave these signals out",
        SIGNALS,
        npz("x.npz", x=with_value(np.inf, 3)),
    ),
    Case(
        "a constant channel",
        "dataset.path=<folder>/x.npz has 1 constant channels, first: 1, which is 2 in every "
        "signal: leave them out",
        SIGNALS,
        npz("x.npz", x=np.stack([WAVES[:, 0], np.full((40, 24), 2.0, np.float32)], 1)),
    ),
    Case(
        "a channel whose range is not finite",
        "dataset.path=<folder>/x.npz has 1 channels that cannot be scaled to [-1, 1] in finite "
        "numbers, first: 1, whose values are from -1e+308 to 1e+308: scale the signals or leave "
        "out those that are far off",
        SIGNALS,
        npz("x.npz", x=np.stack([WAVES[:, 0], 1e308 * (-1.0) ** np.indices((40, 24))[1]], 1)),
    ),
    Case(
        "an augmentation for signals",
        "data_shape must be (C, H, W) for an augmentation, which transforms images, got (2, 24): "
        "leave model.build.augmentation out",
        (*SIGNALS[:2], "model=edm_augment_small"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "labels of fewer signals",
        "dataset.path=<folder>/x.npz holds 40 signals and y of shape (39,): give one label per "
        "signal, (40,)",
        SIGNALS,
        npz("x.npz", x=WAVES, y=np.arange(39)),
    ),
    Case(
        "labels that are no whole numbers",
        "dataset.path=<folder>/x.npz holds y of float64 values: save labels as whole numbers",
        SIGNALS,
        npz("x.npz", x=WAVES, y=np.zeros(40)),
    ),
    Case(
        "signals that shall be mirrored",
        "dataset.flip=true: signals holds signals, which are not mirrored: set it to false",
        (*SIGNALS, "dataset.flip=true"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "an extractor of images",
        "evaluator.extractor=inception sees images, but signals has signals: set "
        "evaluator.extractor=patches",
        (*SIGNALS, "evaluator.extractor=inception"),
        npz("x.npz", x=WAVES, y=np.zeros(40, int)),
    ),
    Case(
        "unlabelled signals, for the domain extractor",
        "signals has no class labels, so it has no domain classifier: choose "
        "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0",
        (*SIGNALS, "evaluator.extractor=domain"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "unlabelled signals, for a class-conditional model",
        "a conditional diffusion model needs class labels, and this data has none: choose an "
        "unconditional model, or give labels: of images one sub-folder per class, of signals y",
        ("dataset=signals", "dataset.path={folder}/x.npz", "model=cond_ddpm_small"),
        npz("x.npz", x=WAVES),
    ),
    Case(
        "a network for images",
        "data_shape must be (C, H, W) with H and W at least 8, since the networks halve them, got "
        "(2, 24): choose another model, or larger images",
        ("dataset=signals", "dataset.path={folder}/x.npz", "model=r3gan_small"),
        npz("x.npz", x=WAVES),
    ),
)

AREAS = {"Data: signals": OF_ONES_OWN}
