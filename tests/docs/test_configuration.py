"""docs/configuration.md has one row for each setting, saying what the setting itself says."""

from __future__ import annotations

import json
from pathlib import Path

from thingwarden.config import SettingRow, Settings, setting_rows


def _documented_row(row: SettingRow) -> str:
    default = "unset" if row.value is None else f"`{json.dumps(row.value)}`"
    return f"| `{row.key}` | {default} | {row.description} | {row.allowed} |"


def test_every_setting_is_documented_as_it_is(repository: Path) -> None:
    documented = [
        line for line in (repository / "docs" / "configuration.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert documented == [_documented_row(row) for row in setting_rows(Settings())]


def test_every_section_is_documented_with_its_purpose(repository: Path) -> None:
    text = (repository / "docs" / "configuration.md").read_text()
    for name, field in Settings.model_fields.items():
        purpose = (getattr(field.annotation, "__doc__", None) or "").splitlines()[0]
        assert f"## [{name}]\n\n{purpose}\n" in text
