"""deploy/apt.txt is the one list of system packages: whatever a stage asks for is on it."""

from __future__ import annotations

from pathlib import Path

from thingwarden.lab.real.network import TOOLS


def test_every_program_of_the_lab_comes_with_a_listed_package(repository: Path) -> None:
    lines = (repository / "deploy" / "apt.txt").read_text().splitlines()
    listed = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    assert set(TOOLS.values()) <= listed
