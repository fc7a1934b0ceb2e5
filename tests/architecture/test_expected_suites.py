"""A skipped test fails the run where its suite is expected, and only there (docs/decisions/0004)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED_TEST = """
import pytest

@pytest.mark.torch
def test_something():
    pytest.skip("no reason that counts")
"""

SKIPPED_FILE = """
import pytest

pytest.importorskip("a_package_that_nobody_has")
"""


def _run(repository: Path, file: Path, expected: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", str(file), "-p", "conftest", "-p", "no:cacheprovider", "-c"]
    environment = os.environ | {"THINGWARDEN_EXPECT": expected, "PYTHONPATH": str(repository / "tests")}
    return subprocess.run(
        [*command, str(repository / "pyproject.toml")], capture_output=True, text=True, env=environment, cwd=file.parent
    )


@pytest.mark.parametrize(("expected", "exit_code"), [("torch", 1), ("root,torch", 1), ("root", 0), ("", 0)])
def test_a_skip_fails_where_its_marker_is_expected(
    repository: Path, tmp_path: Path, expected: str, exit_code: int
) -> None:
    file = tmp_path / "test_skipped.py"
    file.write_text(SKIPPED_TEST)
    finished = _run(repository, file, expected)
    assert finished.returncode == exit_code, finished.stdout
    assert ("expected to run here" in finished.stdout) is bool(exit_code)


def test_a_whole_file_cannot_be_skipped_where_torch_is_expected(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "test_skipped_file.py"
    file.write_text(SKIPPED_FILE)
    assert "a whole file was skipped" in _run(repository, file, "torch").stdout
    assert "skipped" in _run(repository, file, "").stdout
