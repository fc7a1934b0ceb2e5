"""Ground truth of a scenario: who does what to whom and when, and the labels that follow for metered flows.

In: a ``Schedule``, after a real run also its ``Timing``, and a ``FlowBatch``. Out: the batch with ``Labels``.
Must never: mark a flow malicious by its address alone; pair, protocol, port and moment must all fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import AwareDatetime, TypeAdapter

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import DETAIL_LENGTH
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import (
    GATEWAY,
    GATEWAY6,
    GATEWAY_MAC,
    INTERNET,
    INTERNET6,
    SPOOFED,
    UPLINK,
    UPLINK6,
)
from thingwarden.lab.timeline import Aim, Cut, Host, Perform, Planned, PowerOff, PowerOn, Restore, Schedule

TRUTH_FORMAT: Final = "thingwarden-lab-truth/2"
TIMING_FORMAT: Final = "thingwarden-lab-timing/1"
OUTSIDE: Final = tuple(str(prefix) for prefix in (*INTERNET, UPLINK, SPOOFED, INTERNET6, UPLINK6))
"""Where the host ``internet`` is."""

_DNS_PORT: Final = 53
_AFTERMATH_S: Final = (10.0, 60.0)
"""Devices that lost something catch up for as long as it was gone, but within these bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueDevice:
    """A row of the devices' table; ``addresses`` are all that it has in the course of the run, IPv4 first."""

    name: str
    kind: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One host's part in one attack.

    Attributes:
        name: which attack; both sides' entries share it.
        planned: index of the action in the schedule, by which ``Timing`` knows it.
        who: name of the host that the entry is about.
        addresses: what it appears as, addresses or prefixes.
        peer: address or prefix of the other side.
        role: targets outside the LAN have no entry of their own.
        attack_class: wire name in ``taxonomy.AttackClass``; ``technique`` is the ATT&CK id.
        proto: IANA protocol number, 0 any.
        ports: of the attacked side; empty means any.
        begins_s, ends_s: as planned, since the beginning.
    """

    name: str
    planned: int
    who: str
    addresses: tuple[str, ...]
    peer: str
    role: Literal["offender", "target"]
    attack_class: str
    technique: str
    proto: int
    ports: tuple[int, ...]
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmless:
    """Something harmless that looks odd: a hard negative.

    Attributes:
        name: ``<kind>-<number>``; ``kind`` is what labels say after ``benign:``.
        begun_by, ended_by: indices of the actions in the schedule.
        who: names of the hosts that it happens to; ``addresses`` are theirs, empty is everybody's.
        aims: which of their flows it touches; empty is all.
        begins_s, ends_s: as planned, since the beginning.
        aftermath_s: how long after its end devices still catch up on what they missed.
    """

    name: str
    kind: str
    begun_by: int
    ended_by: int
    who: tuple[str, ...]
    addresses: tuple[str, ...]
    aims: tuple[Aim, ...]
    begins_s: float
    ends_s: float
    aftermath_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All that is true of every run of one schedule."""

    scenario: str
    seed: int
    duration_s: float
    starts_at_hour: float
    devices: tuple[TrueDevice, ...]
    intervals: tuple[Interval, ...]
    harmless: tuple[Harmless, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What only a run tells.

    Attributes:
        began_at: aware UTC; all seconds of the truth count from here.
        spans: begin and end of actions as measured, seconds since the beginning, by their index in the schedule; the
            plan stands in for what is missing.
    """

    began_at: AwareDatetime
    spans: Mapping[int, tuple[float, float]] = field(default_factory=dict)


def truth_from_schedule(schedule: Schedule) -> Truth:
    """State the truth that a schedule decides."""
    gateway = TrueDevice(name="gateway", kind="gateway", mac=GATEWAY_MAC, addresses=(str(GATEWAY), str(GATEWAY6)))
    devices = {"gateway": gateway, **{host.name: _device(host, schedule) for host in schedule.hosts}}
    acts = list(enumerate(schedule.planned))
    return Truth(
        scenario=schedule.scenario,
        seed=schedule.seed,
        duration_s=schedule.duration_s,
        starts_at_hour=schedule.starts_at_hour,
        devices=tuple(devices.values()),
        intervals=tuple(entry for index, item in acts for entry in _intervals(index, item, devices)),
        harmless=tuple(entry for index, item in acts for entry in _harmless(index, item, schedule, devices)),
    )


def event_kind(event: str) -> str:
    """The kind in ``<kind>-<number>``."""
    return event.rpartition("-")[0] or event


def label_detail(event: str, attack_class: AttackClass) -> bytes:
    """What a label says of a flow that an event causes: class and attack, or ``benign:<event kind>``; 48 bytes."""
    named = event_kind(event) if attack_class is AttackClass.BENIGN else event
    return f"{attack_class.value}:{named}".encode()[:DETAIL_LENGTH]


def _device(host: Host, schedule: Schedule) -> TrueDevice:
    later = (
        item.action.address
        for item in schedule.planned
        if isinstance(item.action, PowerOn) and item.action.host == host.name
    )
    addresses = dict.fromkeys(address for address in (host.address, *later, host.address6) if address)
    return TrueDevice(name=host.name, kind=host.kind, mac=host.mac, addresses=tuple(addresses))


def _addresses(name: str, devices: Mapping[str, TrueDevice]) -> tuple[str, ...]:
    return devices[name].addresses if name in devices else OUTSIDE


def _intervals(index: int, item: Planned, devices: Mapping[str, TrueDevice]) -> Iterator[Interval]:
    act = item.action
    if not isinstance(act, Perform) or act.attack_class is AttackClass.BENIGN:
        return
    for aim in act.aims:
        offence = Interval(
            name=item.event,
            planned=index,
            who=act.host,
            addresses=(aim.source,) if aim.source else _addresses(act.host, devices),
            peer=aim.peer,
            role="offender",
            attack_class=act.attack_class.value,
            technique=act.technique,
            proto=aim.proto,
            ports=aim.ports,
            begins_s=item.at_s,
            ends_s=round(item.at_s + act.lasts_s, 3),
        )
        yield offence
        for device in devices.values():
            if device.name != act.host and aim.peer in device.addresses:
                yield replace(offence, who=device.name, addresses=device.addresses, peer="", role="target")


def _harmless(index: int, item: Planned, schedule: Schedule, devices: Mapping[str, TrueDevice]) -> Iterator[Harmless]:
    who: tuple[str, ...]
    aims: tuple[Aim, ...] = ()
    match item.action:
        case Perform(attack_class=AttackClass.BENIGN) as act:
            who, aims = (act.host,), act.aims
            ended_by, ends_s = index, item.at_s + act.lasts_s
        case Cut(target=target):
            who = (target,) if target in devices else ()
            aims = () if who else _touched(target)
            ended_by, ends_s = _end(index, Restore, target, schedule)
        case PowerOff(host=host):
            who = (host,)
            ended_by, ends_s = _end(index, PowerOn, host, schedule)
        case PowerOn(host=host) if not _is_return(index, host, schedule):
            who, ended_by, ends_s = (host,), index, item.at_s
        case _:
            return
    yield Harmless(
        name=item.event,
        kind=event_kind(item.event),
        begun_by=index,
        ended_by=ended_by,
        who=who,
        addresses=tuple(address for name in who for address in _addresses(name, devices)),
        aims=aims,
        begins_s=item.at_s,
        ends_s=round(ends_s, 3),
        aftermath_s=0.0 if isinstance(item.action, Perform) else _aftermath_s(ends_s - item.at_s),
    )


def _aftermath_s(length_s: float) -> float:
    return round(min(_AFTERMATH_S[1], max(_AFTERMATH_S[0], length_s)), 3)


def _touched(target: str) -> tuple[Aim, ...]:
    """Which flows suffer from a cut of something that is no host of the LAN."""
    if target == "uplink":
        return tuple(Aim(peer=prefix, proto=0) for prefix in OUTSIDE)
    if target == "resolver":
        return tuple(
            Aim(peer=str(address), proto=proto, ports=(_DNS_PORT,))
            for address in (GATEWAY, GATEWAY6)
            for proto in (6, 17)
        )
    service = SERVICES[target]
    return tuple(Aim(peer=address, proto=0) for address in (service.address, service.address6))


def _end(index: int, undoing: type[Restore | PowerOn], name: str, schedule: Schedule) -> tuple[int, float]:
    """Index and moment of the action that undoes the one at ``index``; the end of the run where there is none."""
    for later in range(index + 1, len(schedule.planned)):
        action = schedule.planned[later].action
        if isinstance(action, undoing) and name in (getattr(action, "target", ""), getattr(action, "host", "")):
            return later, schedule.planned[later].at_s
    return index, schedule.duration_s


def _is_return(index: int, host: str, schedule: Schedule) -> bool:
    return any(isinstance(item.action, PowerOff) and item.action.host == host for item in schedule.planned[:index])


def write_truth(truth: Truth, path: Path) -> None:
    """Write ``truth`` as JSON, the same bytes for the same truth."""
    _write_json({"format": TRUTH_FORMAT, **asdict(truth)}, path)


def read_truth(path: Path) -> Truth:
    """Inverse of ``write_truth``.

    Raises:
        InputError: unreadable, or not such a file.
    """
    return _read_json(path, TRUTH_FORMAT, _TRUTH)


def write_timing(timing: Timing, path: Path) -> None:
    """Write ``timing`` as JSON."""
    _write_json({"format": TIMING_FORMAT, **_TIMING.dump_python(timing, mode="json")}, path)


def read_timing(path: Path) -> Timing:
    """Inverse of ``write_timing``.

    Raises:
        InputError: unreadable, or not such a file.
    """
    return _read_json(path, TIMING_FORMAT, _TIMING)


_TRUTH: Final = TypeAdapter(Truth)
_TIMING: Final = TypeAdapter(Timing)
_T = TypeVar("_T")


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path, expected: str, form: TypeAdapter[_T]) -> _T:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format", None) != expected:
            raise ValueError(f"format is not {expected}")
        return form.validate_python(raw)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        told = str(error).splitlines()[0]
        raise InputError(str(path), f"{type(error).__name__}: {told}", "Made by a lab run.") from error
