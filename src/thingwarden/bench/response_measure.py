"""What a defence did to a scenario's packets: how many of an attack still passed, and what else was lost.

In: the folder of a trial. Out: ``AttackOutcome`` for each attack, ``DeviceOutcome`` for each device.
Must never: count a packet as lost that arrived, or as cut that was never sent.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.response import SAID_FILE, capture_path
from thingwarden.domain.address import IpNetwork, mac_number
from thingwarden.domain.flow import words_from_address
from thingwarden.domain.packet import PacketBatch
from thingwarden.domain.plan import PROTOCOL_NUMBERS
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.prefix import GATEWAY, GATEWAY6, INTERNET, INTERNET6, SPOOFED
from thingwarden.lab.truth import Interval, Timing, Truth, read_timing, read_truth

_SLACK_S: Final = 0.5
_OUTSIDE: Final[tuple[IpNetwork, ...]] = (*INTERNET, INTERNET6, SPOOFED)
_NEVER_S: Final = float("inf")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOutcome:
    """One host's part in one attack.

    Attributes:
        name, attack_class, device: which.
        sent_count: malicious packets that the device sent.
        answered_s: from the attack's beginning to the first act in force on its device; None where there was none.
        acts: what was in force meanwhile, mildest first.
        sent_after_count, passed_after_count: malicious packets sent, and arrived, while an act was in force.
    """

    name: str
    attack_class: str
    device: str
    sent_count: int
    answered_s: float | None
    acts: tuple[str, ...]
    sent_after_count: int
    passed_after_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOutcome:
    """One device's harmless packets to other hosts; those to the gateway itself are not counted.

    Attributes:
        device: name.
        is_restricted: whether an act was ever in force on it.
        sent_count, arrived_count: in the whole run.
        sent_after_count, arrived_after_count: while an act was in force on it.
    """

    device: str
    is_restricted: bool
    sent_count: int
    arrived_count: int
    sent_after_count: int
    arrived_after_count: int


@dataclass(frozen=True, slots=True)
class _InForce:
    """An act on a device, by MAC, or against a peer; Unix seconds."""

    act: str
    mac: str | None
    peer: str | None
    proto: str | None
    port: int | None
    is_inbound: bool
    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a host sent to other hosts, who it is, and which of it is an attack's."""

    name: str
    mac: str
    packets: PacketBatch
    is_harmful: Mask


class _Arrivals:
    """What arrived anywhere, by who was addressed from which port about what."""

    def __init__(self, batches: Sequence[PacketBatch]) -> None:
        self._at_s = np.concatenate([batch.at_s for batch in batches])
        keys = np.concatenate([_keys(batch) for batch in batches])
        order = np.lexsort((self._at_s, keys))
        self._keys, self._at_s = keys[order], self._at_s[order]

    def count(self, sent: PacketBatch, since_s: float = -_NEVER_S) -> int:
        """How many of the packets sent, none before an instant, arrived."""
        if not len(sent):
            return 0
        keys, counts = np.unique(_keys(sent), return_counts=True)
        first, beyond = (np.searchsorted(self._keys, keys, side=side) for side in ("left", "right"))
        arrived = [int((self._at_s[start:end] >= since_s).sum()) for start, end in zip(first, beyond, strict=True)]
        return int(np.minimum(counts, arrived).sum())


def measure_trial(folder: Path) -> tuple[list[AttackOutcome], list[DeviceOutcome]]:
    """What came of a trial.

    Raises:
        InputError: a file of the trial is not what it claims to be.
    """
    truth, timing = read_truth(folder / "truth.json"), read_timing(folder / "timing.json")
    held = _acts(folder / SAID_FILE)
    devices = [device for device in truth.devices if capture_path(folder, device.name).exists()]
    captures = {device.name: _read(capture_path(folder, device.name)) for device in devices}
    outside = _read(capture_path(folder, "internet"))
    macs = {device.name: device.mac for device in devices}
    to_outside = _within(outside.dst_address, _OUTSIDE)
    arrivals = _Arrivals(
        [outside.take(to_outside)]
        + [packets.take(packets.dst_mac == np.uint64(mac_number(macs[name]))) for name, packets in captures.items()]
    )
    senders = [_sent(name, macs[name], packets, truth, timing) for name, packets in captures.items()]
    attacks = [
        _attack(interval, sender, arrivals, held, timing)
        for interval in truth.intervals
        for sender in senders
        if interval.role == "offender" and interval.who == sender.name
    ]
    return attacks, [_device(sender, arrivals, held) for sender in senders]


def _attack(
    interval: Interval, sender: _Sent, arrivals: _Arrivals, held: Sequence[_InForce], timing: Timing
) -> AttackOutcome:
    begins_s, ends_s = _span(interval, timing)
    harmful = sender.packets.take(_belongs(sender.packets, interval, timing))
    own = [
        item for item in held
        if _answers(item, sender, interval) and item.since_s < ends_s + _SLACK_S and item.until_s > begins_s
    ]  # fmt: skip
    since_s = max(begins_s, min((item.since_s for item in own), default=_NEVER_S))
    after = harmful.take(harmful.at_s >= since_s)
    return AttackOutcome(
        name=interval.name,
        attack_class=interval.attack_class,
        device=sender.name,
        sent_count=len(harmful),
        answered_s=max(0.0, since_s - begins_s) if own else None,
        acts=tuple(dict.fromkeys(item.act for item in own)),
        sent_after_count=len(after),
        passed_after_count=arrivals.count(after, since_s),
    )


def _device(sender: _Sent, arrivals: _Arrivals, held: Sequence[_InForce]) -> DeviceOutcome:
    harmless = sender.packets.take(~sender.is_harmful)
    own = [item for item in held if item.mac == sender.mac and not item.is_inbound]
    since_s = min((item.since_s for item in own), default=_NEVER_S)
    after = harmless.take(harmless.at_s >= since_s)
    return DeviceOutcome(
        device=sender.name,
        is_restricted=bool(own),
        sent_count=len(harmless),
        arrived_count=arrivals.count(harmless),
        sent_after_count=len(after),
        arrived_after_count=arrivals.count(after, since_s),
    )


def _sent(name: str, mac: str, packets: PacketBatch, truth: Truth, timing: Timing) -> _Sent:
    is_own = packets.src_mac == np.uint64(mac_number(mac))
    is_single = packets.dst_mac >> np.uint64(40) & np.uint64(1) == 0
    to_gateway = _within(packets.dst_address, [ipaddress.ip_network(item) for item in (GATEWAY, GATEWAY6)])
    is_local_only = _within(packets.dst_address, [ipaddress.ip_network("fe80::/10")])
    own = packets.take(is_own & is_single & ~to_gateway & ~is_local_only)
    harmful = np.zeros(len(own), dtype=np.bool_)
    for interval in truth.intervals:
        if interval.role == "offender" and interval.who == name:
            harmful |= _belongs(own, interval, timing)
    return _Sent(name, mac, own, harmful)


def _belongs(packets: PacketBatch, interval: Interval, timing: Timing) -> Mask:
    """Packets that an offender sent for its attack; what its connections say after it is over is still its."""
    begins_s, ends_s = _span(interval, timing)
    fits = (packets.at_s >= begins_s - _SLACK_S) & (packets.at_s <= ends_s + _SLACK_S)
    fits &= _within(packets.dst_address, [ipaddress.ip_network(interval.peer)])
    if interval.proto:
        fits &= packets.proto == interval.proto
    if interval.ports:
        fits &= np.isin(packets.dst_port, interval.ports)
    lasting = np.isin(_keys(packets), np.unique(_keys(packets.take(fits))))
    return np.asarray(lasting & (packets.at_s >= begins_s - _SLACK_S))


def _span(interval: Interval, timing: Timing) -> tuple[float, float]:
    began_s = timing.began_at.timestamp()
    begins_s, ends_s = timing.spans.get(interval.planned, (interval.begins_s, interval.ends_s))
    return began_s + begins_s, began_s + ends_s


def _acts(said: Path) -> list[_InForce]:
    """Acts that an enforcer put into force, and when it had answered."""
    records = [json.loads(line) for line in said.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    begun: dict[str, float] = {}
    ended: dict[str, float] = {}
    for record in records:
        if record["type"] == "receipt" and record["status"] in ("applied", "revoked"):
            at_s = datetime.fromisoformat(record["at"]).timestamp()
            (begun if record["status"] == "applied" else ended).setdefault(record["decision_id"], at_s)
    for record in records:
        if record["type"] == "course" and record["decision_id"] in begun:
            spans_ms = [value for name, value in record.items() if name.endswith("_ms")]
            begun[record["decision_id"]] = record["packet_at_s"] + sum(spans_ms) / 1000
    found = [
        _in_force(record, begun, ended)
        for record in records
        if record["type"] == "decision" and record["act"] != "notify" and record["decision_id"] in begun
    ]
    return sorted(found, key=lambda item: item.since_s)


def _in_force(record: dict[str, Any], begun: dict[str, float], ended: dict[str, float]) -> _InForce:
    name, target = record["decision_id"], record["target"]
    return _InForce(
        act=record["act"],
        mac=(target["device"] or {}).get("mac"),
        peer=target["peer"],
        proto=target["proto"],
        port=target["port"],
        is_inbound=bool(target["is_inbound"]),
        since_s=begun[name],
        until_s=ended.get(name, _NEVER_S),
    )


def _answers(item: _InForce, sender: _Sent, interval: Interval) -> bool:
    """Whether an act touches an attack: it is about its offender, and about its other side where it names one."""
    if item.mac is None or item.is_inbound:
        return item.peer in interval.addresses or (item.mac is None and _is_in(item.peer, interval.peer))
    if item.mac != sender.mac or (item.peer is not None and not _is_in(item.peer, interval.peer)):
        return False
    if item.proto is not None and interval.proto not in (0, PROTOCOL_NUMBERS[item.proto]):
        return False
    return item.port is None or not interval.ports or item.port in interval.ports


def _is_in(peer: str | None, network: str) -> bool:
    return peer is not None and ipaddress.ip_address(peer) in ipaddress.ip_network(network)


def _read(path: Path) -> PacketBatch:
    parts = list(PcapSource(path).packets())
    if not parts:
        return PacketBatch.empty()
    return PacketBatch(
        **{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(PacketBatch)}
    )


def _keys(packets: PacketBatch) -> npt.NDArray[np.uint64]:
    """One number for destination, ports and protocol; sources change at the gateway, ports do not."""
    mixed = packets.dst_address[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ packets.dst_address[:, 1]
    mixed = (mixed ^ mixed >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)
    ports = packets.src_port.astype(np.uint64) << np.uint64(24) | packets.dst_port.astype(np.uint64) << np.uint64(8)
    return np.asarray((mixed ^ ports ^ packets.proto) * np.uint64(0x94D049BB133111EB))


def _within(column: npt.NDArray[np.uint64], networks: Sequence[IpNetwork]) -> Mask:
    inside = np.zeros(len(column), dtype=np.bool_)
    for network in networks:
        first, last = (words_from_address(address) for address in (network[0], network[-1]))
        if first[0] == last[0]:
            inside |= (column[:, 0] == first[0]) & (column[:, 1] >= first[1]) & (column[:, 1] <= last[1])
        else:
            inside |= (column[:, 0] >= first[0]) & (column[:, 0] <= last[0])
    return inside
