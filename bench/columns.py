"""The registry of columns: all that is known of each column of eval.csv, in one row.

The order of eval.csv, tables and their headings, the values that are possible, what pages explain,
the lists in docs/protocol.md and `python -m bench.compare --columns` are read from it: a new metric
is the function that computes it and a row here.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Group = Literal[
    "identity",
    "point",
    "selection",
    "quality",
    "memorisation",
    "diversity",
    "modes",
    "perfect",
    "held-out",
    "cost",
    "watch",
    "protocol",
    "provenance",
]
"""What columns belong together; they stand together in eval.csv, in this order."""


@dataclass(frozen=True)
class Range:
    """The values that a measured column can have, both ends included; none is infinite."""

    low: float = -sys.float_info.max
    high: float = sys.float_info.max

    def __str__(self) -> str:
        if self == FINITE:
            return "finite"
        if self.high == FINITE.high:
            return f"finite and at least {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


FINITE = Range()
SHARE = Range(0, 1)
NOT_NEGATIVE = Range(0)
DIVERGENCE = Range(-1e-6)
"""Not negative but for rounding."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of eval.csv, or one for each extractor: <name>_<extractor>, such as fid_domain.

    Attributes:
        name: its name in eval.csv.
        group: the columns that it belongs to.
        title: for readers, as headings have it; empty for the name.
        unit: of the values that tables show; "×10³" stands for a factor.
        better: which direction is better; "neither" for what is not ranked.
        meaning: its explanation, in a sentence.
        ratio: whether two values are compared by their ratio, where both are positive; others by
            their difference.
        factor: from eval.csv to the unit of the tables.
        range: the values that are possible; all others have to be finite.
        tables: the tables that show it, with its place in each.
        short: its heading on a terminal, where that is shorter.
        interval: whether it has a 95 % bootstrap interval over samples at the last evaluation
            point, in <name>_low_<extractor> and <name>_high_<extractor>.
        names_extractor: whether it means little without the extractor, which its heading names.
        exact: whether it is a property of the model: shown without ± unless the seeds differ.
        training: whether it is empty for a model that is not trained.
        explained: whether pages print the meaning below the table.
        perfect: what a perfect model scores, for docs/protocol.md.
        source: of the definition, for docs/protocol.md.
        added: whether earlier versions did not write it: an eval.csv without it can be read.
        before: its text in an eval.csv without it.
        held_out: whether it compares with held-out samples, and so is empty in rows of weights that
            were selected by these.
        formerly: its name in files of earlier versions, which is read as this one.
    """

    name: str
    group: Group
    title: str = ""
    unit: str = ""
    better: Literal["lower", "higher", "neither"] = "neither"
    meaning: str = field(kw_only=True)
    ratio: bool = False
    factor: float = 1.0
    range: Range = FINITE
    tables: Mapping[str, int] = field(default_factory=dict)
    short: str = ""
    interval: bool = False
    names_extractor: bool = False
    exact: bool = False
    training: bool = False
    explained: bool = False
    perfect: str = ""
    source: str = ""
    added: bool = False
    before: str = ""
    held_out: bool = False
    formerly: str = ""

    @property
    def per_extractor(self) -> bool:
        """Whether eval.csv has it once for every extractor."""
        return self.group in ("quality", "memorisation", "diversity")

    @property
    def label(self) -> str:
        """Its name for readers."""
        return self.title or self.name

    def by_ratio(self, values: Iterable[float]) -> bool:
        """Whether these values of it are compared by ratio, since all are positive."""
        return self.ratio and all(value > 0 for value in values)


NOMINAL = "clock=nominal"  # in budget, where its seconds are counted in images at a nominal speed
ALL_IMAGES = "all"  # value of train_images where models are trained on all training images
# fmt: off
COLUMNS = (
    Column("dataset", "identity", meaning="The data set."),
    Column("model", "identity", meaning="The model, a file of conf/model."),
    Column("variant", "identity",
           meaning="Name of the run's other overrides; default if there are none."),
    Column("seed", "identity", meaning="The seed of the run."),
    Column("sampler", "identity", meaning="The sampler; its name defines it completely."),
    Column("weights", "identity",
           meaning="Weights of the evaluated model: ema (averaged) or raw, of the last evaluation "
                   "point; best of n (ema) or best of n (raw): of the one of n points whose "
                   "`validation_fid` is lowest (`trainer.keep=best`)."),

    Column("checkpoint", "point", range=Range(1), meaning="The evaluation point, from 1."),
    Column("checkpoints", "point", range=Range(1),
           meaning="Number of evaluation points of the run."),
    Column("step", "point", range=NOT_NEGATIVE, meaning="Training steps taken."),
    Column("images", "point", "samples seen", ratio=True, range=NOT_NEGATIVE, tables={"cost": 8},
           training=True, meaning="Samples seen by the first training phase."),
    Column("train_seconds", "point", "training", "s", ratio=True, range=NOT_NEGATIVE,
           tables={"quality": 13, "cost": 7}, short="train s", training=True,
           meaning="Seconds of training, without evaluation; with `budget.images_per_second` "
                   "nominal ones, images over that speed."),
    Column("train_flops", "point", ratio=True, range=NOT_NEGATIVE,
           meaning="Floating-point operations of training: matrix, matrix-vector and inner "
                   "products, convolutions and distances."),
    Column("train_cpu_seconds", "point", range=NOT_NEGATIVE, training=True, added=True,
           meaning="CPU seconds of training, over all threads and processes."),
    Column("train_waiting_seconds", "point", "waiting for a core", "s", range=NOT_NEGATIVE,
           tables={"cost": 12}, short="waiting s", training=True, added=True,
           meaning="Seconds of training in which threads could have run, but had no core: a sum "
                   "over threads, of the process that waited most; empty where the system does "
                   "not count them."),

    Column("validation_fid", "selection", range=Range(-0.01), added=True,
           meaning="With `trainer.keep=best`: FID (first extractor) of other samples of the first "
                   "sampler, with a seed of their own, against the held-out split.",
           source="this project"),
    Column("kept_point", "selection", range=Range(1), added=True,
           meaning="In rows of weights labelled best of n: their evaluation point. Such rows are "
                   "made at the end, with what the whole training took.", source="this project"),

    Column("fid", "quality", "FID", "", "lower", ratio=True, range=Range(-0.01),
           tables={"quality": 1}, interval=True, names_extractor=True,
           meaning="Fréchet distance of Gaussians fitted to both sets' features; unbiased "
                   "covariances, float64.",
           perfect="above 0: see `fid_infinity`; the `real` row shows it",
           source="Heusel et al. 2017"),
    Column("kid", "quality", "KID", "×10³", "lower", factor=1000, tables={"quality": 2},
           short="KID ×10³ ↓", interval=True, names_extractor=True,
           meaning="Squared MMD with kernel (xᵀy / D + 1)³, mean over 100 subsets of min(1000, n "
                   "/ 2); unbiased, so it may be negative.", perfect="0",
           source="Bińkowski et al. 2018"),
    Column("kid_std", "quality", range=NOT_NEGATIVE,
           meaning="Standard deviation of KID over its subsets.", source="Bińkowski et al. 2018"),
    Column("is", "quality", "IS", "", "higher", range=Range(1 - 1e-6), tables={"quality": 3},
           interval=True, names_extractor=True,
           meaning="Exponential of the mean KL divergence of predicted classes from their "
                   "average, over 10 splits in a random order with a fixed seed; empty for "
                   "extractors without classes.", perfect="the `real` row",
           source="Salimans et al. 2016"),
    Column("is_std", "quality", range=NOT_NEGATIVE,
           meaning="Standard deviation of IS over its splits.", source="Salimans et al. 2016"),
    Column("precision", "quality", "", "", "higher", range=SHARE, tables={"quality": 4},
           short="prec. ↑", interval=True,
           meaning="Share of samples within the third-nearest-neighbour distance of some real "
                   "sample.", perfect="the `real` row", source="Kynkäänniemi et al. 2019"),
    Column("recall", "quality", "", "", "higher", range=SHARE,
           tables={"quality": 5, "diversity": 1}, interval=True,
           meaning="Share of real samples within the third-nearest-neighbour distance of some "
                   "sample.", perfect="the `real` row", source="Kynkäänniemi et al. 2019"),
    Column("density", "quality", "", "", "higher", range=NOT_NEGATIVE, tables={"quality": 6},
           interval=True,
           meaning="Number of real neighbourhoods (k = 5) that contain a sample, divided by k; "
                   "may exceed 1.", perfect="1 on average", source="Naeem et al. 2020"),
    Column("coverage", "quality", "", "", "higher", range=SHARE,
           tables={"quality": 7, "diversity": 2}, short="cov. ↑", interval=True,
           meaning="Share of real samples whose neighbourhood (k = 5) holds a generated one.",
           perfect="1 - 2⁻⁵ ≈ 0.97 for many samples (their Lemma 2)", source="Naeem et al. 2020"),
    Column("duplicates", "quality", range=SHARE, tables={"bias": 5}, explained=True,
           meaning="Duplicates is the share of samples nearer to another sample than all but 1 % "
                   "of real ones are to each other: about 0.01 for real samples, less for noise.",
           perfect="the `real` row", source="this project"),

    Column("fid_infinity", "memorisation", "FID∞", "", "lower", tables={"bias": 1},
           names_extractor=True, explained=True,
           meaning="FID∞ is FID extrapolated to infinitely many samples.", perfect="0",
           source="Chong & Forsyth 2020"),
    Column("authpct", "memorisation", "AuthPct", "%", range=Range(0, 100), tables={"bias": 3},
           explained=True,
           meaning="AuthPct is the percentage of samples that are farther from their nearest "
                   "training sample than that one is from its own nearest. Copies lower it, noise "
                   "raises it to 100.", perfect="the `real` row; about 50 in many dimensions",
           source="Alaa et al. 2022"),
    Column("nn_ratio", "memorisation", "NN ratio", range=NOT_NEGATIVE, tables={"bias": 4},
           explained=True,
           held_out=True,
           meaning="The NN ratio is the distance to the nearest training sample over that to the "
                   "nearest held-out one; below 1, samples are closer to the training data.",
           perfect="1; empty for the held-out samples themselves",
           source="this project, after Meehan et al. 2020"),
    Column("mifid", "memorisation", "MiFID", range=Range(-0.01), tables={"bias": 2},
           names_extractor=True, explained=True,
           meaning="MiFID is FID with a penalty for samples that are copies of training data.",
           perfect="`fid`", source="Bai et al. 2021, as torchmetrics computes it"),
    Column("fid_trained", "memorisation", "FID to images trained on", range=Range(-0.01),
           tables={"bias": 6}, short="FID to\ntrained", names_extractor=True, explained=True,
           added=True, perfect="`fid_held_out`", source="this project",
           held_out=True,
           meaning="FID to images trained on and FID to held-out images compare the samples with "
                   "equally many of either (of the larger set a fixed random part): the former is "
                   "lower for a model that remembers its training images."),
    Column("fid_held_out", "memorisation", "FID to held-out images", range=Range(-0.01),
           tables={"bias": 7}, short="FID to\nheld-out", names_extractor=True, added=True,
           held_out=True,
           meaning="FID of the samples to the held-out images, see `fid_trained`.",
           perfect="`fid_trained`; 0 for the held-out images", source="this project"),
    Column("nn_trained", "memorisation", range=NOT_NEGATIVE, added=True, source="this project",
           held_out=True,
           meaning="Median distance of a sample to the nearest image trained on, not corrected for "
                   "their number as `nn_ratio` is."),
    Column("nn_held_out", "memorisation", range=NOT_NEGATIVE, added=True, source="this project",
           held_out=True,
           meaning="Median distance of a sample to the nearest held-out image."),
    Column("nearest_trained", "memorisation", "nearest is trained on", "%", factor=100, range=SHARE,
           added=True, perfect="`nearest_trained_expected`", source="this project",
           held_out=True,
           meaning="Share of samples whose nearest image, of those trained on and the held-out "
                   "ones, is one trained on; copying raises it."),
    Column("nearest_trained_expected", "memorisation", range=SHARE, added=True,
           source="this project",
           held_out=True,
           meaning="That share for samples that do not depend on which images were trained on: "
                   "the share of images trained on among all of them."),
    Column("nearest_trained_error", "memorisation", range=SHARE, added=True, source="this project",
           held_out=True,
           meaning="Standard error of `nearest_trained` over random splits of the images, for such "
                   "samples."),

    Column("vendi", "diversity", "Vendi score", range=Range(1 - 1e-6), tables={"diversity": 3},
           explained=True, added=True,
           meaning="The Vendi score is the effective number of different samples: the exponential "
                   "of the entropy of the eigenvalues of their cosine similarities, over n. It is "
                   "at most the number of features, and looks at no real images: compare it with "
                   "the `real` row.",
           perfect="the `real` row", source="Friedman & Dieng 2023, Definition 3.1"),
    Column("fid_by_class", "diversity", "FID by class", "", "lower", ratio=True,
           range=Range(-0.01), tables={"diversity": 4}, names_extractor=True, explained=True,
           added=True,
           meaning="FID by class is the mean over classes of the FID between the samples that were "
                   "requested of a class and the training images of it, for class-conditional "
                   "models (intra FID). It is far above FID, because each class has fewer samples: "
                   "compare it with the `real` row, the held-out images by their own classes.",
           perfect="the `real` row", source="Miyato & Koyama 2018, Sec. 5"),
    Column("fid_worst_class", "diversity", "FID of the worst class", "", "lower", ratio=True,
           range=Range(-0.01), tables={"diversity": 5}, names_extractor=True, added=True,
           meaning="The highest of the FIDs by class.", perfect="the `real` row",
           source="this project"),

    Column("modes", "modes", "", "", "higher", range=NOT_NEGATIVE,
           tables={"quality": 8, "modes": 1},
           meaning="Images: classes predicted for at least one sample. Points: modes with at "
                   "least one sample within 3 σ of their centre.", perfect="`modes_perfect`",
           source="Lin et al. 2018"),
    Column("class_kl", "modes", "class KL", "nats", "lower", range=DIVERGENCE,
           tables={"quality": 9},
           meaning="KL(samples ‖ data) over predicted classes (points: nearest modes).",
           perfect="the `real` row"),
    Column("class_tv", "modes", "class TV", "", "lower", range=Range(-1e-6, 1 + 1e-6),
           meaning="Total variation distance of samples from the data over predicted classes "
                   "(points: nearest modes).", perfect="the `real` row"),
    Column("conditional_accuracy", "modes", "class-conditional accuracy", "%", "higher",
           factor=100, range=SHARE, tables={"quality": 10}, formerly="class_agreement",
           meaning="Share of samples that a classifier of the data's classes assigns to the "
                   "requested class, for class-conditional models.",
           perfect="the classifier's accuracy",
           source="Odena et al. 2017, Sec. 4.1"),
    Column("high_quality", "modes", "high quality", "%", factor=100, range=SHARE,
           tables={"modes": 2}, short="high\nqual. %",
           meaning="Points: share of samples within 3 σ of their nearest mode.",
           perfect="`high_quality_perfect`: 98.89 % in two dimensions. *Above* it the variance "
                   "has shrunk", source="Lin et al. 2018"),
    Column("reverse_kl", "modes", "reverse KL", "nats", "lower", range=DIVERGENCE,
           tables={"modes": 3}, short="reverse\nKL ↓",
           meaning="KL(samples ‖ uniform over modes); only where the protocol asks for it "
                   "(mixtures, stacked digits).", perfect="`reverse_kl_perfect`",
           source="Lin et al. 2018"),

    Column("modes_perfect", "perfect", range=NOT_NEGATIVE, meaning="`modes` of a perfect sampler."),
    Column("high_quality_perfect", "perfect", range=SHARE,
           meaning="`high_quality` of a perfect sampler."),
    Column("reverse_kl_perfect", "perfect", range=DIVERGENCE,
           meaning="`reverse_kl` of a perfect sampler."),
    Column("classifier_error", "perfect", range=SHARE,
           meaning="Error rate on held-out samples of the classifier that counts modes and on "
                   "whose features FID (domain) rests (a stack is wrong if one of its digits "
                   "is); pages warn above 10 %."),

    Column("bits_per_dim", "held-out", "bits/dim ≤", "", "lower", tables={"held-out": 1},
           explained=True,
           meaning="Bits/dim bounds the negative log-likelihood of held-out images from above: "
                   "the sum of the information about the image at the last noise level (prior), "
                   "the divergences of the reverse steps (KL) and the last step to 8-bit values "
                   "(reconstruction). Flows have no such parts: theirs is an estimate and no "
                   "bound, the likelihood by the probability flow of images with uniform noise "
                   "of one 8-bit value, the trace estimated by one random vector per image "
                   "(Hutchinson) and the integral by a fixed number of steps. It depends on the "
                   "model, not on the sampler.",
           source="Ho et al. 2020, Eq. 5; their Sec. 3.3 for the last term. Flows: Song et al. "
                  "2021 (2011.13456), App. D.2; Theis et al. 2016, Sec. 3.1"),
    Column("bits_prior", "held-out", "prior", "bits/dim", tables={"held-out": 2},
           meaning="The end of the forward process against the prior.",
           source="Ho et al. 2020, Eq. 5"),
    Column("bits_kl", "held-out", "KL", "bits/dim", tables={"held-out": 3},
           meaning="The steps between, from divergences at a few random timesteps.",
           source="Ho et al. 2020, Eq. 5"),
    Column("bits_reconstruction", "held-out", "reconstruction", "bits/dim", tables={"held-out": 4},
           meaning="The last step, discretised to 8-bit values.",
           source="Ho et al. 2020, Sec. 3.3"),
    Column("accuracy", "held-out", "test accuracy", "%", "higher", factor=100, range=SHARE,
           tables={"held-out": 5}, explained=True,
           meaning="Test accuracy is that of a discriminator that also classifies, trained on few "
                   "labels and all images; supervised alone is that of the same network trained "
                   "on the labels alone.", source="Salimans et al. 2016"),
    Column("accuracy_supervised", "held-out", "supervised alone", "%", factor=100, range=SHARE,
           tables={"held-out": 6}, meaning="`accuracy` of the network trained on labels alone.",
           source="Salimans et al. 2016"),
    Column("discriminator_gap", "held-out", "discriminator's gap", tables={"held-out": 7},
           added=True, explained=True,
           meaning="The discriminator's gap is its mean logit on training samples minus that on as "
                   "many held-out samples, a sign of overfitting if it is large. Its scale "
                   "depends on the objective and the penalties.",
           source="Karras et al. 2020, Sec. 3 (ADA)"),

    Column("nfe", "cost", "NFE", "", "lower", ratio=True, range=NOT_NEGATIVE,
           tables={"quality": 11, "cost": 1}, exact=True,
           meaning="Evaluations of all networks per sample, as declared and checked by counting."),
    Column("latency_ms", "cost", "latency", "ms", "lower", ratio=True, range=NOT_NEGATIVE,
           tables={"quality": 12, "cost": 2}, short="ms per\nsample ↓",
           meaning="Time to generate a single sample; median. Weights are cast and ordered once "
                   "per model, which is not counted."),
    Column("latency_iqr_ms", "cost", range=NOT_NEGATIVE,
           meaning="Interquartile range of the latency, in ms."),
    Column("images_per_second", "cost", "sampling", "samples/s", "higher", ratio=True,
           range=NOT_NEGATIVE, tables={"cost": 3},
           meaning="Samples per second at the batch size where throughput stops growing."),
    Column("images_per_second_iqr", "cost", range=NOT_NEGATIVE,
           meaning="Interquartile range of the samples per second."),
    Column("best_batch_size", "cost", range=NOT_NEGATIVE, meaning="That batch size."),
    Column("gflops_per_sample", "cost", "FLOPs/sample", "GFLOP", "lower", ratio=True,
           range=NOT_NEGATIVE, tables={"cost": 4}, exact=True,
           meaning="Operations per sample, counted by torch's flop counter, two per multiply-add."),
    Column("sampling_memory_mib", "cost", "sampling memory", "MiB", "lower", ratio=True,
           range=NOT_NEGATIVE, tables={"cost": 5}, meaning="Peak memory of sampling."),
    Column("parameters", "cost", "parameters", "", "lower", ratio=True, range=NOT_NEGATIVE,
           tables={"cost": 6}, exact=True, training=True, meaning="Parameters of all networks."),
    Column("train_images_per_second", "cost", "training speed", "samples/s", "higher", ratio=True,
           range=NOT_NEGATIVE, tables={"cost": 9}, training=True,
           meaning="Samples trained on per second of training."),
    Column("train_gflops_per_image", "cost", "training FLOPs/sample", "GFLOP", "lower", ratio=True,
           range=NOT_NEGATIVE, tables={"cost": 10}, exact=True, training=True,
           meaning="Operations of training per sample seen."),
    Column("train_memory_mib", "cost", "training memory", "MiB", "lower", ratio=True,
           range=NOT_NEGATIVE, tables={"cost": 11}, training=True,
           meaning="Peak memory of training."),

    Column("warning", "watch",
           meaning="Signs of collapse, and at the last point of copying, as text."),
    Column("worst_class", "watch", added=True,
           meaning="The class of `fid_worst_class`, with the first extractor that has it."),

    Column("data_hash", "protocol", "data hash", meaning="Hash of the data."),
    Column("train_images", "protocol", "images trained on", added=True, before=ALL_IMAGES,
           meaning="How many of the training images models see, a fixed part "
                   "(`dataset.train_images`); all if they see every one."),
    Column("image_shape", "protocol", "shape of a sample", meaning="Its sides, channels first."),
    Column("reference", "protocol", "reference split",
           meaning="The split that samples are compared with; after it, by extractor, the SHA-256 "
                   "of published statistics that FID is to instead (`evaluator.reference`)."),
    Column("reference_size", "protocol", "reference samples",
           meaning="Its size; after it, with the names of their extractors, the sizes of the fixed "
                   "parts that extractors after the first are compared with."),
    Column("samples", "protocol", "samples per model",
           meaning="Number of samples per sampler (n)."),
    Column("held_out_samples", "protocol", "held-out samples", added=True,
           meaning="Number of evenly spaced held-out samples behind the scores on held-out data; "
                   "empty in rows of earlier versions, which took up to 2,000."),
    Column("class_labels", "protocol", "classes asked for", added=True,
           meaning="Distribution of the class labels requested from a class-conditional model: "
                   "data, or uniform, also if the data is balanced; empty for samplers that "
                   "take no classes."),
    Column("extractors", "protocol", "extractors and their hashes",
           meaning="Names and hashes of the extractors' weights."),
    Column("preprocessing", "protocol", meaning="Preprocessing of samples by each extractor."),
    Column("metric_backend", "protocol", "metric backend",
           meaning="Version and settings of the metrics."),
    Column("budget", "protocol", "training budget", meaning="Limits of training."),
    Column("precision", "protocol",
           meaning="Floating-point numbers of training and sampling, fp32 or bf16: what the "
                   "machine computed in, whatever was asked for."),
    Column("device", "protocol", meaning="Name of the CPU or GPU."),
    Column("threads", "protocol", "CPU threads per process",
           meaning="CPU threads of each process."),
    Column("processes", "protocol", meaning="Processes that trained together."),

    Column("overrides", "provenance", meaning="Overrides that the variant stands for."),
    Column("recipe", "provenance",
           meaning="Hash of the model's configuration, on which the seeds of one entry agree."),
    Column("torch_version", "provenance", meaning="Version of torch."),
    Column("bench_version", "provenance", meaning="Version of this package."),
    Column("commit", "provenance", meaning="Commit of the code."),
    Column("evaluated_at", "provenance", meaning="When the row was made."),
)
# fmt: on
"""The registry, group by group in the order of eval.csv."""
