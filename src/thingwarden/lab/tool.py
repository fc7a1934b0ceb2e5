"""The programs that attackers and administrators use, as what is asked of them rather than as command lines.

In: nothing. Out: the ``Tool`` union; each world runs it in its own way, by the packaged program or by its model.
Must never: be without a bound in count, rate and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class PortScan:
    """nmap: ``targets`` are addresses or prefixes.

    Attributes:
        technique: ``syn`` (-sS), ``connect`` (-sT), ``udp`` (-sU), ``ping`` (-sn), ``version`` (-sV), ``fin`` (-sF).
        ports: what nmap's -p takes, such as ``1-1024`` or ``23,2323``; empty takes the ``top_ports`` most common.
        packets_per_s: at most.
        is_ordered: ports and targets in order instead of nmap's own random order.
    """

    targets: tuple[str, ...]
    technique: Literal["syn", "connect", "udp", "ping", "version", "fin"] = "syn"
    ports: str = ""
    top_ports: int = 100
    packets_per_s: float = 100.0
    is_ordered: bool = False
    lasts_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketFlood:
    """hping3: many packets to one target.

    Attributes:
        kind: ``syn``, ``ack``, ``udp`` or ``icmp``.
        payload_bytes: in each packet.
        is_spoofed: a random source for each packet, drawn from the lab's spoofing prefix.
        source: one other host's address as the source (reflection); empty is the sender's own.
    """

    target: str
    kind: Literal["syn", "ack", "udp", "icmp"] = "syn"
    port: int = 80
    packet_count: int = 2000
    packets_per_s: float = 500.0
    payload_bytes: int = 0
    is_spoofed: bool = False
    source: str = ""
    lasts_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginGuess:
    """hydra: passwords at a login service.

    Attributes:
        service: ``ssh``, ``telnet``, ``http`` (basic authentication) or ``ftp``.
        tries: how many passwords at most.
        parallel: connections at a time.
    """

    target: str
    service: Literal["ssh", "telnet", "http", "ftp"]
    port: int
    tries: int = 40
    parallel: int = 4
    lasts_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpSpoof:
    """arpspoof: tells ``victim`` that ``pretends`` is here, and the other way round; what comes is forwarded."""

    victim: str
    pretends: str
    lasts_s: float = 30.0


Tool: TypeAlias = PortScan | PacketFlood | LoginGuess | ArpSpoof
