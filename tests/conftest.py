"""What every test shares: where the public captures are, and when a marked test may be skipped.

In: THINGWARDEN_DATA, the folder of the public captures; THINGWARDEN_EXPECT, markers that must not be skipped here.
Out: fixtures; skips with a reason; failures where an expected suite did not run.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXPECTED = frozenset(filter(None, os.environ.get("THINGWARDEN_EXPECT", "").split(",")))


def data_path() -> Path:
    """Where the public captures are, whether or not they are there."""
    return Path(os.environ.get("THINGWARDEN_DATA") or REPOSITORY.parent / "shared" / "data")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the public captures; skips where it is absent."""
    folder = data_path()
    if not folder.is_dir():
        pytest.skip(f"public captures not found at {folder}; set THINGWARDEN_DATA")
    return folder


@cache
def _missing(marker: str) -> str:
    """Why tests of this marker cannot run here; empty where they can."""
    if marker == "torch" and importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    if marker == "data" and not data_path().is_dir():
        return "public captures not found; set THINGWARDEN_DATA"
    if marker == "root":
        if os.geteuid() != 0:
            return "needs root"
        try:
            subprocess.run(["unshare", "--net", "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return "network namespaces cannot be made here"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, saying why."""
    for marker in ("torch", "root", "data"):
        if item.get_closest_marker(marker) and _missing(marker):
            pytest.skip(_missing(marker))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of an expected suite into a failure."""
    report = yield
    expected = sorted(EXPECTED & {marker.name for marker in item.iter_markers()})
    if report.skipped and expected and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but {', '.join(expected)} tests are expected to run here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file, such as importorskip makes, into a failure where suites are expected."""
    report = yield
    if report.skipped and "torch" in EXPECTED:
        report.outcome = "failed"
        report.longrepr = f"a whole file was skipped where every suite is expected: {report.longrepr}"
    return report
