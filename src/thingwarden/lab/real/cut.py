"""A failing part of the network as an nftables table of its own, so that restoring it is one deletion.

In: what fails and how. Out: the table's family, name, namespace and text.
Must never: share a table between two cuts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from thingwarden.domain.errors import RequestError
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.real.layout import GATEWAY_NAME, INTERNET_NAME, LAN_BRIDGE, UPLINK_PORT, Layout

Mode = Literal["silent", "refusing"]

_RESET: Final = "meta l4proto tcp reject with tcp reset"
# Neighbour discovery has to pass, or there would be nobody to refuse.
_CLOSED: Final = (_RESET, "meta l4proto { udp, icmp } reject with icmpx type port-unreachable")
_UNREACHABLE: Final = (_RESET, "reject with icmpx type host-unreachable")
_SILENCE: Final = ("drop",)
_EARLY: Final = "priority -300"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTable:
    """A table in the namespace of ``host``."""

    host: str
    family: str
    name: str
    text: str

    @property
    def deletion(self) -> str:
        """What removes it."""
        return f"delete table {self.family} {self.name}\n"


def cut_table(layout: Layout, target: str, mode: Mode) -> CutTable:
    """The table that cuts ``target``: ``uplink``, ``resolver``, a service of the directory, or a host.

    Raises:
        RequestError: there is no such target.
    """
    closed: tuple[str, ...] = _SILENCE if mode == "silent" else _CLOSED
    if target == "uplink":
        outward: tuple[str, ...] = _SILENCE if mode == "silent" else _UNREACHABLE
        leaving, coming = _each(f"oifname {UPLINK_PORT}", outward), _each(f"iifname {UPLINK_PORT}", _SILENCE)
        return _table(GATEWAY_NAME, target, {"forward": coming + leaving, "input": coming, "output": leaving})
    if target == "resolver":
        asked = f"iifname {LAN_BRIDGE} meta l4proto {{ tcp, udp }} th dport 53"
        return _table(GATEWAY_NAME, target, {"input": _each(asked, closed)})
    if target in SERVICES:
        service = SERVICES[target]
        rules = _each(f"ip daddr {service.address}", closed) + _each(f"ip6 daddr {service.address6}", closed)
        return _table(INTERNET_NAME, target, {"input": rules})
    if target not in {host.name for host in layout.hosts}:
        raise RequestError(f"cut of {target}", "no such part of the network", "uplink, resolver, a service or a host")
    if mode == "silent":
        return _unheard(layout, target)
    answers = ("tcp flags & rst == rst accept", "meta l4proto icmp accept")
    refused = answers + _each("oifname eth0", _CLOSED)
    return _table(target, target, {"input": _each("iifname eth0", _CLOSED), "output": refused})


def _unheard(layout: Layout, host: str) -> CutTable:
    """The switch drops every frame from and to a host, ARP as well, as if it had left the radio's range."""
    port, name = layout.port(host), _table_name(host)
    text = (
        f"table bridge {name} {{\n"
        f"  chain from {{\n    type filter hook prerouting {_EARLY};\n    iifname {port} drop\n  }}\n"
        f"  chain to {{\n    type filter hook postrouting {_EARLY};\n    oifname {port} drop\n  }}\n"
        "}\n"
    )
    return CutTable(host=GATEWAY_NAME, family="bridge", name=name, text=text)


def _each(match: str, verdicts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{match} {verdict}" for verdict in verdicts)


def _table(host: str, target: str, rules: dict[str, tuple[str, ...]]) -> CutTable:
    name = _table_name(target)
    chains = []
    for hook, lines in rules.items():
        listed = "".join(f"    {line}\n" for line in lines)
        chains.append(f"  chain {hook} {{\n    type filter hook {hook} priority filter;\n{listed}  }}\n")
    return CutTable(host=host, family="inet", name=name, text=f"table inet {name} {{\n{''.join(chains)}}}\n")


def _table_name(target: str) -> str:
    return "cut_" + re.sub(r"[^a-z0-9]", "_", target)
