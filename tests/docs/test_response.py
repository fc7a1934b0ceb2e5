"""docs/response.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from thingwarden.domain.response import Act
from thingwarden.respond.lifecycle import TRANSITIONS, Cause, DecisionState
from thingwarden.respond.rules import PolicySettings


def page(repository: Path) -> str:
    return (repository / "docs" / "response.md").read_text()


def table_rows(text: str, first_cell: str) -> list[list[str]]:
    """Cells of the table whose header begins with ``first_cell``, header included."""
    table = re.search(rf"^\| {first_cell} \|.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.group().splitlines()]
    return [rows[0], *rows[2:]]


def test_every_act_is_listed_from_mild_to_drastic(repository: Path) -> None:
    listed = [row[0].strip("`") for row in table_rows(page(repository), "act")[1:]]
    assert listed == [act.value for act in Act]


def test_the_table_of_states_is_the_one_in_force(repository: Path) -> None:
    header, *rows = table_rows(page(repository), "state")
    found = {
        (DecisionState(row[0]), Cause(cause)): DecisionState(cell)
        for row in rows
        for cause, cell in zip(header[1:], row[1:], strict=True)
        if cell
    }
    assert found == TRANSITIONS


def test_the_limits_are_the_defaults(repository: Path) -> None:
    limits = {row[0]: row[1] for row in table_rows(page(repository), "limit that a person may lift")[1:]}
    settings = PolicySettings()
    assert limits["devices restricted at once"].startswith(f"{settings.max_devices},")
    assert settings.max_devices_ratio == 0.5
    assert limits["peers blocked at once"] == str(settings.max_blocked_peers)
    assert limits["decisions a minute"] == str(settings.max_decisions_per_minute)
    assert limits["restrictions of one device an hour"] == str(settings.max_changes_per_device_hour)
    assert limits["the most drastic act without approval"] == f"`{settings.automatic_up_to.value}`"
