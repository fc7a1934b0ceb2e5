"""Decisions as elements of nftables sets, and the rules that look them up.

In: a ``Decision``, what is known of its device's addresses. Out: ``Match``es; the text of tables, sets and rules.
Must never: let a name, a reason or any other text of a decision into a rule.
Source: nft(8).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from thingwarden.domain.address import IpAddress, IpNetwork, plain_address
from thingwarden.domain.response import Act, Decision

SET_ROOM: Final = 65_535
"""Elements that a set can hold."""

_CHAINS: Final = {
    Act.BLOCK_FLOW: "cut",
    Act.BLOCK_PEER: "cut",
    Act.RATE_LIMIT: "rate",
    Act.QUARANTINE: "quarantine",
    Act.ISOLATE: "isolate",
}
_PRIORITY: Final = {"inet": -10, "bridge": -210}
"""Ten before the family's filters; a drop here is final whatever they accept."""

_PROTOCOLS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58}
_KEY_TYPES: Final = {"m": "ether_addr", "4": "ipv4_addr", "6": "ipv6_addr"}

_LOCAL_TALK: Final = """
    udp sport 68 udp dport 67 accept
    udp sport 67 udp dport 68 accept
    udp sport 546 udp dport 547 accept
    udp sport 547 udp dport 546 accept
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"""
"""What lets a confined device keep its address, so that it comes back by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Packets in one direction.

    Attributes:
        chain: ``cut``, ``rate``, ``quarantine`` or ``isolate``.
        source, target: MAC (as a source only) or address; None for any.
        proto: number; None for any.
        port: None for any.
        is_port_of_source: whether the port is the sender's.
    """

    chain: str
    source: str | IpAddress | None = None
    target: IpAddress | None = None
    proto: int | None = None
    port: int | None = None
    is_port_of_source: bool = False

    @property
    def set_name(self) -> str:
        """Of the first set for matches of this shape, such as ``cut_m_4_dport``."""
        return "_".join((self.chain, _kind(self.source), _kind(self.target), self._service))

    @property
    def key(self) -> bytes:
        """The fields; where there are several, each padded to whole four bytes."""
        fields = [_packed(end) for end in (self.source, self.target) if end is not None]
        if self.proto is not None:
            fields.append(bytes([self.proto]))
        if self.port is not None:
            fields.append(self.port.to_bytes(2, "big"))
        if len(fields) == 1:
            return fields[0]
        return b"".join(field + bytes(-len(field) % 4) for field in fields)

    @property
    def _service(self) -> str:
        if self.proto is None:
            return "any"
        return "proto" if self.port is None else "sport" if self.is_port_of_source else "dport"


def matches_of(decision: Decision, addresses: Iterable[IpAddress] = ()) -> list[Match]:
    """What a decision matches: what is sent, and what comes back.

    Args:
        decision: of an act that a firewall can put into force.
        addresses: of the device, besides the one that the decision names.

    Returns:
        Distinct; none where neither MAC nor address says which packets these are.
    """
    target, chain = decision.target, _CHAINS[decision.act]
    peer = None if target.peer is None else plain_address(target.peer)
    if decision.act is Act.BLOCK_PEER:
        return [] if peer is None else [Match(chain=chain, source=peer), Match(chain=chain, target=peer)]
    device = target.device
    if device is None:
        return []
    named = () if device.address is None else (device.address,)
    known = [item for item in dict.fromkeys(map(plain_address, (*named, *addresses))) if _is_family(item, peer)]
    proto = None if target.proto is None else _PROTOCOLS[target.proto]
    if target.is_inbound:
        return [Match(chain=chain, source=peer, target=item, proto=proto, port=target.port) for item in known]
    ends: list[str | IpAddress] = [device.mac.lower()] if device.mac is not None else list(known)
    sent = [Match(chain=chain, source=item, target=peer, proto=proto, port=target.port) for item in ends]
    if decision.act is Act.RATE_LIMIT:
        return sent
    back = [
        Match(chain=chain, source=peer, target=item, proto=proto, port=target.port, is_port_of_source=True)
        for item in known
    ]
    return sent + back


def table_text(family: str, table: str, spared: Iterable[IpNetwork]) -> str:
    """The table without any act; for ``nft -f``."""
    hooks = "\n".join(_hook(family, hook) for hook in ("forward", "input", "output"))
    return f"""table {family} {table} {{
  set spared4 {{ type ipv4_addr; flags interval; auto-merge; }}
  set spared6 {{ type ipv6_addr; flags interval; auto-merge; }}
  chain cut {{
  }}
  chain rate {{
  }}
  chain isolate {{
  }}
  chain quarantine {{
    ip daddr @spared4 return
    ip saddr @spared4 return
    ip6 daddr @spared6 return
    ip6 saddr @spared6 return
  }}
{hooks}
}}
{spared_text(family, table, spared)}"""


def spared_text(family: str, table: str, spared: Iterable[IpNetwork]) -> str:
    """What a quarantined device may go on to reach, instead of what it might before; for ``nft -f``."""
    lines = []
    networks = list(spared)
    for version in (4, 6):
        name = f"{family} {table} spared{version}"
        lines.append(f"flush set {name}")
        members = sorted({str(network) for network in networks if network.version == version})
        if members:
            lines.append(f"add element {name} {{ {', '.join(members)} }}")
    return "\n".join(lines) + "\n"


def set_text(family: str, table: str, set_name: str) -> str:
    """A set and the rule that drops what matches it; for ``nft -f``.

    Args:
        family, table: where.
        set_name: a ``Match``'s, or a further one of the same shape, with a number behind it. The kernel takes two
            states of an element, rate and counter, only where the set names both; each element has a rate of its own.
    """
    chain, source, target, service = set_name.split("_")[:4]
    types = [_KEY_TYPES[kind] for kind in (source, target) if kind != "any"]
    looked_up = []
    if source != "any":
        looked_up.append({"m": "ether saddr", "4": "ip saddr", "6": "ip6 saddr"}[source])
    if target != "any":
        looked_up.append({"4": "ip daddr", "6": "ip6 daddr"}[target])
    if service != "any":
        types.append("inet_proto")
        looked_up.append("meta l4proto")
    if service in ("sport", "dport"):
        types.append("inet_service")
        looked_up.append(f"th {service}")
    states = " limit rate over 1/second counter;" if chain == "rate" else ""
    return (
        f"add set {family} {table} {set_name} "
        f"{{ type {' . '.join(types)}; flags timeout; size {SET_ROOM};{states} }}\n"
        f"add rule {family} {table} {chain} {' . '.join(looked_up)} @{set_name} drop\n"
    )


def _hook(family: str, hook: str) -> str:
    is_routed = family == "inet" and hook == "forward"
    spared = "" if is_routed else _LOCAL_TALK
    return f"""  chain {hook} {{
    type filter hook {hook} priority {_PRIORITY[family]}; policy accept
    jump cut
    jump rate{spared}
    jump isolate
    jump quarantine
  }}"""


def _is_family(address: IpAddress, peer: IpAddress | None) -> bool:
    return peer is None or address.version == peer.version


def _kind(end: str | IpAddress | None) -> str:
    if end is None:
        return "any"
    return "m" if isinstance(end, str) else str(end.version)


def _packed(end: str | IpAddress) -> bytes:
    return bytes.fromhex(end.replace(":", "")) if isinstance(end, str) else end.packed


def networks_of(addresses: Iterable[IpAddress]) -> Iterator[IpNetwork]:
    """Each address as a network of its own; link-local scopes are dropped."""
    for address in addresses:
        yield ipaddress.ip_network(plain_address(address).packed)
