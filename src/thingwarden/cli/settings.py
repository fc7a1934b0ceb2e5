"""``thingwarden config``: check, show, or write the configuration.

In: a TOML file. Out: problems, values with their origin, or the default file.
Must never: change a file.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from thingwarden.cli.invocation import Invocation, common_options, quantity, table
from thingwarden.domain.errors import ConfigError


@click.group("config")
def config_group() -> None:
    """Check, show or write the configuration (one TOML file)."""


@config_group.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@common_options
@click.pass_obj
def check(invocation: Invocation, file: Path | None) -> None:
    """Check FILE, or the file that would be used; exit 2 when a setting is refused."""
    import os

    from thingwarden.config import find_config_file, find_problems

    chosen = find_config_file(file or invocation.config_path, os.environ)
    problems = find_problems(chosen) if chosen is not None else []
    if invocation.wants_json:
        for problem in problems:
            invocation.emit("config_problem", {"file": str(chosen), **asdict(problem)})
        invocation.emit(
            "config_check", {"file": chosen and str(chosen), "is_valid": not problems, "problem_count": len(problems)}
        )
    if problems:
        if not invocation.wants_json:
            rows = [(problem.key, problem.value, problem.why, problem.allowed) for problem in problems]
            invocation.show(table("", ("key", "value", "problem", "allowed"), rows))
        raise ConfigError(
            f"configuration {chosen}", f"{quantity(len(problems), 'setting')} refused", "nothing was started or changed"
        )
    invocation.show(f"{chosen} is valid." if chosen else "No configuration file found; the defaults hold.")


@config_group.command("show")
@click.option("--origin", is_flag=True, help="Say for each value whether it is a default or from which file.")
@common_options
@click.pass_obj
def show(invocation: Invocation, origin: bool) -> None:
    """Show every setting with its value."""
    from thingwarden.config import setting_rows

    loaded = invocation.loaded
    rows = list(setting_rows(loaded.settings))
    if invocation.wants_json:
        for row in rows:
            said = {"origin": loaded.origin[row.key]} if origin else {}
            invocation.emit("setting", {"key": row.key, "value": row.value, **said})
        return
    columns = ("key", "value", "origin") if origin else ("key", "value")
    cells = [(row.key, _shown(row.value), loaded.origin[row.key])[: len(columns)] for row in rows]
    invocation.show(table("", columns, cells))


@config_group.command("default")
@common_options
@click.pass_obj
def default(invocation: Invocation) -> None:
    """Write the default configuration, commented, as TOML to stdout."""
    from thingwarden.config import Settings, setting_rows, write_toml

    if not invocation.wants_json:
        click.echo(write_toml(Settings()), nl=False)
        return
    for row in setting_rows(Settings()):
        invocation.emit("setting_default", asdict(row))


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    return "(unset)" if value is None else str(value)
