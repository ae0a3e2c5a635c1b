import pickle
import shutil
import warnings
from pathlib import Path
from urllib.error import URLError

import fidelity_weights
import pytest
import torch
import torchvision
from tiny_datasets import tiny_dataset
from torch import nn
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_clip import MODEL_METADATA, FeatureExtractorCLIP
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from bench.evaluation.extractors import fidelity_networks
from bench.evaluation.extractors.base import extract, weights_hash
from bench.evaluation.extractors.dinov2 import DinoV2
from bench.evaluation.extractors.downloads import file_sha256, published_file
from bench.evaluation.extractors.fidelity import NAMES
from bench.evaluation.extractors.fidelity_networks import NETWORKS
from bench.evaluation.extractors.registry import build_extractor
from bench.evaluation.metrics.quality import quality


def build(name, weights=None, channels=3):
    data = tiny_dataset(channels=channels)
    return build_extractor(name, data, device="cpu", cache_dir=Path("unused"), weights=weights)


class Images(torch.utils.data.Dataset):
    """Images as torch-fidelity takes them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def random_images(n=2, low=0, seed=0):
    """Random squares: to a network, pixels of noise all look alike."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.randint(low, 256, (n, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return squares.repeat_interleave(8, 2).repeat_interleave(8, 3)


def assert_same(ours, theirs, tolerance=1e-5):
    """The largest difference, relative to the largest feature."""
    assert ours.shape == theirs.shape
    assert theirs.std(0).median() > 1e-3 * theirs.abs().max()  # images do not look alike
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of random weights by name."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = {
            "inception": fidelity_weights.inception(),
            "clip-vit-b-32": fidelity_weights.clip(),
            "dinov2-vit-s-14": fidelity_weights.dinov2(),
            "vgg16": fidelity_weights.SmallVgg16().state_dict(),
        }
    for name, state in tensors.items():
        torch.save(state, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in tensors}


@pytest.fixture(scope="module")
def inception(weights):
    return build("inception", weights["inception"])


@pytest.fixture(scope="module")
def their_inception(weights):
    layers = ["2048", "logits_unbiased"]
    return FeatureExtractorInceptionV3("theirs", layers, str(weights["inception"]))


@pytest.fixture(autouse=True)
def small_vgg16(monkeypatch):
    monkeypatch.setattr(torchvision.models, "vgg16", fidelity_weights.SmallVgg16)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_names_are_those_of_torch_fidelity():
    assert set(NAMES) == set(NETWORKS)
    registered = FEATURE_EXTRACTORS_REGISTRY.keys() - {"inception-v3-compat", "dinov2-vit-g-14"}
    assert set(NAMES) - {"inception"} == registered


def test_inception_is_torch_fidelitys(inception, their_inception):
    images = random_images(3)
    seen = extract(inception, [images])
    features, logits = their_inception(images)
    assert_same(seen.features, features)
    assert_same(seen.logits, logits)
    assert (features.shape[1], logits.shape[1]) == (2048, 1008)
    assert not inception.names_classes


def test_grey_is_repeated_and_says_so(weights, inception):
    state = torch.get_rng_state()
    grey = build("inception", weights["inception"], channels=1)
    assert torch.equal(torch.get_rng_state(), state)  # building draws nothing
    images = random_images(1)[:, :1]
    assert grey.preprocessing == "grey repeated to 3 channels, TF1 bilinear to 299x299"
    assert inception.preprocessing == "TF1 bilinear to 299x299"
    repeated = extract(grey, [images.repeat(1, 3, 1, 1)])
    assert torch.equal(extract(grey, [images]).features, repeated.features)


def test_the_hash_is_that_of_the_published_weights(inception, their_inception):
    assert inception.hash == weights_hash(their_inception)


def test_all_scores_are_those_of_torch_fidelity(inception, weights, monkeypatch):
    # 299 pixels take a minute; at this size both see the same, smaller, pictures.
    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 75)
    real, fake = random_images(40, low=60), random_images(40, seed=1)
    scores = quality(extract(inception, [real]), extract(inception, [fake]))
    theirs = calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        save_cpu_ram=True,
        kid_subset_size=20,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights["inception"]),
        verbose=False,
    )
    pairs = {
        "fid": "frechet_inception_distance",
        "kid": "kernel_inception_distance_mean",
        "kid_std": "kernel_inception_distance_std",
        "is": "inception_score_mean",
        "is_std": "inception_score_std",
        "precision": "precision",
        "recall": "recall",
    }
    for key, name in pairs.items():
        assert scores[key] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6), key


def test_vgg16_is_torch_fidelitys(weights):
    images = random_images(3)
    ours = build("vgg16", weights["vgg16"])
    theirs = FeatureExtractorVGG16("vgg16", ["fc2_relu"], str(weights["vgg16"]))
    seen = extract(ours, [images])
    assert_same(seen.features, theirs(images)[0])
    assert seen.logits is None


def archive(path, tensors):
    """Write a TorchScript archive, as OpenAI publishes CLIP."""

    def attach(module, name, tensor):
        first, _, rest = name.partition(".")
        if not rest:
            module.register_parameter(first, nn.Parameter(tensor))
            return
        if first not in dict(module.named_children()):
            module.add_module(first, nn.Module())
        attach(module.get_submodule(first), rest, tensor)

    root = nn.Module()
    for name, tensor in tensors.items():
        attach(root, name, tensor)
    with pytest.warns(FutureWarning, match="torch.jit"):
        torch.jit.script(root).save(path)


@pytest.fixture
def clip_archive(weights, tmp_path):
    path = tmp_path / "clip.pt"
    archive(path, torch.load(weights["clip-vit-b-32"], weights_only=True))
    return path


def test_clip_is_torch_fidelitys(weights, clip_archive, monkeypatch):
    images = random_images(3)
    with pytest.warns(FutureWarning, match="torch.jit"):
        theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(clip_archive))(images)[0]
    plain = build("clip-vit-b-32", weights["clip-vit-b-32"])
    assert plain.preprocessing == "TF1 bilinear to 64x64"
    seen = extract(plain, [images])
    assert_same(seen.features, theirs)
    assert seen.logits is None
    monkeypatch.setitem(MODEL_METADATA["clip-vit-b-32"], "hash", file_sha256(clip_archive))
    official = fidelity_networks._published_clip("clip-vit-b-32", 512)
    monkeypatch.setitem(NETWORKS, "clip-vit-b-32", official)
    archived = build("clip-vit-b-32", clip_archive)
    assert archived.hash == plain.hash
    assert torch.equal(extract(archived, [images]).features, seen.features)


def test_an_archive_from_elsewhere_is_never_loaded(clip_archive, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", None)
    with pytest.raises(ValueError, match=r"evaluator\.weights\.clip-vit-b-32.*TorchScript"):
        build("clip-vit-b-32", clip_archive)


def test_weights_of_another_variant_are_refused(tmp_path):
    path = tmp_path / "large.pth"
    torch.save(fidelity_weights.clip(features=768), path)
    with pytest.raises(ValueError, match="768 features, not 512"):
        build("clip-vit-b-32", path)
    assert build("clip-vit-l-14", path).hash


def test_dinov2_sees_with_torch_fidelitys_preprocessing(weights, monkeypatch):
    images = random_images(3)
    tensors = torch.load(weights["dinov2-vit-s-14"], weights_only=True)
    monkeypatch.setattr(torch.hub, "load", lambda *_: DinoV2(tensors, 224))
    theirs = FeatureExtractorDinoV2("dinov2-vit-s-14", ["dinov2"])(images)[0]
    seen = extract(build("dinov2-vit-s-14", weights["dinov2-vit-s-14"]), [images])
    assert_same(seen.features, theirs)
    assert seen.features.shape == (3, 384)
    assert seen.logits is None


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_cannot_be_downloaded(name):
    with pytest.raises(FileNotFoundError) as caught:
        build(name)
    assert NETWORKS[name].url in str(caught.value)
    assert f"evaluator.weights.{name}=<path>" in str(caught.value)


def test_weights_are_downloaded_once(weights, inception, monkeypatch):
    asked = []

    def download(url, path, sha256):
        asked.append((url, sha256))
        shutil.copy(weights["inception"], path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert build("inception").hash == inception.hash
    source = NETWORKS["inception"]
    assert asked == [(source.url, "6726825d")]
    own = file_sha256(weights["inception"])  # the stand-in is not what is published
    assert published_file(source.url, source.filename, own[:8]).is_file()
    assert published_file(source.url, source.filename, "").is_file()
    assert len(asked) == 1


def test_a_damaged_download_is_fetched_again(weights, monkeypatch, caplog):
    def download(url, path, sha256):
        shutil.copy(weights["inception"], path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    source, own = NETWORKS["inception"], file_sha256(weights["inception"])
    path = published_file(source.url, source.filename, own[:8])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert published_file(source.url, source.filename, own[:8]) == path
    assert file_sha256(path) == own
    assert "is damaged" in caplog.text


def test_a_download_that_was_tampered_with(monkeypatch):
    def download(*_):
        raise RuntimeError('invalid hash value (expected "6726825d", got "0")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(FileNotFoundError, match="invalid hash value"):
        build("inception")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["inception", "vgg16", "clip-vit-b-32", "dinov2-vit-s-14"])
def test_weights_of_something_else(name, tmp_path):
    path = tmp_path / "other.pth"
    sentence = rf"evaluator\.weights\.{name}.*not the state dict.*https://"
    for content in ({"weight": torch.zeros(1)}, [torch.zeros(1)], {"epoch": 1}):
        torch.save(content, path)
        with pytest.raises(ValueError, match=sentence):
            build(name, path)
    for damaged in (b"", b"not a checkpoint", path.read_bytes()[:100]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=sentence):
            build(name, path)
    touched = tmp_path / "touched"
    path.write_bytes(pickle.dumps(Payload(touched)))
    with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match=sentence):
        build(name, path)
    assert not touched.exists()  # nothing in the file was run
