import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny_datasets import tiny_dataset, tiny_stack

from bench.data.dataset import few_images
from bench.data.sources import load_digits
from bench.evaluation.extractors import classifier_training, domain
from bench.evaluation.extractors.base import extract
from bench.evaluation.extractors.classifier import (
    DomainClassifier,
    initialised,
    load_classifier,
    save_classifier,
)
from bench.evaluation.extractors.classifier_training import ClassifierRecipe
from bench.evaluation.extractors.domain import SHIPPED, StackedExtractor
from bench.evaluation.extractors.registry import build_extractor


@pytest.fixture(scope="module")
def digits():
    return load_digits(data_root=None)


def build(dataset, cache_dir, weights=None, name="domain"):
    return build_extractor(name, dataset, device="cpu", cache_dir=cache_dir, weights=weights)


def test_domain_uses_the_shipped_weights(digits, tmp_path):
    built = build(digits, tmp_path)
    assert built.name == "domain"
    assert built.test_accuracy == 0.9929
    assert not list(tmp_path.iterdir())


def test_the_same_data_under_another_name_have_the_same_classifier(digits, tmp_path):
    """250 images of a data set are named otherwise, and scored against all the same."""
    few = few_images(replace(digits, name="digits_80"), 80)
    assert build(few, tmp_path).hash == build(digits, tmp_path).hash
    assert not list(tmp_path.iterdir())


def test_domain_of_another_dataset_is_trained_once(tmp_path, monkeypatch):
    data = tiny_dataset(name="digits")  # the name of a shipped one, with other classes
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = build(data, tmp_path)
    monkeypatch.setattr(domain, "train_classifier", None)
    again = build(data, tmp_path)
    assert first.hash == again.hash
    assert first.test_accuracy == again.test_accuracy == 1.0
    assert torch.equal(torch.get_rng_state(), before)
    (path,) = tmp_path.rglob("*.*")
    assert path.name.startswith(f"digits-{data.hash}-")


def test_the_classifier_of_an_earlier_version_stays_in_use(tmp_path, monkeypatch):
    """Small sets were shown their classifier in up to 100 epochs; runs of then go on with it."""
    epochs = []

    def train_classifier(train, num_classes, *, recipe, **_):
        epochs.append(recipe.epochs)
        return initialised(data.shape, num_classes, 4, seed=len(epochs))

    monkeypatch.setattr(domain, "train_classifier", train_classifier)
    monkeypatch.setattr(classifier_training, "FEW_PIXELS", 1)  # as if there were many
    data = tiny_dataset()
    of_then = ClassifierRecipe(100, batch_size=64, peak_lr=0.05, width=16, flip=False, shift=1)
    with monkeypatch.context() as before:
        before.setattr(domain, "default_recipe", lambda *_, flip: of_then)
        former = build(data, tmp_path)
    assert build(data, tmp_path).hash == former.hash
    assert build(data, tmp_path / "empty").hash != former.hash
    assert epochs == [100, 20]


@pytest.mark.parametrize(
    "change",
    [
        {"flip": True},
        {"classes": ("a", "b", "c", "none of these")},
        {"hash": "0123456789abcdef"},
    ],
)
def test_a_classifier_is_kept_for_the_training_that_made_it_alone(tmp_path, monkeypatch, change):
    """Mirrored training images, more classes or other data make another classifier."""
    trained = []

    def train_classifier(train, num_classes, *, recipe, **_):
        trained.append((num_classes, recipe))
        return initialised(data.shape, num_classes, 4, seed=len(trained))

    monkeypatch.setattr(domain, "train_classifier", train_classifier)
    data = tiny_dataset()
    other = replace(data, **change)
    hashes = [build(dataset, tmp_path).hash for dataset in (data, other, data, other)]
    assert len(trained) == 2
    assert hashes[:2] == hashes[2:]
    assert hashes[0] != hashes[1]


def test_a_classifier_is_kept_for_its_recipe_alone(tmp_path, monkeypatch):
    """What a later version trains otherwise is trained again."""
    data, trained = tiny_dataset(), []

    def train_classifier(train, num_classes, *, recipe, **_):
        trained.append(recipe.width)
        return initialised(data.shape, num_classes, 4, seed=0)

    monkeypatch.setattr(domain, "train_classifier", train_classifier)
    build(data, tmp_path)
    usual = domain.default_recipe
    monkeypatch.setattr(
        domain, "default_recipe", lambda *args, **kwargs: replace(usual(*args, **kwargs), width=3)
    )
    build(data, tmp_path)
    assert trained == [16, 3]


def test_a_damaged_classifier_is_trained_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(
        domain, "train_classifier", lambda train, k, **_: initialised(data.shape, k, 4, seed=0)
    )
    data = tiny_dataset()
    first = build(data, tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for damaged in (
        whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:],
        whole.replace(b'"test_accuracy":"', b'"test_accuracy":"1'),
        whole[: len(whole) // 2],
        b"",
    ):
        path.write_bytes(damaged)
        caplog.clear()
        again = build(data, tmp_path)
        assert (again.hash, again.test_accuracy) == (first.hash, first.test_accuracy)
        assert caplog.text.count(f"{path} is damaged") == 1


def test_given_weights_are_compared_with_their_checksum(digits, tmp_path):
    path = tmp_path / "given.safetensors"
    classifier = DomainClassifier((1, 8, 8), 10, width=4)
    save_classifier(path, classifier, {"classes": json.dumps(digits.classes)})
    assert build(digits, tmp_path, path).test_accuracy is None
    content = path.read_bytes()
    path.write_bytes(content[:-10] + bytes([content[-10] ^ 64]) + content[-9:])
    with pytest.raises(ValueError, match=r"not a domain classifier \(its checksum is not"):
        build(digits, tmp_path, path)


def test_domain_from_a_local_path(digits, tmp_path):
    path = SHIPPED / "digits.safetensors"
    assert build(digits, tmp_path, path).hash == build(digits, tmp_path).hash
    with pytest.raises(ValueError, match="not a classifier"):
        build(tiny_dataset(), tmp_path, path)


def test_a_classifier_file_without_classes_does_not_fit(digits, tmp_path):
    path = tmp_path / "anonymous.safetensors"
    save_classifier(path, DomainClassifier((1, 8, 8), 10, width=4), {})
    with pytest.raises(ValueError, match="not a classifier"):
        build(digits, tmp_path, path)


def test_a_file_that_is_no_classifier(digits, tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not a classifier")
    for dataset in (digits, tiny_stack()):
        with pytest.raises(ValueError, match="is not a domain classifier"):
            build(dataset, tmp_path, path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is not a domain classifier"):
        build(digits, tmp_path, path)


def random_stack(n=5, side=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator)


def test_a_stack_is_seen_channel_by_channel():
    classifier = DomainClassifier((1, 8, 8), 4, width=4).eval()
    stacked = StackedExtractor(classifier)
    images = random_stack()
    seen = extract(stacked, [images])
    each = [classifier(images[:, [channel]]) for channel in range(3)]
    torch.testing.assert_close(seen.features, torch.cat([f for f, _ in each], 1))
    assert seen.features.shape == (5, 3 * 64)
    assert seen.logits.shape == (5, 64)
    log_p = [logits.log_softmax(1) for _, logits in each]
    for a, b, c in ((0, 0, 0), (3, 1, 2), (2, 3, 0)):
        expected = log_p[0][:, a] + log_p[1][:, b] + log_p[2][:, c]
        torch.testing.assert_close(seen.logits[:, 16 * a + 4 * b + c], expected)
    assert stacked.names_classes


def test_the_classes_of_a_stack_are_a_distribution():
    seen = extract(StackedExtractor(DomainClassifier((1, 8, 8), 4, width=4)), [random_stack()])
    torch.testing.assert_close(seen.logits.exp().sum(1), torch.ones(5))


def test_a_stack_of_digits_is_named_by_its_digits(digits, tmp_path):
    stacked = build(tiny_stack(), tmp_path)
    assert (stacked.name, stacked.test_accuracy) == ("domain", 0.9929)
    assert stacked.hash == build(digits, tmp_path).hash
    assert "3 channels" in stacked.preprocessing
    test = torch.tensor(digits.test.images[:600, 0])  # (600, 8, 8)
    labels = torch.tensor(digits.test.labels[:600])
    named = extract(stacked, [test.reshape(200, 3, 8, 8)]).logits.argmax(1)
    expected = labels.reshape(200, 3) @ torch.tensor([100, 10, 1])
    # Three independent digits: 0.9929³ = 0.979.
    assert (named == expected).float().mean() > 0.95


def test_a_stack_needs_a_classifier_of_its_images(tmp_path):
    with pytest.raises(ValueError, match=r"stacked_letters.*evaluator\.weights\.domain"):
        build(tiny_stack(base="letters"), tmp_path)
    for stack in (tiny_stack(side=9), tiny_stack(num_classes=8)):
        with pytest.raises(ValueError, match="cube root"):
            build(stack, tmp_path)
    given = build(tiny_stack(base="letters"), tmp_path, SHIPPED / "digits.safetensors")
    assert given.hash == build(tiny_stack(), tmp_path).hash


def test_a_stack_is_made_of_grey_images():
    with pytest.raises(ValueError, match="takes 3 channels"):
        StackedExtractor(load_classifier(SHIPPED / "cifar10.safetensors")[0])
    stacked = StackedExtractor(DomainClassifier((1, 8, 8), 4, width=4))
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        extract(stacked, [random_stack()[:, :1]])
