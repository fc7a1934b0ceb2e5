"""An enforcer's process: ``python -m thingwarden.enforce SETTINGS``, started by ``thingwarden enforcer``.

In: settings as JSON, orders on a socket, SIGTERM. Out: acts on the network, receipts, remarks on stderr.
Must never: import beyond the standard library for the firewall's sake; keep a privilege that it does not need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from thingwarden.enforce import lean  # isort: skip # noqa: F401 - first, since it decides what the others load
from thingwarden.domain.errors import ThingwardenError
from thingwarden.domain.response import ReceiptStatus
from thingwarden.enforce.backend import build_backend, find_backend
from thingwarden.enforce.guard import Guard
from thingwarden.enforce.holdings import HoldingsFile
from thingwarden.enforce.key import read_key
from thingwarden.enforce.leases import LeaseFolder
from thingwarden.enforce.own_hosts import find_known_hosts
from thingwarden.enforce.privilege import keep_only
from thingwarden.enforce.service import EnforcerService
from thingwarden.enforce.settings import ProcessSettings, read_settings
from thingwarden.enforce.warden import Warden, machine_clocks


def serve(settings: ProcessSettings) -> int:
    """Hold the enforcer and listen until told to stop.

    Raises:
        ThingwardenError: the process cannot be what it should be.
    """
    key = read_key(settings.key)
    clocks = machine_clocks()
    holdings = HoldingsFile(settings.state, clocks.boot_id, key)
    leases = LeaseFolder(str(settings.leases))
    keep_only(find_backend(settings.kind).capabilities)
    warden = Warden(
        build_backend(settings.kind, settings.options, leases),
        guard=Guard(settings.guard_settings()),
        holdings=holdings,
        key=key,
        clocks=clocks,
        find_hosts=partial(find_known_hosts, settings.protected_networks),
    )
    uids = frozenset() if settings.core_uid is None else frozenset({settings.core_uid})
    service = EnforcerService(warden, settings.socket, uids=uids, gid=settings.core_gid, say=_say)
    service.stop_on_signals()
    _say(f"{settings.kind} enforcer listens at {settings.socket}")
    service.run()
    service.close()
    return _release(warden) if settings.releases_on_stop else 0


def main(arguments: Sequence[str]) -> int:
    """Serve by the settings that are given, and say on stderr what went wrong."""
    if len(arguments) != 1:
        _say("usage: python -m thingwarden.enforce SETTINGS (as JSON; see: thingwarden enforcer)")
        return 2
    try:
        return serve(read_settings(arguments[0]))
    except ThingwardenError as error:
        _say(f"error: {error.what}\nwhy:   {error.why}\nhint:  {error.hint}")
        return error.exit_code


def _release(warden: Warden) -> int:
    """End everything in force; exit code 5 where something remains."""
    failed = [item for item in warden.release_all() if item.status is ReceiptStatus.FAILED]
    for receipt in failed:
        _say(f"decision {receipt.decision_id} remains in force: {receipt.detail}")
    return 5 if failed else 0


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
