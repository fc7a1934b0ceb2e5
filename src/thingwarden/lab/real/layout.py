"""The lab's network as the commands that build it: a home LAN, its gateway, and an internet beyond.

In: the LAN's hosts. Out: ``Step`` lists, argument lists with their input.
Must never: name an interface outside a namespace of this lab, or an address outside the lab's prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import (
    GATEWAY,
    GATEWAY6,
    GATEWAY_MAC,
    INTERNET,
    INTERNET6,
    LAN,
    LAN6,
    SPOOFED,
    UPLINK,
    UPLINK6,
)
from thingwarden.lab.timeline import Host

GATEWAY_NAME: Final = "gateway"
INTERNET_NAME: Final = "internet"
AIR_NAME: Final = "air"
"""Where links that an emulator carries are taken apart; no host of its own."""

LAN_BRIDGE: Final = "br0"
UPLINK_PORT: Final = "wan0"
_GATEWAY_UPLINK, _INTERNET_UPLINK = str(UPLINK[2]), str(UPLINK[1])
_GATEWAY_UPLINK6, _INTERNET_UPLINK6 = str(UPLINK6[2]), str(UPLINK6[1])
_OFFLOADS: Final = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")

_FAR_INDEX, _NEAR_INDEX, _DETOUR_INDEX_STEP = 2, 1000, 1000
"""Interfaces' numbers. Where both ends of a link have the same, the kernel lets up to a second pass before it notes
that the link is up (linkwatch_urgent_event), and loses what is sent meanwhile."""

_QUIET: Final = {
    "accept_ra": 0,
    "router_solicitations": 0,
    "autoconf": 0,
    "accept_dad": 0,
    "dad_transmits": 0,
}
"""IPv6 settings without which the kernel sends packets that no device asked for."""

_NAT: Final = f"""table ip lab_nat {{
  chain leaving {{
    type nat hook postrouting priority srcnat;
    oifname "{UPLINK_PORT}" ip saddr {LAN} masquerade
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command and what it reads from its standard input."""

    argv: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The network of one lab.

    Attributes:
        prefix: of the names of its namespaces.
        hosts: on the LAN.
        congestion: TCP's congestion control; empty leaves the kernel's own.
    """

    prefix: str
    hosts: tuple[Host, ...]
    congestion: str = ""

    def namespace(self, name: str) -> str:
        """The kernel's name of the namespace of ``name``."""
        return f"{self.prefix}-{name}"

    def port(self, name: str) -> str:
        """The gateway's interface towards the host ``name``."""
        return f"port{[host.name for host in self.hosts].index(name)}"

    def build(self) -> list[Step]:
        """All that makes the network; hosts that join later stay without a link."""
        names = names_of(self.hosts)
        steps = [self._batch("", *(f"netns add {self.namespace(name)}" for name in names))]
        has_v6 = {host.name: bool(host.address6) for host in self.hosts}
        steps += [self._settings(name, has_v6=has_v6.get(name, True)) for name in names]
        steps += [self._pairs(), self._switch(), *self.uplink_addresses(), self._internet(), self._nat()]
        steps += [self.plain_packets(INTERNET_NAME, "eth0"), self.plain_packets(GATEWAY_NAME, LAN_BRIDGE)]
        for host in self.hosts:
            steps += [self.plain_packets(host.name, "eth0"), self.plain_packets(GATEWAY_NAME, self.port(host.name))]
            if not host.joins:
                steps.append(self.link_up(host, host.address))
        return steps

    def link_up(self, host: Host, address: str) -> Step:
        """Give a host its link, its addresses and its default routes."""
        lines = [
            "link set lo up",
            "addr flush dev eth0",
            f"addr add {address}/{LAN.prefixlen} brd {LAN.broadcast_address} dev eth0",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
        ]
        if host.address6:
            lines += [
                f"addr add {host.address6}/{LAN6.prefixlen} dev eth0 nodad",
                f"route add default via {GATEWAY6}",
            ]
        return self._batch(host.name, *lines)

    def link_down(self, host: Host) -> Step:
        """Take a host's link and addresses."""
        return self._batch(host.name, "link set eth0 down", "addr flush dev eth0")

    def uplink_addresses(self) -> list[Step]:
        """Addresses and routes of the gateway's side of the uplink."""
        return [
            self._batch(
                GATEWAY_NAME,
                f"addr add {_GATEWAY_UPLINK}/{UPLINK.prefixlen} dev {UPLINK_PORT}",
                f"addr add {_GATEWAY_UPLINK6}/{UPLINK6.prefixlen} dev {UPLINK_PORT} nodad",
                f"link set {UPLINK_PORT} up",
                f"route add default via {_INTERNET_UPLINK}",
                f"route add default via {_INTERNET_UPLINK6}",
            ),
            self.plain_packets(GATEWAY_NAME, UPLINK_PORT),
        ]

    def open_air(self) -> list[Step]:
        """Make the namespace in which links are taken apart."""
        return [self._batch("", f"netns add {self.namespace(AIR_NAME)}"), self._settings(AIR_NAME, has_v6=False)]

    def detour(self, port: str) -> list[Step]:
        """Lead the link behind the gateway's ``port`` through two interfaces in ``air``: far end, near end."""
        air, end = self.namespace(AIR_NAME), self._near_end(port)
        far, near = detour_ends(port)
        steps = [
            # A name is free only once its link has left.
            self._batch(GATEWAY_NAME, f"link set {port} down", f"link set {port} netns {air} name {far}"),
            self._batch("", _pair(end, (air, near, end[2] + _DETOUR_INDEX_STEP))),
            self._batch(AIR_NAME, f"link set {far} up", f"link set {near} up"),
            self.plain_packets(AIR_NAME, far),
            self.plain_packets(AIR_NAME, near),
        ]
        if port == UPLINK_PORT:
            return [*steps, *self.uplink_addresses()]
        joined = self._batch(GATEWAY_NAME, f"link set {port} master {LAN_BRIDGE} up")
        return [*steps, joined, self.plain_packets(GATEWAY_NAME, port)]

    def plain_packets(self, name: str, interface: str) -> Step:
        """Switch offloads off: else a sender's kernel hands over super-packets with unfinished checksums."""
        return Step(argv=self.inside(name, "ethtool", "-K", interface, *_OFFLOADS))

    def inside(self, name: str, *argv: str) -> tuple[str, ...]:
        """The command line that runs ``argv`` in the namespace of ``name``."""
        return ("ip", "netns", "exec", self.namespace(name), *argv)

    def _batch(self, name: str, *lines: str) -> Step:
        where = ("-n", self.namespace(name)) if name else ()
        return Step(argv=("ip", *where, "-batch", "-"), stdin="\n".join(lines) + "\n")

    def _settings(self, name: str, *, has_v6: bool) -> Step:
        values = {"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0}
        for scope in ("all", "default"):
            v6 = {"disable_ipv6": int(not has_v6), **_QUIET}
            values.update({f"net.ipv6.conf.{scope}.{key}": value for key, value in v6.items()})
        if name == GATEWAY_NAME:
            values.update({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        arguments = [f"{key}={value}" for key, value in values.items()]
        if self.congestion:
            arguments.append(f"net.ipv4.tcp_congestion_control={self.congestion}")
        return Step(argv=self.inside(name, "sysctl", "-qw", *arguments))

    def _near_end(self, port: str) -> tuple[str, str, int]:
        number = int(port.removeprefix("port")) + 1 if port != UPLINK_PORT else 0
        return self.namespace(GATEWAY_NAME), port, _NEAR_INDEX + number

    def _pairs(self) -> Step:
        pairs = [_pair(self._near_end(UPLINK_PORT), (self.namespace(INTERNET_NAME), "eth0", _FAR_INDEX))]
        for host in self.hosts:
            far = (self.namespace(host.name), "eth0", _FAR_INDEX)
            pairs.append(_pair(self._near_end(self.port(host.name)), far, host.mac))
        return self._batch("", *pairs)

    def _switch(self) -> Step:
        return self._batch(
            GATEWAY_NAME,
            "link set lo up",
            # Without a querier, snooping would only forget who listens.
            f"link add {LAN_BRIDGE} address {GATEWAY_MAC} type bridge mcast_snooping 0",
            f"addr add {GATEWAY}/{LAN.prefixlen} brd {LAN.broadcast_address} dev {LAN_BRIDGE}",
            f"addr add {GATEWAY6}/{LAN6.prefixlen} dev {LAN_BRIDGE} nodad",
            *(f"link set {self.port(host.name)} master {LAN_BRIDGE} up" for host in self.hosts),
            f"link set {LAN_BRIDGE} up",
        )

    def _internet(self) -> Step:
        present = [service for service in SERVICES.values() if not service.is_absent]
        return self._batch(
            INTERNET_NAME,
            "link set lo up",
            *(f"addr add {service.address}/32 dev lo" for service in present),
            *(f"addr add {service.address6}/128 dev lo nodad" for service in present),
            f"addr add {_INTERNET_UPLINK}/{UPLINK.prefixlen} dev eth0",
            f"addr add {_INTERNET_UPLINK6}/{UPLINK6.prefixlen} dev eth0 nodad",
            "link set eth0 up",
            f"route add {LAN} via {_GATEWAY_UPLINK}",
            f"route add {LAN6} via {_GATEWAY_UPLINK6}",
            # Who is not there is silent: without these, IPv6 would answer "no route" at once.
            *(f"route add blackhole {prefix}" for prefix in (SPOOFED, *INTERNET, INTERNET6)),
        )

    def _nat(self) -> Step:
        return Step(argv=self.inside(GATEWAY_NAME, "nft", "-f", "-"), stdin=_NAT)


def detour_ends(port: str) -> tuple[str, str]:
    """The two interfaces in ``air`` of a link led through it: towards the far side, towards the gateway."""
    return f"{port}-far", f"{port}-near"


def names_of(hosts: Sequence[Host]) -> tuple[str, ...]:
    """Every name that has a namespace."""
    return (GATEWAY_NAME, INTERNET_NAME, *(host.name for host in hosts))


def _pair(near: tuple[str, str, int], far: tuple[str, str, int], far_mac: str = "") -> str:
    """A link between two ends, each a namespace, an interface's name and its index."""
    near_space, near_name, near_index = near
    far_space, far_name, far_index = far
    address = f"address {far_mac} " if far_mac else ""
    return (
        f"link add name {far_name} index {far_index} netns {far_space} {address}"
        f"type veth peer name {near_name} index {near_index} netns {near_space}"
    )
