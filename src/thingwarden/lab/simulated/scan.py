"""nmap's scans as packets: what it sends, in which order and how fast, and what it hears.

In: a ``PortScan``. Out: packets, slice by slice of virtual time; connections where nmap makes whole ones.
Must never: ask more, or for longer, than the tool was told.
Source: nmap 7.93 with -Pn --max-retries 1, watched in namespaces.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_FIN, TCP_SYN
from thingwarden.lab.simulated.handshake import Call, open_connection
from thingwarden.lab.simulated.network import Place, address_version, address_words, is_on_lan
from thingwarden.lab.simulated.raw import ICMP_BYTES, Shooter, Volley
from thingwarden.lab.simulated.scan_ports import DATAGRAM_SIZES, TCP_PORTS, UDP_PORTS
from thingwarden.lab.simulated.tcp import IP_BYTES, PLAIN_TCP_BYTES, Side
from thingwarden.lab.simulated.udp import HEADER_BYTES, ICMP_PROTO
from thingwarden.lab.tool import PortScan
from thingwarden.lab.world import Behaviour, World

if TYPE_CHECKING:
    from thingwarden.lab.simulated.world import SimulatedWorld

_STARTS_S: Final = (0.16, 0.26)
_ARP_S: Final = 0.08
_ARP_BURST_COUNT: Final = 50
"""So many neighbours are asked for at once, whatever the rate."""
_SLICE_S: Final = 0.5
_RETRIES: Final = 1
_SILENCE_S: Final = 1.0
_QUICK_SILENCE_S: Final = 0.1
"""How long nmap waits for an answer before it asks again: from a target that is silent, and from one that is not."""
_SYN_BYTES: Final = 24
_WINDOW: Final = 1024
_MATCHES_S: Final = 0.28
_BANNER_S: Final = 6.04
_ANSWER_S: Final = 5.02
_VERSION_PROBES: Final = {80: 18, 8080: 18, 443: 218, 8443: 218, 445: 168, 139: 168, 554: 22, 53: 32}
"""First probe by port, bytes: nmap asks what usually listens there; elsewhere an empty line or two come first."""
_EMPTY_LINES_BYTES: Final = 4
_CONNECT_WAIT_S: Final = 1.0
_MOST_HOSTS: Final = 65536


@dataclass(frozen=True, slots=True)
class _Probes:
    """Whom to ask what: target numbers and ports, in nmap's order."""

    target: npt.NDArray[np.int64]
    port: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.port)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> _Probes:
        return _Probes(self.target[rows], self.port[rows])


class _Scan:
    """One run of nmap."""

    def __init__(self, world: SimulatedWorld, tool: PortScan) -> None:
        process = world.process
        self.world = world
        self.tool = tool
        self.network = process.network
        self.ends_s = world.now_s() + tool.lasts_s
        self.targets = expand_targets(tool.targets)
        self.labels = process.label_to
        self.host = process.host
        self.plane = process.plane
        self.own_port = self.network.rng.randrange(33000, 64000)
        self.seq = self.network.rng.getrandbits(32)

    async def run(self) -> None:
        """Find the neighbours that are there, then ask."""
        await self.world.sleep(self.network.rng.uniform(*_STARTS_S))
        await self._ask_for_neighbours()
        if not self.targets:
            return
        match self.tool.technique:
            case "ping":
                await self._ping()
            case "connect":
                await self._connect(self._probes(tcp=True))
            case "udp":
                await self._ask_all(self._probes(tcp=False))
            case "version":
                await self._ask_all(self._probes(tcp=True))
                await self._learn_versions()
            case _:
                await self._ask_all(self._probes(tcp=True))

    async def _ask_for_neighbours(self) -> None:
        """By ARP, which the capture's flows do not show: once, again where nobody answers."""
        near = [target for target in self.targets if is_on_lan(target)]
        if not near or self.host.place is not Place.LAN:
            return
        silent = [target for target in near if not self.network.find(target).is_up]
        asked_count = len(near) + len(silent)
        await self.world.sleep(_ARP_S + max(0, asked_count - _ARP_BURST_COUNT) / self.tool.packets_per_s)
        absent = dict.fromkeys(silent)
        self.targets = [target for target in self.targets if target not in absent]

    def _probes(self, *, tcp: bool) -> _Probes:
        ports = parse_ports(self.tool.ports) or list((TCP_PORTS if tcp else UDP_PORTS)[: self.tool.top_ports])
        targets = np.arange(len(self.targets))
        if not self.tool.is_ordered:
            self.network.rng.shuffle(ports)
            targets = self.network.bulk_rng.permutation(targets)
        port, target = np.meshgrid(np.array(ports, dtype=np.int64), targets, indexing="ij")
        return _Probes(target.ravel(), port.ravel())

    async def _ask_all(self, probes: _Probes) -> None:
        """Send every probe, and once more those that nobody answers, as soon as they are given up."""
        per_slice = max(1, round(self.tool.packets_per_s * _SLICE_S))
        again: list[tuple[float, _Probes]] = []
        sent_count = 0
        while (sent_count < len(probes) or again) and self.world.now_s() < self.ends_s:
            is_again = bool(again) and again[0][0] <= self.world.now_s()
            if is_again:
                part = again.pop(0)[1]
            elif sent_count < len(probes):
                part = probes.take(slice(sent_count, sent_count + per_slice))
                sent_count += len(part)
            else:
                await self.world.sleep(min(again[0][0], self.ends_s) - self.world.now_s())
                continue
            silent = np.flatnonzero(~self._fire(part, int(is_again)))
            await self.world.sleep(len(part) / self.tool.packets_per_s)
            if len(silent) and not is_again:
                again.append((self.world.now_s() + self._patience_s(part, silent), part.take(silent)))

    def _patience_s(self, asked: _Probes, silent: npt.NDArray[np.int64]) -> float:
        """How long nmap waits for an answer: not long, once a target has answered anything."""
        answering = np.delete(asked.target, silent)
        return _QUICK_SILENCE_S if np.isin(asked.target[silent], answering).any() else _SILENCE_S

    def _fire(self, probes: _Probes, attempt: int) -> npt.NDArray[np.bool_]:
        """Send probes from now on at the tool's rate; whether each was answered."""
        at_s = self.world.now_s() + np.arange(len(probes)) / self.tool.packets_per_s
        at_s = at_s + np.minimum(self.network.bulk_rng.exponential(6e-4, len(probes)), 0.5 / self.tool.packets_per_s)
        answered = np.zeros(len(probes), dtype=np.bool_)
        is_silent = np.array(
            [self.network.find(self.targets[t]) is self.network.nowhere for t in range(len(self.targets))]
        )
        for group in _groups(probes.target, is_silent):
            if len(group):
                answered[group] = self._fire_at(probes.take(group), at_s[group], attempt)
        return answered

    def _fire_at(self, probes: _Probes, at_s: npt.NDArray[np.float64], attempt: int) -> npt.NDArray[np.bool_]:
        """Probes for one target, or for several that nobody has."""
        target = self.targets[int(probes.target[0])]
        if self.tool.technique == "udp":
            return self._fire_datagrams(target, probes, at_s, attempt)
        version = address_version(target)
        is_fin = self.tool.technique == "fin"
        count = len(probes)
        volley = Volley(
            at_s=at_s,
            src_port=np.full(count, self.own_port + attempt),
            dst_port=probes.port,
            proto=PROTO_TCP,
            ip_bytes=IP_BYTES[version] + (PLAIN_TCP_BYTES if is_fin else _SYN_BYTES),
            flags=TCP_FIN if is_fin else TCP_SYN,
            window_bytes=_WINDOW,
            seq=self.seq,
            destination=self._destinations(probes),
        )
        shooter = self._shooter(target, PROTO_TCP, int(probes.port[0]))
        return shooter.fire_strays(target, volley) if is_fin else shooter.fire_syns(target, volley)

    def _destinations(self, probes: _Probes) -> npt.NDArray[np.uint64] | None:
        if not (probes.target != probes.target[0]).any():
            return None
        return np.array([address_words(self.targets[t]) for t in probes.target.tolist()], dtype=np.uint64)

    def _fire_datagrams(
        self, target: str, probes: _Probes, at_s: npt.NDArray[np.float64], attempt: int
    ) -> npt.NDArray[np.bool_]:
        shooter = self._shooter(target, PROTO_UDP, int(probes.port[0]))
        version = address_version(target)
        answered = np.zeros(len(probes), dtype=np.bool_)
        destinations = self._destinations(probes)
        for row, port in enumerate(probes.port.tolist()):
            for number, size_bytes in enumerate(DATAGRAM_SIZES.get(port, (0,))):
                volley = Volley(
                    at_s=at_s[row : row + 1] + number * 2e-5,
                    src_port=np.array([self.own_port + 2 * attempt]),
                    dst_port=probes.port[row : row + 1],
                    proto=PROTO_UDP,
                    ip_bytes=HEADER_BYTES[version] + size_bytes,
                    payload_bytes=size_bytes,
                    destination=None if destinations is None else destinations[row : row + 1],
                )
                answered[row] |= bool(shooter.fire_datagrams(target, volley)[0])
        return answered

    async def _ping(self) -> None:
        """What nmap asks hosts beyond the gateway: an echo, ports 443 and 80, the time."""
        far = [target for target in self.targets if not is_on_lan(target)]
        per_slice = max(1, round(self.tool.packets_per_s * _SLICE_S / 4))
        order = far if self.tool.is_ordered else self.network.rng.sample(far, len(far))
        for attempt in range(_RETRIES + 1):
            silent: list[str] = []
            for begin in range(0, len(order), per_slice):
                if self.world.now_s() >= self.ends_s:
                    return
                part = order[begin : begin + per_slice]
                silent += [target for number, target in enumerate(part) if not self._ping_one(target, number, attempt)]
                await self.world.sleep(4 * len(part) / self.tool.packets_per_s)
            order = silent
            if not order:
                return
            await self.world.sleep(min(_SILENCE_S, max(0.0, self.ends_s - self.world.now_s())))

    def _ping_one(self, target: str, number: int, attempt: int) -> bool:
        version = address_version(target)
        began_s = self.world.now_s() + 4 * number / self.tool.packets_per_s
        at_s = began_s + np.arange(4)[:, None] / self.tool.packets_per_s
        shooter = self._shooter(target, ICMP_PROTO[version], 0)
        echo = Volley(
            at_s=at_s[0],
            src_port=np.array([8 if version == 4 else 128]),
            dst_port=np.zeros(1, dtype=np.int64),
            proto=ICMP_PROTO[version],
            ip_bytes=IP_BYTES[version] + ICMP_BYTES,
        )
        syn = Volley(
            at_s=at_s[1],
            src_port=np.array([self.own_port + attempt]),
            dst_port=np.array([443]),
            proto=PROTO_TCP,
            ip_bytes=IP_BYTES[version] + _SYN_BYTES,
            flags=TCP_SYN,
            window_bytes=_WINDOW,
            seq=self.seq,
        )
        segment = replace(syn, at_s=at_s[2], dst_port=np.array([80]), flags=TCP_ACK, ack=self.seq)
        segment = replace(segment, ip_bytes=IP_BYTES[version] + PLAIN_TCP_BYTES)
        is_there = bool(shooter.fire_echoes(target, echo)[0])
        is_there |= bool(shooter.fire_syns(target, syn)[0])
        is_there |= bool(shooter.fire_strays(target, segment)[0])
        if version == 4:
            shooter.fire(target, replace(echo, at_s=at_s[3], src_port=np.array([13]), ip_bytes=40, proto=PROTO_ICMP))
        return is_there

    def _shooter(self, target: str, proto: int, port: int) -> Shooter:
        return Shooter(plane=self.plane, host=self.host, label=self.labels(target, proto, port))

    async def _connect(self, probes: _Probes) -> None:
        """Whole connections, reset as soon as they stand."""
        for number, (target, port) in enumerate(zip(probes.target.tolist(), probes.port.tolist(), strict=True)):
            if self.world.now_s() >= self.ends_s:
                return
            address = self.targets[target]
            self.world.spawn(self._trying(address, port), f"connect {address} {port} {number}")
            await self.world.sleep(1.0 / self.tool.packets_per_s)
        await self.world.sleep(_CONNECT_WAIT_S)

    def _trying(self, address: str, port: int) -> Behaviour:
        async def run(_: World) -> None:
            (await self._open(address, port)).abort()

        return run

    async def _open(self, address: str, port: int) -> Side:
        call = Call(
            caller=self.host,
            address=address,
            port=port,
            source_port=0,
            label=self.labels(address, PROTO_TCP, port),
            timeout_s=_CONNECT_WAIT_S,
        )
        return await open_connection(self.network, call)

    async def _learn_versions(self) -> None:
        """Talk to what is open: wait for a banner, ask what the port's usual service would answer, then anything."""
        number = 0
        for target in self.targets:
            ports = parse_ports(self.tool.ports) or list(TCP_PORTS[: self.tool.top_ports])
            for port in (port for port in ports if port in self.network.find(target).listeners):
                self.world.spawn(self._interviewing(target, port), f"version {target} {port}")
                number += 1
        if number:
            await self.world.sleep(min(_BANNER_S + 2 * _ANSWER_S, max(0.0, self.ends_s - self.world.now_s())))

    def _interviewing(self, address: str, port: int) -> Behaviour:
        async def run(_: World) -> None:
            await self._interview(address, port)

        return run

    async def _interview(self, address: str, port: int) -> None:
        await self.network.clock.sleep(_MATCHES_S)
        side = await self._open(address, port)
        if await _has_answer(side, _BANNER_S):
            return
        first_bytes = _VERSION_PROBES.get(port, _EMPTY_LINES_BYTES)
        await side.send(b"\r\n" * (first_bytes // 2))
        if await _has_answer(side, _ANSWER_S):
            return
        side = await self._open(address, port)
        await side.send(b"\r\n" * (_EMPTY_LINES_BYTES // 2))
        await _has_answer(side, _ANSWER_S)


async def scan_ports(world: SimulatedWorld, tool: PortScan) -> None:
    """Run nmap to its end, or to its bound in time."""
    await _Scan(world, tool).run()


async def _has_answer(side: Side, timeout_s: float) -> bool:
    """Whether anything comes in time; the connection is closed if so."""
    try:
        heard = bool(await side.receive(timeout_s))
    except TimeoutError:
        return False
    side.say_goodbye()
    return heard


def expand_targets(targets: Sequence[str]) -> list[str]:
    """Addresses, those of prefixes one by one."""
    expanded: list[str] = []
    for target in targets:
        network = ipaddress.ip_network(target)
        addresses: Iterator[object] = iter(network) if network.num_addresses <= _MOST_HOSTS else iter(())
        expanded += [str(address) for address in addresses]
    return expanded


def parse_ports(text: str) -> list[int]:
    """What nmap's -p takes: numbers and ranges, with commas between."""
    ports: list[int] = []
    for part in filter(None, text.split(",")):
        low, dash, high = part.partition("-")
        ports += range(int(low or 1), int(high or 65535) + 1) if dash else [int(low)]
    return ports


def _groups(target: npt.NDArray[np.int64], is_silent: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of each target that there is, and of all that there are not together."""
    silent = is_silent[target]
    yield np.flatnonzero(silent)
    for each in np.unique(target[~silent]):
        yield np.flatnonzero(target == each)
