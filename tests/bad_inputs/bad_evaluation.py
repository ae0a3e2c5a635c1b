"""Bad settings of the number of images, the evaluator, its extractors and their statistics."""

import shutil
from pathlib import Path

import numpy as np
from bad_case import DATA, NO_DATA, Case, setting
from bad_files import array, file, folder, npz, pngs, trapped_statistics, trapped_weights

import bench

MNIST_CLASSIFIER = Path(bench.__file__).parent / "evaluation/extractors/weights/mnist.safetensors"
INCEPTION = ("evaluator.extractor=inception", "evaluator.weights.inception={folder}/weights.pth")

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
        (*DATA, "evaluator.extractor=domain"),
        folder("data", pngs(24)),
    ),
    Case(
        "unlabelled images that cannot be decoded, for the domain extractor: refused before",
        (
            "folder has no class labels, so it has no domain classifier: choose "
            "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0"
        ),
        (*DATA, "evaluator.extractor=[patches,domain]"),
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

AREAS = {
    "Few images": FEW_IMAGES,
    "Evaluator": EVALUATOR,
    "Published statistics": PUBLISHED,
    "Extractors": EXTRACTORS,
}
