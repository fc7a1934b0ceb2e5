"""What early detection is measured on: scans, floods, guessing and beacons, each over decades of rate.

In: the lab's acts. Out: ``ATTACKS``, ``EARLY_ACTS``, and the settings of an act that attempts so much a second.
Must never: change what an act does but for its rate.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from pydantic import Field, create_model

from thingwarden.domain.packet import PROTO_UDP
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks.pacing import Rhythm
from thingwarden.lab.behaviour.catalogue import ACTS
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import World

Family: TypeAlias = Literal["scan", "flood", "guess", "beacon"]
IpVersion: TypeAlias = Literal[4, 6]

BUSY_FLOWS_PER_MINUTE: Final = 5.0
SLOWEST_BEACON_S: Final = 3600.0
"""The period for which the goal is wider, on a device that is as busy as that."""

PROBES: Final = (200, 2000)
PACKETS: Final = (200, 12_000)
"""Fewest and most of an attack: enough to see a late verdict, few enough to be simulated in a second or so."""

GUESSES: Final = 40
BEACONS: Final = 24
SLOW_BEACONS: Final = 10
_SLOW_S: Final = 1200.0
_SCAN_S: Final = 4.0
_FLOOD_S: Final = 5.0
"""What a fast scan or flood lasts, within those counts."""

_PROGRAM_PACKETS_PER_S: Final = 2_000.0
"""The lab lets one program send no faster; more of them run side by side."""
_DIALOGUE_S: Final = 1.0
"""What a login dialogue lasts: faster guessing takes several programs that take turns."""
_QUICK_ENDINGS: Final = ("close", "abort", "finish")
_TICK_S: Final = 0.005
_QUICK: Final = {"turns": 2, "gap_s": 0.2, "think_ms": 100}
"""The most of a contact's drawn settings, so that it is over before the next is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One way of attacking, at any rate.

    Attributes:
        name: unique.
        family: decides what an attempt is and what the goal is.
        about: for people.
        act: a key of ``EARLY_ACTS``.
        target: ``elsewhere``, a service of the internet, or the kind of a device that the network is given.
        rates_per_s: attempts per second at which it is measured.
        ip_version: of its packets.
        settings: of the act, those that do not depend on the rate.
        is_busy: whether the infected device makes ``BUSY_FLOWS_PER_MINUTE`` harmless flows.
    """

    name: str
    family: Family
    about: str
    act: str
    target: str
    rates_per_s: tuple[float, ...]
    ip_version: IpVersion = 4
    settings: Mapping[str, object] = field(default_factory=dict)
    is_busy: bool = False


class OneFlowSettings(ActSettings):
    """Datagrams from one socket to one port.

    Attributes:
        port: of the target.
        packets_per_s: on average; ``count`` at most.
        payload_bytes: in each.
    """

    port: int = Field(default=80, ge=1, le=65535)
    packets_per_s: float = Field(default=100.0, gt=0.0, le=20_000.0)
    count: int = Field(default=1000, ge=1, le=50_000)
    payload_bytes: int = Field(default=512, ge=1, le=1300)


async def flood_one_flow(world: World, settings: OneFlowSettings) -> None:
    """A UDP flood that never changes its ports; fast ones send several packets per tick of the clock."""
    burst = math.ceil(settings.packets_per_s * _TICK_S)
    rhythm = Rhythm(
        world,
        burst / settings.packets_per_s,
        lasts_s=settings.lasts_s,
        count=math.ceil(settings.count / burst),
        jitter=0.05,
    )
    socket = await world.open_datagrams(is_v6=":" in settings.targets[0])
    data = bytes(settings.payload_bytes)
    while await rhythm.beat():
        for _ in range(burst):
            with contextlib.suppress(OSError):  # what the target complains of is no reason to stop
                await socket.send(settings.targets[0], settings.port, data)
    socket.close()


def _widened(act: str, *names: str) -> ActKind[Any]:
    """The act with numbers beyond what random networks draw: rates over decades are the point here."""
    kind = ACTS[act]
    declared = kind.settings.model_fields
    fields: dict[str, Any] = {
        name: (declared[name].annotation, Field(default=declared[name].default, gt=0)) for name in names
    }
    return replace(kind, settings=create_model(f"Wide{kind.settings.__name__}", __base__=kind.settings, **fields))


EARLY_ACTS: Final[dict[str, ActKind[Any]]] = {
    **ACTS,
    **{act: _widened(act, "probes_per_s") for act in ("scan_horizontal", "scan_random", "scan_vertical")},
    **{act: _widened(act, "packets_per_s", "count") for act in ("flood_syn", "flood_udp")},
    **{act: _widened(act, "pause_s", "tries") for act in ("guess_telnet", "guess_ssh", "guess_http", "guess_mqtt")},
    "flood_one_flow": ActKind(
        about="UDP packets from one port to one port.",
        settings=OneFlowSettings,
        run=flood_one_flow,
        aims=lambda chosen: (Aim(peer=chosen.targets[0], proto=PROTO_UDP, ports=(chosen.port,)),),
        attack_class=AttackClass.DOS,
        technique="T1498.001",
    ),
}
"""The lab's acts, some of them at other rates, and the one that it has not."""


def settings_at(
    attack: Attack, rate_per_s: float, attempts: int, drawn: Mapping[str, Any]
) -> tuple[dict[str, Any], int]:
    """The settings of each program that attacks together, and how many programs there are.

    Args:
        attack: which.
        rate_per_s: attempts of all programs together.
        attempts: of all together.
        drawn: what the seed chose of the act's settings.
    """
    settings: dict[str, Any] = {**drawn, **attack.settings}
    if attack.family == "scan":
        much = {"ports": f"1-{attempts}"} if attack.act == "scan_vertical" else {"count": attempts}
        return {**settings, "probes_per_s": rate_per_s, **much}, 1
    if attack.family == "flood":
        programs = 1 if attack.act == "flood_one_flow" else math.ceil(rate_per_s / _PROGRAM_PACKETS_PER_S)
        each = {"packets_per_s": rate_per_s / programs, "count": max(1, attempts // programs)}
        return {**settings, **each}, programs
    if settings["ending"] not in _QUICK_ENDINGS:
        settings["ending"] = "close"  # one that lingers would not be over when the next is due
    if attack.family == "guess":
        programs = math.ceil(rate_per_s * _DIALOGUE_S)
        rhythm = {"pause_s": programs / rate_per_s, "tries": math.ceil(attempts / programs), "parallel": 1}
        return {**settings, **rhythm, "per_connection": 1, "think_s": 0.02, "finds": False}, programs
    quick = {name: min(most, settings.get(name, most)) for name, most in _QUICK.items()}
    kept = {"is_kept": False, "night_h": 0.0, "tries": 1, "count": attempts, "period_s": 1.0 / rate_per_s}
    return {**settings, **quick, **kept}, 1


def usual_attempts(attack: Attack, rate_per_s: float) -> int:
    """How many attempts an attack makes: enough for a late verdict, not more than is simulated in a second or so."""
    if attack.family == "scan":
        return int(min(max(rate_per_s * _SCAN_S, PROBES[0]), PROBES[1]))
    if attack.family == "flood":
        return int(min(max(rate_per_s * _FLOOD_S, PACKETS[0]), PACKETS[1]))
    if attack.family == "guess":
        return GUESSES
    return SLOW_BEACONS if 1.0 / rate_per_s >= _SLOW_S else BEACONS


_SCAN_RATES: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_FLOOD_RATES: Final = (10.0, 100.0, 1000.0, 10_000.0)
_GUESS_RATES: Final = (1 / 60, 1 / 10, 1.0, 5.0, 20.0)
_BEACON_RATES: Final = (1 / 5, 1 / 30, 1 / 120, 1 / 600, 1 / SLOWEST_BEACON_S)


def _scan(name: str, about: str, act: str, target: str, ip_version: IpVersion = 4, **settings: object) -> Attack:
    return Attack(
        name=name,
        family="scan",
        about=about,
        act=act,
        target=target,
        rates_per_s=_SCAN_RATES,
        ip_version=ip_version,
        settings={"is_ordered": False, **settings} if act != "scan_random" else settings,
    )


def _flood(name: str, about: str, act: str, ip_version: IpVersion = 4) -> Attack:
    return Attack(
        name=name,
        family="flood",
        about=about,
        act=act,
        target="shop.example",
        rates_per_s=_FLOOD_RATES,
        ip_version=ip_version,
    )


def _guess(protocol: str, about: str, target: str, port: int, ip_version: IpVersion = 4) -> Attack:
    return Attack(
        name=f"guess-{protocol}{'-ip6' if ip_version == 6 else ''}",
        family="guess",
        about=about,
        act=f"guess_{protocol}",
        target=target,
        rates_per_s=_GUESS_RATES,
        ip_version=ip_version,
        settings={"port": port},
    )


def _beacon(protocol: str, ip_version: IpVersion = 4, *, is_busy: bool = False) -> Attack:
    busy = f"; the device makes {BUSY_FLOWS_PER_MINUTE:.0f} harmless flows a minute" if is_busy else ""
    return Attack(
        name=f"beacon-{protocol}{'-ip6' if ip_version == 6 else ''}{'-busy' if is_busy else ''}",
        family="beacon",
        about=f"{protocol.upper()} contact with a controller, each of its own{busy}",
        act=f"c2_{protocol}",
        target="control.invalid",
        rates_per_s=_BEACON_RATES,
        ip_version=ip_version,
        is_busy=is_busy,
    )


_BEACON_PROTOCOLS: Final = ("tcp", "http", "tls", "udp")

ATTACKS: Final = (
    _scan("sweep-syn", "half-open SYNs to hosts of the internet", "scan_horizontal", "elsewhere", technique="syn"),
    _scan("sweep-syn-ip6", "the same by IPv6", "scan_horizontal", "elsewhere", 6, technique="syn"),
    _scan("sweep-connect", "whole connections to hosts of the internet", "scan_random", "elsewhere"),
    _scan("ports-syn", "half-open SYNs to the ports of a neighbour", "scan_vertical", "camera", technique="syn"),
    _scan("ports-syn-ip6", "the same by IPv6", "scan_vertical", "camera", 6, technique="syn"),
    _flood("flood-syn", "SYNs to one port, each from another port of the device", "flood_syn"),
    _flood("flood-syn-ip6", "the same by IPv6", "flood_syn", 6),
    _flood("flood-udp", "datagrams to one port, each from another port of the device", "flood_udp"),
    _flood("flood-one-flow", "datagrams that all belong to one flow", "flood_one_flow"),
    _flood("flood-one-flow-ip6", "the same by IPv6", "flood_one_flow", 6),
    _guess("telnet", "telnet logins, one password per connection", "camera", 23),
    _guess("telnet", "the same by IPv6", "camera", 23, 6),
    _guess("ssh", "SSH logins, one password per connection", "hub", 22),
    _guess("http", "passwords at a web page, one per connection", "camera", 80),
    _guess("mqtt", "passwords at an MQTT broker, one per connection", "hub", 1883),
    *(_beacon(protocol) for protocol in _BEACON_PROTOCOLS),
    _beacon("tcp", 6),
    *(_beacon(protocol, is_busy=True) for protocol in _BEACON_PROTOCOLS),
)
"""What is measured by default."""
