"""What the commands about a response share: the enforcer, policy's key, the desk, who asks, how long.

In: settings and options. Out: what implements each port.
Must never: make a key for a command that only reads; put anything into force that the settings do not name.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from thingwarden.cli.invocation import Invocation
from thingwarden.cli.replay import open_journal
from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.domain.plan import MAX_NAME_LENGTH, MAX_REASON_LENGTH, MAX_TTL_S

if TYPE_CHECKING:
    from thingwarden.config import Settings
    from thingwarden.domain.ports import Enforcer
    from thingwarden.respond.policy import NetworkView
    from thingwarden.serve.allowed_names import AllowedNames
    from thingwarden.serve.desk import Desk

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

EXIT_REFUSED: Final = 2
"""What an order ends with that policy refuses even so."""

EXIT_NOT_ENFORCED: Final = 5
"""What an order ends with that the enforcer did not carry out, as ``EnforcementError``."""

_UNITS_S: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def lifetime_s(text: str) -> float:
    """Seconds of ``90s``, ``30min``, ``2h`` or ``1d``: above 0, at most a week.

    Raises:
        click.BadParameter: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,9})(s|m|min|h|d)", text)
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if not 0 < seconds <= MAX_TTL_S:
        raise click.BadParameter(f"{text!r} is no span such as 90s, 30min, 2h or 1d, up to 7d")
    return seconds


def _plain_text(most: int) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    def check(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
        if text is not None and (not text.strip() or len(text) > most or not text.isprintable()):
            raise click.BadParameter(f"printable text of 1 to {most} characters is wanted")
        return text

    return check


def person_option(command: AnyCommand) -> AnyCommand:
    """Add ``--as``; the command gets ``person``, the login's name unless another is given."""
    return click.option(
        "--as", "person", callback=_plain_text(MAX_NAME_LENGTH), default=login_name, help="Who orders this."
    )(command)


def reason_option(is_required: bool) -> Callable[[AnyCommand], AnyCommand]:
    """Add ``--reason``; the command gets ``reason``, empty where none is given."""
    check = _plain_text(MAX_REASON_LENGTH)
    return click.option("--reason", callback=check, required=is_required, help="Why, for the journal.")


def login_name() -> str:
    """The name of the user whose process this is; under sudo, of the user who called it."""
    caller = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    try:
        return caller or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def open_desk(invocation: Invocation, journal: Path | None, is_read_only: bool = False) -> Desk:
    """The desk over the chosen journal, else the configured one, and the configured enforcer."""
    from thingwarden.config import policy_settings
    from thingwarden.serve.desk import Desk

    settings = invocation.loaded.settings
    opened = open_journal(invocation, journal, is_read_only=is_read_only)
    key = policy_key(settings, is_made=not is_read_only)
    return Desk(opened, open_enforcer(settings), policy_settings(settings), key)


def open_enforcer(settings: Settings) -> Enforcer:
    """The configured enforcer.

    Raises:
        ConfigError: it needs policy's key, which is not to be had.
    """
    from thingwarden.config import enforcer_socket
    from thingwarden.enforce.dispatch import EnforcerSet
    from thingwarden.enforce.dryrun import DryRunEnforcer
    from thingwarden.enforce_section import EnforcerKind

    if settings.enforce.by is not EnforcerKind.SOCKET:
        return DryRunEnforcer()
    sockets = [enforcer_socket(settings.enforce, kind) for kind in settings.enforce.kinds]
    return EnforcerSet([_at_socket(settings, socket) for socket in sockets])


def learner(enforcer: Enforcer, names: AllowedNames | None = None) -> Callable[[], NetworkView]:
    """What tells what this machine knows: its own hosts, where allowed domains are, what the enforcers can do.

    Enforcers that cannot be reached are not counted out: an order to one fails with the reason.
    """
    from thingwarden.enforce.dispatch import known_capabilities
    from thingwarden.enforce.own_hosts import find_known_hosts
    from thingwarden.respond.policy import NetworkView

    own = find_known_hosts()

    def learn() -> NetworkView:
        return NetworkView(
            protected_addresses=own.addresses,
            protected_macs=own.macs,
            named_addresses=frozenset() if names is None else names.addresses(),
            capabilities=known_capabilities(enforcer),
        )

    return learn


def every_enforcer(settings: Settings) -> tuple[list[Enforcer], list[str]]:
    """All that may hold anything, and those that cannot even be tried, each with why: for a panic."""
    from thingwarden.config import enforcer_socket
    from thingwarden.domain.response import Reach
    from thingwarden.enforce.nftables import NftablesEnforcer
    from thingwarden.enforce_section import EnforcerKind

    sockets = set(settings.enforce.run_folder.glob("*.sock"))
    if settings.enforce.by is EnforcerKind.SOCKET:
        sockets |= {enforcer_socket(settings.enforce, kind) for kind in settings.enforce.kinds}
    enforcers: list[Enforcer] = []
    untried = []
    if os.geteuid() == 0:  # what a dead process left in the kernel
        firewalls = [NftablesEnforcer(reach) for reach in (Reach.GATEWAY, Reach.BRIDGE)]
        enforcers += [firewall for firewall in firewalls if firewall.has_table()]
    for socket in sorted(sockets):
        try:
            enforcers.append(_at_socket(settings, socket))
        except ConfigError as error:
            untried.append(f"enforcer at {socket}: {error}")
    return enforcers, untried


def _at_socket(settings: Settings, socket: Path) -> Enforcer:
    from thingwarden.config import key_path
    from thingwarden.enforce.client import SocketEnforcer
    from thingwarden.enforce.key import read_key

    return SocketEnforcer(
        socket, read_key(key_path(settings)), answer_within_s=settings.enforce.answer_within_ms / 1000
    )


def policy_key(settings: Settings, is_made: bool) -> bytes | None:
    """Policy's key; where there is none it is made, or None where it is only wanted for reading.

    Raises:
        ConfigError: the file is not to be trusted, or cannot be written.
    """
    from thingwarden.config import key_path
    from thingwarden.enforce.key import key_at, read_key

    path = key_path(settings)
    if is_made:
        return key_at(path)
    return read_key(path) if os.path.lexists(path) else None


def can_ask() -> bool:
    """Whether there is a terminal at the other end of standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirmed(question: str, is_yes: bool, otherwise: str) -> None:
    """Ask on a terminal; elsewhere somebody must have said yes beforehand.

    Raises:
        RequestError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    if is_yes:
        return
    if not can_ask():
        raise RequestError("this order", "there is nobody to ask", otherwise)
    click.confirm(question, abort=True, err=True)
