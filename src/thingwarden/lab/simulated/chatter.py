"""What kernels say on their own: who wants which multicast group, and who has which IPv6 address.

In: that a socket joined or left a group; that a host is about to send to a neighbour. Out: packets at the capture.
Must never: delay what programs send.
Source: RFC 3376 (IGMPv3), RFC 3810 (MLDv2), RFC 4861 (neighbour discovery); instants as Linux 6 was seen to choose.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from thingwarden.domain.packet import PROTO_ICMP6
from thingwarden.lab.simulated.capture import BENIGN_LABEL, pack_rest
from thingwarden.lab.simulated.link import LOST

if TYPE_CHECKING:
    from thingwarden.lab.simulated.network import Host, Network

_IGMP: Final = 2
_IGMP_ROUTERS: Final = "224.0.0.22"
_IGMP_BYTES: Final = (40, 16)
_MLD_ROUTERS: Final = "ff02::16"
_MLD_BYTES: Final = (76, 20)
_MLD_REPORT: Final = 143
"""Sizes: the whole packet with its router alert, and what counts as payload."""
_FIRST_REPORT_S: Final = 0.008
_SECOND_REPORT_S: Final = 1.0
_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_WITH_ADDRESS_BYTES: Final = 72
_BARE_BYTES: Final = 64
_ICMP_AND_IP_BYTES: Final = 48
_REACHABLE_S: Final = (15.0, 45.0)
_FORGOTTEN_S: Final = 60.0
"""A neighbour that was not heard of for longer is asked for anew."""
_DOUBTED_S: Final = 5.06
"""A neighbour that was used without news of it is asked after so long."""
_SOLICITED_GROUP: Final = int(ipaddress.IPv6Address("ff02::1:ff00:0"))


class Chatter:
    """Keeps track of memberships and neighbours.

    Args:
        network: whose capture notes the packets.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._members: dict[tuple[Host, str], int] = {}
        self._fresh_until_s: dict[tuple[Host, Host], float] = {}

    def join(self, host: Host, group: str) -> None:
        """A socket of ``host`` has become a member of ``group``."""
        count = self._members.get((host, group), 0)
        self._members[host, group] = count + 1
        if not count:
            self._report(host, group)

    def leave(self, host: Host, group: str) -> None:
        """A socket of ``host`` is no member of ``group`` any more."""
        count = self._members.get((host, group), 0) - 1
        if count > 0:
            self._members[host, group] = count
        elif self._members.pop((host, group), 0) and host.is_up:
            self._report(host, group)

    def forget(self, host: Host) -> None:
        """The host has lost its power, and with it all that it knew."""
        for pair in [pair for pair in self._fresh_until_s if host in pair]:
            del self._fresh_until_s[pair]
        for key in [key for key in self._members if key[0] is host]:
            del self._members[key]

    def meet(self, sender: Host, receiver: Host, target: str) -> None:
        """``sender`` is about to send to its neighbour ``receiver`` by IPv6; it asks who has ``target`` if need be."""
        now_s = self._network.clock.now_s
        fresh_s = self._fresh_until_s.get((sender, receiver))
        if fresh_s is not None and now_s < fresh_s:
            return
        self._hear(sender, receiver)
        if fresh_s is None or now_s > fresh_s + _FORGOTTEN_S:
            own = sender.own_address(6)
            self._say(sender, own, solicited_group(target), _SOLICITATION, _WITH_ADDRESS_BYTES, now_s)
            self._say(receiver, target, own, _ADVERTISEMENT, _WITH_ADDRESS_BYTES, now_s + 6e-5, to=sender)
            if (receiver, sender) not in self._fresh_until_s:
                self._network.clock.call_at(now_s + _DOUBTED_S, self._probe, (receiver, sender, own, 2))
        else:
            self._network.clock.call_at(now_s + _DOUBTED_S, self._probe, (sender, receiver, target, 0))

    def _hear(self, sender: Host, receiver: Host) -> None:
        fresh_s = self._network.rng.uniform(*_REACHABLE_S)
        self._fresh_until_s[sender, receiver] = self._network.clock.now_s + fresh_s

    def _probe(self, what: tuple[Host, Host, str, int]) -> None:
        """Ask a neighbour that was used without news of it; which makes it ask back."""
        asker, asked, target, more = what
        if not (asker.is_up and asked.is_up):
            return
        now_s = self._network.clock.now_s
        self._hear(asker, asked)
        self._say(asker, asker.link_local, target, _SOLICITATION, _WITH_ADDRESS_BYTES, now_s, to=asked)
        self._say(asked, target, asker.link_local, _ADVERTISEMENT, _BARE_BYTES, now_s + 6e-5, to=asker)
        if more:
            self._network.clock.call_at(now_s + _DOUBTED_S, self._probe, (asked, asker, asker.link_local, more - 1))

    def _report(self, host: Host, group: str) -> None:
        """Tell the routers, twice, as either report may be lost."""
        rng, clock = self._network.rng, self._network.clock
        for delay_s in (rng.random() * _FIRST_REPORT_S, _FIRST_REPORT_S + rng.random() * _SECOND_REPORT_S):
            clock.call_at(clock.now_s + delay_s, self._send_report, (host, group))

    def _send_report(self, what: tuple[Host, str]) -> None:
        host, group = what
        if not host.is_up:
            return
        if ":" in group:
            self._say(host, host.link_local, _MLD_ROUTERS, _MLD_REPORT, _MLD_BYTES[0], self._network.clock.now_s)
            return
        network = self._network
        seen_s = host.outward.cross_alone(network.clock.now_s, _IGMP_BYTES[0])
        if seen_s != LOST:
            lane = network.group_lane(host, (host.own_address(4), 0), (_IGMP_ROUTERS, 0), _IGMP, BENIGN_LABEL)
            network.capture.rows.append(lane + pack_rest(seen_s, *_IGMP_BYTES, 0, 0, 0, 1, b""))

    def _say(
        self, sender: Host, source: str, target: str, kind: int, size_bytes: int, at_s: float, to: Host | None = None
    ) -> None:
        network = self._network
        seen_s = sender.outward.cross_alone(at_s, size_bytes)
        if seen_s == LOST:
            return
        ends = (source, kind), (target, 0)
        if to is None:
            lane = network.group_lane(sender, *ends, PROTO_ICMP6, BENIGN_LABEL)
        else:
            lane = network.lane(sender, ends[0], to, ends[1], PROTO_ICMP6, BENIGN_LABEL)
        payload_bytes = _MLD_BYTES[1] if kind == _MLD_REPORT else size_bytes - _ICMP_AND_IP_BYTES
        if lane:
            network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, payload_bytes, 0, 0, 0, 1, b""))


@lru_cache(maxsize=4096)
def solicited_group(address: str) -> str:
    """The multicast group in which the holder of an IPv6 address is asked for (RFC 4291, section 2.7.1)."""
    return str(ipaddress.IPv6Address(_SOLICITED_GROUP | int(ipaddress.IPv6Address(address)) & 0xFF_FFFF))
