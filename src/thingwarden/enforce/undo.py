"""The undo of one leased act, as a program of its own: ``python -m thingwarden.enforce.undo FOLDER LEASE``.

In: a lease. Out: exit code 0 when its act is undone, else one line on stderr that says why not.
Must never: undo more than that act; import the code of another kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, cast

from thingwarden.domain.errors import ConfigError, ThingwardenError
from thingwarden.enforce.leases import LeaseFolder

UNDOERS: Final = {"mosquitto": "thingwarden.enforce.mosquitto", "webhook": "thingwarden.enforce.webhook"}
"""Kind of lease: module whose ``undo(lease)`` takes the lease's values and its id as ``lease_id``."""


def undo_lease(folder: str, lease_id: str) -> None:
    """Undo the act of that lease; one that is gone is undone.

    Raises:
        ThingwardenError: the act could not be undone, or nobody knows how.
    """
    lease = LeaseFolder(folder).read(lease_id)
    if lease is None:
        return
    if lease.kind not in UNDOERS:
        raise ConfigError(f"lease {lease_id}", f"nobody undoes the kind {lease.kind!r}", "is this an older version?")
    undo = cast(Callable[[dict[str, Any]], None], import_module(UNDOERS[lease.kind]).undo)
    undo({**lease.values, "lease_id": lease.lease_id})


def main(arguments: Sequence[str]) -> int:
    """Undo, and say on stderr what went wrong."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m thingwarden.enforce.undo FOLDER LEASE\n")
        return 2
    try:
        undo_lease(*arguments)
    except ThingwardenError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
