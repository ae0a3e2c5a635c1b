"""The commit that a run records: of its code, whatever documents and results are changed."""

import shutil
import subprocess
from pathlib import Path

import pytest

import bench
from bench.runs import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, which is taken for this project's."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in ("bench/__init__.py", "models/base.py", "conf/config.yaml", "docs/page.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    one = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    for words in (("init", "-q"), ("add", "."), (*one, "commit", "-qm", "first")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench" / "__init__.py"))
    return tmp_path


def test_documents_and_results_leave_the_commit_as_it_is(checkout):
    commit = provenance.commit()
    assert len(commit) == 12
    (checkout / "docs" / "page.md").write_text("2\n")
    (checkout / "results.csv").write_text("1\n")
    assert provenance.commit() == commit


@pytest.mark.parametrize("name", ["bench/__init__.py", "models/mine.py", "conf/config.yaml"])
def test_other_code_is_told(checkout, name):
    commit = provenance.commit()
    (checkout / name).write_text("2\n")
    assert provenance.commit() == f"{commit}-dirty"


def test_without_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench" / "__init__.py"))
    assert provenance.commit() == ""
