"""Ground truth of a scenario: who did what to whom and when, and the labels that follow for metered flows.

In: ``truth.json`` and a ``FlowBatch``. Out: the batch with ``Labels``.
Must never: mark a flow malicious by its address alone; pair, protocol, port and moment must all fit.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import DETAIL_LENGTH, FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, TECHNIQUES, AttackClass
from thingwarden.lab.attacks import CLASS_OF_KIND
from thingwarden.lab.network import GATEWAY, GATEWAY_MAC, Host
from thingwarden.lab.recipe import AttackEvent, MishapEvent, Recipe, Schedule

TRUTH_FORMAT: Final = "thingwarden-lab-truth/1"
_SLACK_S: Final = 0.5
"""How far outside its interval a flow may begin: the clock is read before and after a program, not inside it."""
_MAPPED_PREFIX: Final = 0xFFFF << 32
_TCP: Final = 6
_FIRST_CLIENT_PORT: Final = 1024

End = Literal["orig", "resp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueDevice:
    """A row of the devices' table."""

    name: str
    ip: str
    mac: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One host's part in one attack.

    Attributes:
        name: which attack; both sides' entries share it.
        who: IP address of the host that the entry is about; ``mac`` is its MAC.
        peer: IP address of the other side.
        role: ``offender`` or ``target``; targets outside the LAN have no entry of their own.
        attack_class: wire name in ``taxonomy.AttackClass``; ``technique`` is the ATT&CK id.
        proto: IANA protocol number.
        ports: of the attacked side; empty means any.
        started_at, ended_at: aware UTC.
    """

    name: str
    who: str
    mac: str
    peer: str
    role: Literal["offender", "target"]
    attack_class: str
    technique: str
    proto: int
    ports: tuple[int, ...]
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """Something harmless: ``ports`` empty means all of that host's flows are touched by it."""

    name: str
    kind: str
    who: str
    mac: str
    ports: tuple[int, ...]
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All that is true of one run."""

    scenario: str
    seed: int
    began_at: datetime
    ended_at: datetime
    devices: tuple[TrueDevice, ...]
    intervals: tuple[Interval, ...]
    mishaps: tuple[Mishap, ...]


Span = tuple[float, float]
"""Begin and end of an event, Unix seconds."""


def truth_from_schedule(
    recipe: Recipe, schedule: Schedule, *, began_at_s: float, measured: dict[str, Span] | None = None
) -> Truth:
    """State the truth of a run that began at ``began_at_s``.

    Args:
        recipe: for the devices' kinds.
        schedule: what was planned.
        began_at_s: Unix seconds of the beginning.
        measured: when each event, by name, really began and ended; the plan stands in for what is missing.
    """
    measured = measured or {}
    hosts = {host.name: host for host in schedule.hosts}
    gateway = Host(name="gateway", address=GATEWAY, mac=GATEWAY_MAC)

    def span_of(event: AttackEvent | MishapEvent) -> Span:
        begins_at_s = began_at_s + event.begins_s
        return measured.get(event.name, (begins_at_s, begins_at_s + event.lasts_s))

    kinds = {device.name: device.kind for device in recipe.devices}
    return Truth(
        scenario=recipe.name,
        seed=schedule.seed,
        began_at=_instant(began_at_s),
        ended_at=_instant(began_at_s + schedule.duration_s),
        devices=(
            _device(gateway, "gateway"),
            *(_device(host, kinds[host.name]) for host in schedule.hosts),
        ),
        intervals=tuple(
            interval
            for event in schedule.attacks
            for interval in _intervals(event, hosts[event.by], [gateway, *schedule.hosts], span_of(event))
        ),
        mishaps=tuple(_mishap(event, hosts.get(event.of, gateway), span_of(event)) for event in schedule.mishaps),
    )


def _device(host: Host, kind: str) -> TrueDevice:
    return TrueDevice(name=host.name, ip=str(host.address), mac=host.mac, kind=kind)


def _intervals(event: AttackEvent, offender: Host, lan_hosts: list[Host], span: Span) -> list[Interval]:
    attack_class = CLASS_OF_KIND[event.kind]
    entry = Interval(
        name=event.name,
        who=str(offender.address),
        mac=offender.mac,
        peer="",
        role="offender",
        attack_class=attack_class.value,
        technique=TECHNIQUES[attack_class][0],
        proto=_TCP,
        ports=() if event.port is None else (event.port,),
        started_at=_instant(span[0]),
        ended_at=_instant(span[1]),
    )
    entries = [replace(entry, peer=str(address)) for address in event.on]
    targets = [host for host in lan_hosts if host.address in event.on]
    return entries + [
        replace(entry, who=str(host.address), mac=host.mac, peer=str(offender.address), role="target")
        for host in targets
    ]


def _mishap(event: MishapEvent, host: Host, span: Span) -> Mishap:
    return Mishap(
        name=event.name,
        kind=event.kind,
        who=str(host.address),
        mac=host.mac,
        ports=(53,) if event.kind == "dns_outage" else (),
        started_at=_instant(span[0]),
        ended_at=_instant(span[1]),
    )


def _instant(unix_s: float) -> datetime:
    return datetime.fromtimestamp(round(unix_s, 6), UTC)


def write_truth(truth: Truth, path: Path) -> None:
    """Write ``truth`` as JSON, instants in ISO 8601."""
    text = json.dumps({"format": TRUTH_FORMAT, **asdict(truth)}, default=datetime.isoformat, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def read_truth(path: Path) -> Truth:
    """Inverse of ``write_truth``.

    Raises:
        InputError: unreadable, or not such a file.
    """
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != TRUTH_FORMAT:
            raise ValueError(f"format is not {TRUTH_FORMAT}")
        devices = tuple(TrueDevice(**row) for row in raw.pop("devices"))
        intervals = tuple(Interval(**_parsed(row)) for row in raw.pop("intervals"))
        mishaps = tuple(Mishap(**_parsed(row)) for row in raw.pop("mishaps"))
        return Truth(devices=devices, intervals=intervals, mishaps=mishaps, **_parsed(raw))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"truth {path}", f"{type(error).__name__}: {error}", "Made by a lab run.") from error


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    instants = {name: datetime.fromisoformat(value) for name, value in row.items() if name.endswith("_at")}
    ports = {"ports": tuple(row["ports"])} if "ports" in row else {}
    return {**row, **instants, **ports}


def label_flows(flows: FlowBatch, truth: Truth) -> FlowBatch:
    """Give each flow its label; where no attack fits it is benign, and says so if a mishap touched it.

    Raises:
        InputError: the flows carry no time.
    """
    if not flows.is_timed:
        raise InputError("flows to label", "they carry no time", "Meter the scenario's capture.")
    attack_class = np.full(len(flows), CLASS_INDEX[AttackClass.BENIGN], dtype=np.int8)
    detail = np.full(len(flows), b"benign", dtype=f"S{DETAIL_LENGTH}")
    for mishap in truth.mishaps:
        touched = _within(flows, mishap) & (_touches(flows, "orig", mishap.who) | _touches(flows, "resp", mishap.who))
        if mishap.ports:
            touched &= np.isin(flows.resp_port, mishap.ports)
        detail[touched] = f"benign:{mishap.kind}".encode()
    for interval in truth.intervals:
        if interval.role == "offender":
            hit = _is_part_of(flows, interval)
            attack_class[hit] = CLASS_INDEX[AttackClass(interval.attack_class)]
            detail[hit] = interval.name.encode()
    labels = Labels(
        malicious=(attack_class != CLASS_INDEX[AttackClass.BENIGN]).astype(np.int8),
        attack_class=attack_class,
        ton_class=np.full(len(flows), -1, dtype=np.int8),
        detail=detail,
    )
    return replace(flows, labels=labels)


def _is_part_of(flows: FlowBatch, interval: Interval) -> npt.NDArray[np.bool_]:
    # A meter that missed the first packet may have the two ends the other way round.
    found = _is_attack(flows, interval, "orig", "resp") | _is_attack(flows, interval, "resp", "orig")
    found &= _within(flows, interval)
    found &= flows.proto == interval.proto
    return found


def _is_attack(flows: FlowBatch, interval: Interval, near: End, far: End) -> npt.NDArray[np.bool_]:
    pair = _touches(flows, near, interval.who) & _touches(flows, far, interval.peer)
    # From one of the offender's own services a flow is somebody's visit to it, not its attack.
    is_client = _ports(flows, near) >= _FIRST_CLIENT_PORT
    fits = np.isin(_ports(flows, far), interval.ports) if interval.ports else is_client
    found: npt.NDArray[np.bool_] = pair & fits
    return found


def _ports(flows: FlowBatch, end: End) -> npt.NDArray[np.uint16]:
    return flows.orig_port if end == "orig" else flows.resp_port


def _touches(flows: FlowBatch, end: End, address: str) -> npt.NDArray[np.bool_]:
    words = flows.orig_address if end == "orig" else flows.resp_address
    low = np.uint64(_MAPPED_PREFIX | int(ipaddress.IPv4Address(address)))
    found: npt.NDArray[np.bool_] = (words[:, 0] == 0) & (words[:, 1] == low)
    return found


def _within(flows: FlowBatch, event: Interval | Mishap) -> npt.NDArray[np.bool_]:
    started_s, ended_s = event.started_at.timestamp() - _SLACK_S, event.ended_at.timestamp() + _SLACK_S
    found: npt.NDArray[np.bool_] = (flows.started_at_s >= started_s) & (flows.started_at_s <= ended_s)
    return found
