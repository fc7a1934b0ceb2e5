"""What acts cost at the firewall: the report, and the goal that it is held against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from thingwarden.bench.enforcement import GOAL_BYTES, Enforcement, as_values, measure, render_report
from thingwarden.domain.errors import ConfigError

FOUND = Enforcement(
    apply_us={"isolate": {"p50": 250.0, "p99": 400.0}},
    first_us={"isolate": 13_000.0},
    held_count=10_000,
    process_bytes=GOAL_BYTES // 2,
    kernel_bytes=GOAL_BYTES // 3,
    in_force_ms=200.0,
    revoke_us={"p50": 1.0, "p99": 2.0},
    release_ms=300.0,
)


def test_process_and_kernel_are_held_against_the_goal_together() -> None:
    assert "more memory: met" in render_report(FOUND, "a machine")
    assert "more memory: missed" in render_report(replace(FOUND, kernel_bytes=GOAL_BYTES), "a machine")
    assert "| `isolate` | 250 | 400 | 13.0 |" in render_report(FOUND, "a machine")


def test_its_values_are_plain() -> None:
    assert as_values(FOUND)["goal_bytes"] == GOAL_BYTES
    assert as_values(FOUND)["held_count"] == 10_000


@pytest.mark.root
def test_what_went_wrong_is_quoted() -> None:
    with pytest.raises(ConfigError, match="ValueError"):
        measure("many", 1)  # type: ignore[arg-type]
