"""Golden files: reviewed pages to compare with."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "bench/compare/topics/golden"


def check_golden(name: str, text: str) -> None:
    """Compare with a golden file; UPDATE_GOLDEN=1 rewrites it, for a reviewer to read."""
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
