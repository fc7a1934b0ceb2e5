"""Draws who does what to whom: the cast of attacks and harmless oddities in a random network.

In: the hosts of a network, a random stream. Out: ``Planned`` actions, their settings from the whole ranges.
Must never: aim at what an act cannot work on, or draw from another happening's random stream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.attacks.breadth import draw_settings
from thingwarden.lab.behaviour.catalogue import ACTS, DEVICES
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.events import Occasion, expand
from thingwarden.lab.timeline import Host, Planned

_SHORTEST_S: Final = 30.0
_LONGEST_ODDITY_S: Final = 4 * 3600.0
_LONGEST_CALL_S: Final = 150.0
"""A video call is one flow of hundreds of packets a second, however long it lasts."""
_LEAST_BEATS: Final = 6
"""What has a period lasts for so many of them at least, where the run does."""

_IP4_ONLY: Final = ("arp_spoof", "flood_icmp", "flood_spoofed", "reflection")
_HOPPING_SHARE: Final = 0.15
_FLOOD_COUNTS: Final = (100.0, 1500.0)
"""Each packet or connection of most floods is a flow of its own; more of them teach nothing new."""
_LEAST_SHARE: Final = 100
"""What each of several performers still does; no act that counts takes less."""
_LOUD: Final = (AttackClass.SCAN, AttackClass.DOS, AttackClass.DDOS)
_CLASS_WEIGHTS: Final = {AttackClass.C2: 3.0, AttackClass.SCAN: 2.0, AttackClass.BRUTE_FORCE: 2.0}
"""How often a class is drawn; 1 where it is not named."""

CLOUDS: Final = tuple(
    name
    for name, service in SERVICES.items()
    if not service.is_hostile and not service.is_absent and name.endswith(".example")
)
CONTROLS: Final = ("control.invalid", "control-2.invalid")
DEAD_CONTROLS: Final = ("control-3.invalid", "reflector.invalid")
"""Hosts that bots call in vain: nobody is there, or refuses."""
_DEAD_SHARE: Final = 0.15
VICTIMS: Final = ("shop.example", "office.example", "news.example")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One way to cast an act.

    Attributes:
        by: ``device``, ``devices`` (some that act together), ``all`` or ``internet``; empty for nobody.
        on: ``device``, ``devices``, ``cloud``, ``victim`` (of a flood), ``control``; ``door:`` and a role: a device
            that opens such a door, its port going into the settings; or what ``Occasion.address`` knows; empty for
            nobody, or for whom the act turns to by default.
        weight: how often this one is drawn among the act's parts.
    """

    by: str = "device"
    on: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class _Stage:
    """The hosts of a network and the random stream of one happening."""

    rng: random.Random
    hosts: Mapping[str, Host]

    def performers(self, by: str) -> tuple[str, ...]:
        names = list(self.hosts)
        if by == "device":
            return (self.rng.choice(names),)
        if by == "devices":
            return tuple(self.rng.sample(names, self.rng.randint(1, min(5, len(names)))))
        if by == "all":
            return tuple(names)
        return (by,) if by else ()

    def targets(self, on: str, by: Sequence[str]) -> tuple[str, ...]:
        others = [name for name in self.hosts if name not in by]
        if on in ("device", "devices"):
            most = 1 if on == "device" else 6
            return tuple(self.rng.sample(others, self.rng.randint(1, min(most, len(others))))) if others else ()
        if on == "control":
            if self.rng.random() < _DEAD_SHARE:
                return (self.rng.choice(DEAD_CONTROLS),)
            return CONTROLS if self.rng.random() < 0.25 else (self.rng.choice(CONTROLS),)
        if on in ("cloud", "victim"):
            return (self.rng.choice(CLOUDS if on == "cloud" else VICTIMS),)
        return (on,) if on else ()

    def doors(self, role: str, by: Sequence[str]) -> list[tuple[str, int]]:
        """Hosts that open a door of that role, with its port."""
        found = []
        for host in self.hosts.values():
            door = DEVICES[host.kind].doors.get(role)
            port = door.drawn(role, host.traits) if door is not None and host.name not in by else 0
            if port:
                found.append((host.name, port))
        return found


def cast_attack(rng: random.Random, hosts: Mapping[str, Host], duration_s: float, number: int) -> list[Planned]:
    """One attack: an act, who does it, to whom, when, how long and how.

    Args:
        rng: of this attack alone.
        hosts: of the LAN, by name.
        duration_s: of the run.
        number: of the attack in its network.

    Returns:
        nothing where the act that was drawn has nobody to work on in this network.
    """
    classes = list(dict.fromkeys(_class_of(act) for act in ATTACK_PARTS))
    chosen = rng.choices(classes, [_CLASS_WEIGHTS.get(attack_class, 1.0) for attack_class in classes])[0]
    act = rng.choice([act for act in ATTACK_PARTS if _class_of(act) is chosen])
    return _cast(act, ATTACK_PARTS[act], _Stage(rng, hosts), duration_s, number)


def cast_oddity(rng: random.Random, hosts: Mapping[str, Host], duration_s: float, number: int) -> list[Planned]:
    """One harmless oddity, drawn as ``cast_attack`` draws an attack."""
    event = rng.choice(list(ODDITY_PARTS))
    return _cast(event, ODDITY_PARTS[event], _Stage(rng, hosts), duration_s, number)


def _class_of(act: str) -> AttackClass:
    return ACTS[act].attack_class if act in ACTS else AttackClass.BRUTE_FORCE


def _cast(kind: str, parts: Sequence[Part], stage: _Stage, duration_s: float, number: int) -> list[Planned]:
    rng = stage.rng
    part = rng.choices(parts, [part.weight for part in parts])[0]
    by = stage.performers(part.by)
    settings = draw_event_settings(kind, rng)
    count = settings.get("count")
    if isinstance(count, int) and len(by) > 1:
        settings["count"] = min(count, max(_LEAST_SHARE, count // len(by)))
    on, port = _choose_targets(part.on, by, stage)
    if part.on and not on:
        return []
    if port and kind in ACTS and "port" in ACTS[kind].settings.model_fields:
        settings["port"] = port
    begins_s = log_uniform(rng, _SHORTEST_S, max(2.0 * _SHORTEST_S, 0.9 * duration_s))
    occasion = Occasion(
        name=f"{kind}-{number}",
        by=by,
        on=on,
        ip_version=4 if kind in _IP4_ONLY else _ip_version(stage, (*by, *on)),
        begins_s=round(begins_s, 3),
        lasts_s=round(_draw_length_s(kind, settings, max(2.0 * _SHORTEST_S, duration_s - begins_s), rng), 3),
        settings=settings,
        varies=True,
        hosts=stage.hosts,
        rng=rng,
        place=f"{kind}-{number} of a random network",
    )
    return expand(kind, occasion)


def draw_event_settings(kind: str, rng: random.Random) -> dict[str, object]:
    """Settings of an act, or of an event that is more than one act, from their whole ranges."""
    act = _ACT_OF_EVENT.get(kind, kind)
    settings = draw_settings(ACTS[act].settings, rng) if act in ACTS else {}
    if kind.endswith("_outage") or kind == "outage":
        settings["mode"] = rng.choice(("silent", "silent", "refusing"))
    if kind == "power_cut":
        settings["spread_s"] = round(log_uniform(rng, 0.5, 120.0), 1)
    if kind == "firmware_update":
        settings |= {"image_bytes": int(log_uniform(rng, 2e5, 2e7)), "reboot_s": round(log_uniform(rng, 2.0, 90.0), 1)}
    if act in ACTS and ACTS[act].attack_class in _LOUD and "count" in ACTS[act].settings.model_fields:
        settings["count"] = min(int(settings["count"]), int(log_uniform(rng, *_FLOOD_COUNTS)))  # type: ignore[call-overload]
    if kind == "break_in":
        guess, control = (
            rng.choice(("guess_telnet", "guess_ssh")),
            rng.choice(("c2_irc", "c2_http", "c2_tls", "c2_tcp")),
        )
        settings |= {"guess": guess, "control": control, "period_s": round(log_uniform(rng, 2.0, 3600.0), 1)}
    if act in ACTS and "hop_ports" in ACTS[act].settings.model_fields and rng.random() < _HOPPING_SHARE:
        settings["hop_ports"] = tuple(rng.sample(range(1, 65536), rng.randint(2, 12)))
    return settings


def _choose_targets(on: str, by: Sequence[str], stage: _Stage) -> tuple[tuple[str, ...], int]:
    """Names, and the port of their door where one is visited."""
    if not on.startswith("door:"):
        return stage.targets(on, by), 0
    doors = stage.doors(on.removeprefix("door:"), by)
    if not doors:
        return (), 0
    name, port = stage.rng.choice(doors)
    return (name,), port


def _draw_length_s(kind: str, settings: Mapping[str, object], left_s: float, rng: random.Random) -> float:
    """How long it may last: anything up to the end, but some periods of what has one."""
    most_s = left_s if kind in ATTACK_PARTS or kind == "dead_vendor" else min(left_s, _LONGEST_ODDITY_S)
    most_s = min(most_s, _LONGEST_CALL_S) if kind == "video_call" else most_s
    period_s = settings.get("period_s", 0.0)
    least_s = max(_SHORTEST_S, _LEAST_BEATS * period_s) if isinstance(period_s, float) else _SHORTEST_S
    return log_uniform(rng, min(least_s, most_s), most_s)


def _ip_version(stage: _Stage, names: Sequence[str]) -> Literal[4, 6]:
    """6 now and then, where all who take part have such an address."""
    hosts = [stage.hosts[name] for name in names if name in stage.hosts]
    has_ip6 = bool(hosts) and all(host.address6 for host in hosts)
    return 6 if has_ip6 and stage.rng.random() < 0.3 else 4


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """One draw, uniform in the logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


_SWEEP: Final = (
    Part(on="lan"),
    Part(on="elsewhere", weight=2.0),
    Part(by="devices", on="elsewhere"),
    Part(by="internet", on="lan", weight=0.5),
)
_PROBE: Final = (
    Part(on="device"),
    Part(on="devices"),
    Part(on="gateway", weight=0.5),
    Part(on="victim", weight=0.5),
    Part(by="internet", on="device"),
)
_CONTROL: Final = (Part(on="control", weight=3.0), Part(by="devices", on="control"))
_DEFAULT: Final = (Part(weight=3.0), Part(by="devices"))
_FLOOD: Final = (
    Part(on="victim", weight=2.0),
    Part(by="devices", on="victim", weight=2.0),
    Part(on="device"),
    Part(by="internet", on="device"),
)


def _login(*roles: str) -> tuple[Part, ...]:
    inside = tuple(Part(on=f"door:{role}", weight=2.0) for role in roles)
    outside = tuple(Part(by="internet", on=f"door:{role}") for role in roles)
    return (*inside, *outside, Part(on="device", weight=0.3))


ATTACK_PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "scan_horizontal": _SWEEP,
    "scan_random": _SWEEP,
    "scan_ping": _SWEEP,
    "scan_slow": (*_SWEEP, *_PROBE),
    "scan_vertical": _PROBE,
    "scan_version": _PROBE,
    "scan_udp": _PROBE,
    "guess_telnet": _login("telnet"),
    "guess_ssh": _login("ssh"),
    "guess_http": _login("web"),
    "guess_mqtt": _login("broker"),
    "guess_ftp": _login("ftp", "web"),
    "guess_rtsp": _login("rtsp"),
    "guess_by_tool": _login("telnet", "ssh", "web"),
    "login": _login("telnet"),
    "break_in": (Part(on="door:telnet"), Part(by="internet", on="door:telnet", weight=0.5)),
    "download": _DEFAULT,
    **dict.fromkeys(("c2_irc", "c2_http", "c2_tls", "c2_tcp", "c2_udp"), _CONTROL),
    **dict.fromkeys(("c2_mqtt", "c2_p2p", "c2_dns", "dns_tunnel"), _DEFAULT),
    **dict.fromkeys(("exfiltrate_bulk", "exfiltrate_slow"), _DEFAULT),
    **dict.fromkeys(("flood_syn", "flood_ack", "flood_udp", "flood_icmp", "flood_udp_ports"), _FLOOD),
    **dict.fromkeys(("flood_connect", "flood_http"), (*_FLOOD, Part(on="door:web"))),
    "flood_spoofed": (Part(on="victim"), Part(by="devices", on="victim")),
    "reflection": _DEFAULT,
    **dict.fromkeys(("mqtt_flood", "mqtt_connects", "mqtt_eavesdrop", "mqtt_retain"), (Part(on="door:broker"),)),
    **dict.fromkeys(("modbus_write", "modbus_scan"), (Part(on="door:modbus"),)),
    "arp_spoof": (Part(on="device"), Part(on="devices")),
    "http_exploit": _login("web"),
    "upnp_abuse": _DEFAULT,
    "spread": (Part(on="lan"), Part(on="door:telnet")),
    "invented_beacon": _CONTROL,
    "invented_sweep": _SWEEP,
    "invented_search": _PROBE,
    "invented_siege": (*_login("web", "telnet", "ssh"), *_CONTROL),
    "invented_surge": _FLOOD,
    "invented_upload": _DEFAULT,
}
"""How each attack of the catalogue, and each event that is one, may be cast."""

ODDITY_PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "address_change": (Part(), Part(by="devices")),
    "backup": (Part(),),
    "broker_outage": (Part(by="", on="door:broker"),),
    "captive_portal": (Part(on="cloud"),),
    "cloud_outage": (Part(by="", on="cloud"),),
    "dead_vendor": (Part(), Part(by="devices")),
    "dns_outage": (Part(by=""),),
    "firmware_update": (Part(), Part(by="devices")),
    "isp_outage": (Part(by=""),),
    "ntp_outage": (Part(by=""),),
    "owner_scan": (Part(), Part(on="device"), Part(on="gateway")),
    "power_cut": (Part(by=""), Part(by="devices")),
    "printer_storm": (Part(), Part(by="devices")),
    "time_change": (Part(by="devices"), Part(by="all")),
    "video_call": (Part(),),
}
"""The same for harmless events."""

_ACT_OF_EVENT: Final = {
    "backup": "backup",
    "captive_portal": "meet_portal",
    "dead_vendor": "call_dead_server",
    "owner_scan": "scan_own_network",
    "printer_storm": "look_for_printers",
    "time_change": "catch_up_with_clock",
    "video_call": "call_by_video",
}
"""Whose settings an event takes."""
