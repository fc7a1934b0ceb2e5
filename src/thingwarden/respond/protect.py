"""Learning from traffic which hosts the network cannot do without: gateway, DNS, DHCP and NTP servers.

In: flows that nothing spoke against. Out: ``ProtectedHosts``.
Must never: let one device alone make an outside host protected, for malware talks to port 53 too.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpAddress, IpNetwork
from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch, address_from_words

LOCAL_NETWORKS: Final[tuple[IpNetwork, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)

MIN_LOCAL_ANSWERS: Final = 3
"""Answered requests after which a local host counts as a server."""

MIN_OUTSIDE_CLIENTS: Final = 2
"""Different clients that an outside server must have answered."""

MIN_ROUTED_ADDRESSES: Final = 2
"""Different outside addresses seen behind one MAC that make it the gateway's."""

MAX_HOSTS: Final = 4096
"""Hosts about which anything is remembered; later ones are not learned."""

_SERVER_PORTS: Final = {(17, 53): "DNS server", (6, 53): "DNS server", (6, 853): "DNS server", (17, 67): "DHCP server",
                        (17, 123): "NTP server"}  # fmt: skip
_ANSWERED: Final = [CONN_STATE_CODE[name] for name in ("SF", "S1", "S2", "S3", "RSTO", "RSTR")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedHosts:
    """Hosts that no act may touch.

    Attributes:
        roles: by address, what it is for.
        macs: link-layer addresses of gateways.
    """

    roles: dict[IpAddress, str]
    macs: frozenset[str]


@dataclass(slots=True)
class _Server:
    role: str
    answer_count: int
    clients: set[tuple[int, int]]


class HostRoles:
    """Watches who serves whom.

    Args:
        local_networks: where the network's own hosts live.
    """

    def __init__(self, local_networks: tuple[IpNetwork, ...] = LOCAL_NETWORKS) -> None:
        self._local_networks = local_networks
        self._servers: dict[IpAddress, _Server] = {}
        self._behind_mac: dict[int, set[IpAddress]] = {}
        self._outside_count: dict[int, int] = {}  # of the addresses behind each MAC
        self._met: set[tuple[int, int, int]] = set()  # MAC and halves of the address behind it

    def observe(self, flows: FlowBatch, rows: npt.NDArray[np.int64]) -> None:
        """Take in the finished flows at ``rows``, of which none is suspect."""
        if not len(rows):
            return
        self._observe_servers(flows, rows)
        for address, mac in ((flows.orig_address, flows.orig_mac), (flows.resp_address, flows.resp_mac)):
            self._observe_macs(address[rows], mac[rows])

    def protected(self) -> ProtectedHosts:
        """The hosts that count as protected by now."""
        roles = {address: server.role for address, server in self._servers.items() if self._is_trusted(address, server)}
        macs = []
        for mac, outside_count in self._outside_count.items():
            if outside_count >= MIN_ROUTED_ADDRESSES:
                macs.append(mac)
                near = (address for address in self._behind_mac[mac] if self._is_local(address))
                roles.update(dict.fromkeys(near, "gateway"))
        return ProtectedHosts(roles=roles, macs=frozenset(mac_text(mac) for mac in macs))

    def _observe_servers(self, flows: FlowBatch, rows: npt.NDArray[np.int64]) -> None:
        key = flows.proto[rows].astype(np.int64) << 16 | flows.resp_port[rows]
        is_server_port = np.isin(key, [proto << 16 | port for proto, port in _SERVER_PORTS])
        rows = rows[is_server_port & np.isin(flows.conn_state[rows], _ANSWERED)]
        if not len(rows):
            return
        halves = np.concatenate([flows.resp_address[rows], flows.orig_address[rows]], axis=1)
        kinds = np.stack([flows.proto[rows], flows.resp_port[rows]], axis=1).astype(np.uint64)
        pairs, counts = np.unique(np.concatenate([halves, kinds], axis=1), axis=0, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            server = self._server(address_from_words(pair[0], pair[1]), _SERVER_PORTS[pair[4], pair[5]])
            if server is not None:
                server.answer_count += count
                if len(server.clients) < MIN_OUTSIDE_CLIENTS:
                    server.clients.add((pair[2], pair[3]))

    def _server(self, address: IpAddress, role: str) -> _Server | None:
        if address not in self._servers and len(self._servers) < MAX_HOSTS:
            self._servers[address] = _Server(role, 0, set())
        return self._servers.get(address)

    def _observe_macs(self, halves: npt.NDArray[np.uint64], mac: npt.NDArray[np.uint64]) -> None:
        is_host = (mac != 0) & (mac >> np.uint64(40) & np.uint64(1) == 0)  # the group bit marks multicast
        if not is_host.any():
            return
        pairs = np.unique(np.concatenate([mac[is_host, None], halves[is_host]], axis=1), axis=0)
        for number, high, low in pairs.tolist():
            if (number, high, low) not in self._met:
                self._meet(number, high, low)

    def _meet(self, mac: int, high: int, low: int) -> None:
        """Note an address that was not seen behind a MAC before, where there is room for it."""
        known = self._behind_mac.get(mac)
        if known is None and len(self._behind_mac) < MAX_HOSTS:
            known = self._behind_mac[mac] = set()
        if known is None or len(known) >= MAX_HOSTS:
            return
        address = address_from_words(high, low)
        known.add(address)
        self._met.add((mac, high, low))
        if not self._is_local(address):
            self._outside_count[mac] = self._outside_count.get(mac, 0) + 1

    def _is_trusted(self, address: IpAddress, server: _Server) -> bool:
        if self._is_local(address):
            return server.answer_count >= MIN_LOCAL_ANSWERS
        return len(server.clients) >= MIN_OUTSIDE_CLIENTS

    def _is_local(self, address: IpAddress) -> bool:
        return any(address in network for network in self._local_networks)


def mac_text(mac: int) -> str:
    """A link-layer address as ``aa:bb:cc:dd:ee:ff``."""
    return ":".join(f"{mac >> shift & 0xFF:02x}" for shift in range(40, -8, -8))
