"""FID to published statistics; every other score stays to the images of the data set."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from in_process import bench
from torch import Tensor

from bench.data.dataset import Dataset, Split
from bench.data.sources import load_digits
from bench.errors import RunError
from bench.evaluation.evaluator import Evaluator, EvaluatorOptions
from bench.evaluation.extractors.base import IdentityExtractor, extract
from bench.evaluation.extractors.registry import build_extractor
from bench.evaluation.metrics.fid import fid_infinity, statistics
from bench.evaluation.published import (
    Published,
    choose_published,
    file_hashes,
    read_published,
    to_text,
)
from bench.evaluation.reference import Reference
from models.stored import RealData

NAME = "identity"


class Pixels(IdentityExtractor):
    """The mean of each quarter of an image."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch.nn.functional.avg_pool2d(images.float(), 4).flatten(1) / 64, None


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    splits = [Split(rng.integers(0, 256, (n, 1, 8, 8), np.uint8)) for n in (300, 100)]
    return Dataset("noise", *splits, (), False, "noise")


def features(images: np.ndarray) -> Tensor:
    return Pixels()(torch.from_numpy(images))[0]


def saved(path: Path, found: Tensor, dtype: type = np.float64) -> Path:
    mu, sigma = statistics(found)
    np.savez(path, mu=mu.astype(dtype), sigma=sigma.astype(dtype))
    return path


def scored(data: Dataset, cache: Path, path: Path | None = None) -> dict[str, float]:
    published = {} if path is None else {NAME: read_published(str(path), "stats")}
    device = torch.device("cpu")
    reference = Reference(data, [Pixels()], device=device, cache_dir=cache, published=published)
    evaluator = Evaluator(reference, EvaluatorOptions(100, 50, seed=1, resamples=20))
    values = evaluator.evaluate(RealData(data.spec()), last=True)[0].values
    return {name: float("nan") if value is None else value for name, value in values.items()}


def published_fid(path: Path, found: np.ndarray) -> float:
    """As EDM's fid.py and pytorch-fid compute it: Tr (Σ₁ Σ₂)^½ by a matrix square root."""
    with np.load(path) as arrays:
        mu, sigma = arrays["mu"], arrays["sigma"]
    own = np.cov(found, rowvar=False)
    root = scipy.linalg.sqrtm(sigma @ own).real
    return float(((found.mean(0) - mu) ** 2).sum() + np.trace(sigma + own - 2 * root))


def test_statistics_of_the_training_features_change_no_score(data: Dataset, tmp_path: Path) -> None:
    path = saved(tmp_path / "stats.npz", features(data.train.images))
    plain, to_file = scored(data, tmp_path), scored(data, tmp_path, path)
    assert plain.keys() == to_file.keys()
    for name, value in plain.items():
        assert to_file[name] == value or np.isnan([to_file[name], value]).all(), name


def test_fid_is_the_published_formula_and_other_scores_stay(data: Dataset, tmp_path: Path) -> None:
    other = np.random.default_rng(1).integers(0, 150, (200, 1, 8, 8), np.uint8)
    path = saved(tmp_path / "stats.npz", features(other))
    plain, to_file = scored(data, tmp_path), scored(data, tmp_path, path)
    fake = features(data.test.images)  # all of them, in another order
    fid = published_fid(path, fake.double().numpy())
    assert to_file["fid_identity"] == pytest.approx(fid, rel=1e-6)
    assert fid > 10 * plain["fid_identity"]
    assert to_file["fid_low_identity"] < fid < to_file["fid_high_identity"]
    read = read_published(str(path), "stats")
    limit = fid_infinity(fake, fake, reference=(read.mu, read.sigma))
    assert to_file["fid_infinity_identity"] == pytest.approx(limit, rel=0.2)
    changed = {name for name, value in plain.items() if to_file[name] != pytest.approx(value)}
    changed -= {name for name, value in plain.items() if np.isnan(value)}
    fids = {"fid_identity", "fid_low_identity", "fid_high_identity", "fid_infinity_identity"}
    assert changed == fids


def test_rounding_to_float32_is_accepted(data: Dataset, tmp_path: Path) -> None:
    found = features(data.train.images)
    exact = read_published(str(saved(tmp_path / "64.npz", found)), "stats")
    path = saved(tmp_path / "32.npz", found, np.float32)
    rounded = read_published(str(path), "stats")
    assert rounded.sigma.dtype == np.float64
    np.testing.assert_allclose(rounded.sigma, exact.sigma, rtol=1e-6)
    assert rounded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file_hashes({"inception": str(path)}) == [rounded.sha256]


def test_covariances_of_few_features_and_of_constants_are_accepted(tmp_path: Path) -> None:
    """Singular ones have eigenvalues of 0, which rounding makes negative."""
    few = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)) * 1000
    for name, found in (("few", few), ("constant", torch.ones(3, 4)), ("single", few[:, :1])):
        path = saved(tmp_path / f"{name}.npz", found)
        assert len(read_published(str(path), "stats").mu) == found.shape[1]


def test_what_adm_writes_beside_them_is_not_read(tmp_path: Path) -> None:
    path, mu, sigma = tmp_path / "adm.npz", np.zeros(4, np.float32), np.eye(4)
    samples = np.array([object()], dtype=object)  # would be unpickled
    np.savez(path, mu=mu, sigma=sigma, mu_s=mu[:2], sigma_s=sigma[:2, :2], arr_0=samples)
    found = read_published(str(path), "stats")
    assert (found.mu.dtype, found.sigma.tolist()) == (np.float64, sigma.tolist())


def test_they_are_for_the_extractor_whose_size_fits(tmp_path: Path) -> None:
    path = str(saved(tmp_path / "stats.npz", torch.randn(9, 4)))
    sizes = {"domain": 64, "inception": 4}
    assert list(choose_published(path, sizes, sizes)) == ["inception"]
    assert list(choose_published({"domain": None, "inception": path}, sizes, sizes)) == [
        "inception"
    ]
    assert choose_published(None, sizes, sizes) == {}
    both = {"domain": 4, "inception": 4}
    assert list(choose_published({"domain": path}, both, both)) == ["domain"]
    for given, known, certain, said in (
        (path, both, both, "as domain and inception have: name the one"),
        ({"domain": path}, sizes, sizes, "is of 4 features, but domain has 64, inception has 4"),
        ({"vgg16": path}, sizes, sizes, "for an extractor that evaluator.extractor lacks"),
        (path, sizes, ["domain"], "is of 4 features, but domain has 64"),
        (path, both, ["domain"], "name the one"),
    ):
        with pytest.raises(ValueError, match=said):
            choose_published(given, known, certain)


def test_the_protocol_names_extractor_and_file(data: Dataset) -> None:
    published = {"inception": Published(np.zeros(1), np.eye(1), "ab" * 32)}
    assert to_text(published) == f"; FID (inception) to statistics of SHA-256 {'ab' * 32}"
    assert to_text({}) == ""


def test_a_run_records_which_file_it_was_and_goes_on_with_no_other(tmp_path: Path) -> None:
    digits = load_digits(data_root=tmp_path)
    extractor = build_extractor("domain", digits, device="cpu", cache_dir=tmp_path)
    found = extract(extractor, [torch.tensor(digits.train.images)]).features
    path = saved(tmp_path / "stats.npz", found)
    places = (f"results_root={tmp_path}/results", f"cache_root={tmp_path}/cache")
    usual = ("model=real", "dataset=digits", "evaluator.resamples=0", "threads=1", *places)
    rows = []
    for arguments in ((), (f"evaluator.reference={path}",)):
        run = bench(*usual, *arguments)
        with (run.directory / "eval.csv").open(encoding="utf-8", newline="") as file:
            rows.append(next(csv.DictReader(file)))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [row["reference"] for row in rows] == [
        "train",
        f"train; FID (domain) to statistics of SHA-256 {sha256}",
    ]
    plain, to_file = (float(row["fid_domain"]) for row in rows)
    assert to_file == pytest.approx(plain, rel=1e-6)
    saved(path, found[:500])
    (run.directory / "eval.csv").unlink()
    with pytest.raises(RunError, match=f"reference_hash: .*{sha256}.* delete the directory"):
        bench(*usual, f"evaluator.reference={path}")
