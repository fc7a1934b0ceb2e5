"""A camera under a limit, for real though briefly: the limit bites, the watch knows of it, nothing harder follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.bench.response_restrained import run_restrained


@pytest.mark.root
def test_a_limited_camera_is_not_answered_harder(tmp_path: Path) -> None:
    found = run_restrained(tmp_path, 25.0)
    assert found.dropped_count > 5
    assert (found.harder_acts, found.incidents) == ((), ())
    again = run_restrained(tmp_path, 25.0)
    assert again == found
