"""Where the domains of the allow list are found, asked of the machine's own resolver, again and again.

In: domains, a way to look one up. Out: addresses.
Must never: keep a packet waiting for an answer; forget an address that was right a moment ago.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from thingwarden.domain.address import IpAddress

REFRESH_S: Final = 300.0
REMEMBERED_S: Final = 86_400.0
"""An address counts for so long after it was told last: devices keep what they were told, too."""

Lookup = Callable[[str], Iterable[str]]


def look_up(domain: str) -> list[str]:
    """Addresses of a domain, by the machine's resolver; none where it does not answer."""
    try:
        found = socket.getaddrinfo(domain, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return []
    return [str(item[4][0]) for item in found]


class AllowedNames:
    """Looks up domains in a thread of its own; ``close`` it.

    Args:
        domains: of the allow list; names below them cannot be known, and are not looked up.
        look_up: asks for one.
        refresh_s: seconds between two rounds.
    """

    def __init__(self, domains: Iterable[str], look_up: Lookup = look_up, refresh_s: float = REFRESH_S) -> None:
        self._domains, self._look_up, self._refresh_s = tuple(sorted(domains)), look_up, refresh_s
        self._seen: dict[IpAddress, float] = {}
        self._addresses: frozenset[IpAddress] = frozenset()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="allowed-names", daemon=True)
        if self._domains:
            self._thread.start()

    def addresses(self) -> frozenset[IpAddress]:
        """Where they are found by now; never waits."""
        return self._addresses

    def close(self) -> None:
        """End the thread; a question that is being asked may outlive it."""
        self._is_over.set()

    def _go_on(self) -> None:
        while not self._is_over.is_set():
            for domain in self._domains:
                self._ask(domain)
            self._is_over.wait(self._refresh_s)

    def _ask(self, domain: str) -> None:
        now_s = time.monotonic()
        for text in self._look_up(domain):
            self._seen[ipaddress.ip_address(text.partition("%")[0])] = now_s
        self._addresses = frozenset(item for item, at_s in self._seen.items() if now_s - at_s < REMEMBERED_S)
