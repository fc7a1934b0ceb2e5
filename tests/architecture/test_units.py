"""The units of deploy/systemd are ones that systemd understands, and call commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from thingwarden.cli.app import root


def test_systemd_understands_the_units(repository: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    units = sorted((repository / "deploy" / "systemd").glob("*.service"))
    assert units
    for unit in units:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/thingwarden", "/bin/true"))
    names = [tmp_path / unit.name.replace("@", "@dry-run") for unit in units]
    for unit, name in zip(units, names, strict=True):
        (tmp_path / unit.name).rename(name)
    done = subprocess.run([analyze, "verify", "--man=no", *names], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "thingwarden" in line and "/bin/true" not in line]
    assert not ours


def test_units_call_commands_with_options_that_exist(repository: Path) -> None:
    for unit in (repository / "deploy" / "systemd").glob("*.service"):
        (line,) = re.findall(r"^ExecStart=/usr/bin/thingwarden (.+)$", unit.read_text(), re.MULTILINE)
        name, *words = line.split()
        command = root.get_command(click.Context(root), name) if isinstance(root, click.Group) else None
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
