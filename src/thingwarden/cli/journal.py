"""``thingwarden devices`` and ``thingwarden incidents``: what the journal holds.

In: the journal. Out: tables or JSON lines.
Must never: write to the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from thingwarden.cli.invocation import Invocation, common_options
from thingwarden.cli.replay import open_journal

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


def journal_option(command: AnyCommand) -> AnyCommand:
    """Add ``--journal``; the command gets ``journal``, None for the configured one."""
    return click.option(
        "--journal", type=click.Path(path_type=Path, dir_okay=False), help="Journal instead of the configured one."
    )(command)


@click.command("devices")
@journal_option
@common_options
@click.pass_obj
def devices(invocation: Invocation, journal: Path | None) -> None:
    """List the devices that the journal knows, as last seen."""
    from thingwarden.cli.report import devices_table

    found = open_journal(invocation, journal, is_read_only=True).devices()
    if invocation.wants_json:
        for device in found:
            invocation.emit("device", device)
        return
    invocation.show(devices_table(found))


@click.group("incidents", invoke_without_command=True)
@journal_option
@common_options
@click.pass_context
def incidents(context: click.Context, journal: Path | None) -> None:
    """List the incidents that the journal holds; `incidents show ID` tells one whole."""
    from thingwarden.cli.report import incidents_table

    if context.invoked_subcommand is not None:
        return
    invocation = context.ensure_object(Invocation)
    found = open_journal(invocation, journal, is_read_only=True).incidents()
    if invocation.wants_json:
        for incident in found:
            invocation.emit("incident", incident)
        return
    invocation.show(incidents_table(found))


@incidents.command("show")
@click.argument("incident_id", metavar="ID")
@journal_option
@common_options
@click.pass_obj
def show(invocation: Invocation, incident_id: str, journal: Path | None) -> None:
    """Tell one incident whole: evidence, planned acts, refusals. ID may be a beginning that only one has."""
    from thingwarden.cli.report import incident_panel
    from thingwarden.serve.entries import incident_report

    found = incident_report(open_journal(invocation, journal, is_read_only=True), incident_id)
    if invocation.wants_json:
        invocation.emit("incident_report", found)
        return
    invocation.show(incident_panel(found["incident"], found["decisions"], found["refusals"], found["receipts"]))
