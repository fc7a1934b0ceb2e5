"""Hard negatives: harmless things that look like attacks, each put into a network that nobody learned from.

In: the lab's events. Out: ``HARD_NEGATIVES``, and for each and a number a schedule in which it happens.
Must never: let an attack into such a network, or give two of them one network.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from thingwarden.lab.cast import CLOUDS, draw_event_settings, log_uniform
from thingwarden.lab.draw import CorpusRecipe, draw_network
from thingwarden.lab.events import Occasion, expand
from thingwarden.lab.timeline import Host, Schedule

DAY_S: Final = 86_400.0
CONTROL: Final = "nothing"
"""Networks in which nothing odd happens, to compare with."""

_BEGINS_RATIO: Final = (0.3, 0.6)
_LASTS_S: Final = (300.0, 6 * 3600.0)
_LONGEST_CALL_S: Final = 150.0
_LONGEST_SCAN_S: Final = 600.0
_HUB: Final = "hub"
_PRINTING: Final = ("phone", "server", "tv")
_OWNERS: Final = ("phone", "server")

_RECIPE: Final = CorpusRecipe(
    name="hard-negatives",
    devices=(4, 7),
    invented_share=0.25,
    hub_share=1.0,
    breadth=(0.1, 1.0),
    duration_s=(DAY_S, DAY_S),
    flows=(400.0, 3000.0),
    quiet_share=1.0,
    oddities=(0, 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who takes part: performers and what they turn to, names as ``lab.events.Occasion`` has them."""

    by: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


Casting: TypeAlias = Callable[[Sequence[Host], random.Random], Cast]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardNegative:
    """Something harmless.

    Attributes:
        name: unique.
        about: for people.
        event: a key of ``lab.events.EVENTS``; empty for the control.
        cast: chooses who takes part.
        longest_s: bound in time; it may go on to the day's end where ``is_lasting``.
        is_allowed: whether the performer is on the operator's allow list.
    """

    name: str
    about: str
    event: str
    cast: Casting
    longest_s: float = _LASTS_S[1]
    is_lasting: bool = False
    is_allowed: bool = False


def _some(hosts: Sequence[Host], rng: random.Random, most: int = 3) -> Cast:
    return Cast(by=tuple(rng.sample([host.name for host in hosts], rng.randint(1, min(most, len(hosts))))))


def _one(hosts: Sequence[Host], rng: random.Random) -> Cast:
    return _some(hosts, rng, 1)


def _all(hosts: Sequence[Host], rng: random.Random) -> Cast:
    return _some(hosts, rng, len(hosts))


def _nobody(_hosts: Sequence[Host], _rng: random.Random) -> Cast:
    return Cast()


def _clouds(_hosts: Sequence[Host], rng: random.Random) -> Cast:
    """Some of the internet's services, or all."""
    return Cast(on=tuple(rng.sample(CLOUDS, rng.choice((3, len(CLOUDS))))))


def _every_cloud(_hosts: Sequence[Host], _rng: random.Random) -> Cast:
    return Cast(on=CLOUDS)


def _broker(hosts: Sequence[Host], _rng: random.Random) -> Cast:
    return Cast(on=(next(host.name for host in hosts if host.kind == _HUB),))


def _portal(hosts: Sequence[Host], rng: random.Random) -> Cast:
    return Cast(by=_some(hosts, rng).by, on=CLOUDS)


def _kinds(*kinds: str) -> Casting:
    """One host of these kinds, or any where there is none."""

    def cast(hosts: Sequence[Host], rng: random.Random) -> Cast:
        return _one([host for host in hosts if host.kind in kinds] or hosts, rng)

    return cast


def _scanning(hosts: Sequence[Host], rng: random.Random) -> Cast:
    owner = _kinds(*_OWNERS)(hosts, rng).by
    others = [host.name for host in hosts if host.name not in owner]
    return Cast(by=owner, on=(rng.choice(("lan", "gateway", rng.choice(others))),))


HARD_NEGATIVES: Final = (
    HardNegative(name="cloud outage", about="clouds fall silent or refuse", event="cloud_outage", cast=_clouds),
    HardNegative(name="broker outage", about="the home's MQTT broker is gone", event="broker_outage", cast=_broker),
    HardNegative(name="DNS outage", about="the resolver does not answer", event="dns_outage", cast=_nobody),
    HardNegative(name="NTP outage", about="the time server does not answer", event="ntp_outage", cast=_nobody),
    HardNegative(name="ISP outage", about="the uplink is gone", event="isp_outage", cast=_nobody),
    HardNegative(
        name="dead vendor server",
        about="devices call a server that no longer exists, until the day ends",
        event="dead_vendor", cast=_some, is_lasting=True,
    ),
    HardNegative(
        name="dead vendor clouds",
        about="everything that devices report to is gone, until the day ends: unreachable peers, and no C&C",
        event="cloud_outage", cast=_every_cloud, is_lasting=True,
    ),
    HardNegative(name="new device", about="a device joins that was never seen", event="new_device", cast=_one),
    HardNegative(
        name="power cut", about="everything restarts at the same time", event="power_cut", cast=_nobody,
        longest_s=3600.0,
    ),
    HardNegative(
        name="firmware update", about="devices fetch megabytes and restart", event="firmware_update", cast=_some
    ),
    HardNegative(
        name="owner's nmap", about="from a machine on the allow list, over the LAN, the gateway or a device",
        event="owner_scan", cast=_scanning, longest_s=_LONGEST_SCAN_S, is_allowed=True,
    ),
    HardNegative(name="backup", about="a host uploads much", event="backup", cast=_one),
    HardNegative(
        name="address change", about="devices come back with other addresses", event="address_change", cast=_some,
        longest_s=600.0,
    ),
    HardNegative(
        name="captive portal", about="a portal stands before the internet", event="captive_portal", cast=_portal,
        longest_s=3600.0,
    ),
    HardNegative(
        name="video call", about="a person calls", event="video_call", cast=_kinds(*_OWNERS),
        longest_s=_LONGEST_CALL_S,
    ),
    HardNegative(
        name="printer discovery storm", about="computers ask the whole LAN for printers", event="printer_storm",
        cast=_kinds(*_PRINTING),
    ),
    HardNegative(name="time change", about="the clock jumps, much falls due at once", event="time_change", cast=_all),
    HardNegative(name=CONTROL, about="no odd thing at all, for comparison", event="", cast=_nobody),
)  # fmt: skip
"""Those that the design names, and the control."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A hard negative in the network of a number."""

    negative: HardNegative
    number: int

    @property
    def name(self) -> str:
        """Unique, usable as a file's name."""
        return f"{''.join(letter if letter.isalnum() else '-' for letter in self.negative.name)}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A situation that can be played; ``allowed_macs`` are the operator's own machines."""

    schedule: Schedule
    begins_s: float
    allowed_macs: frozenset[str]


def prepare(situation: Situation, duration_s: float = DAY_S) -> Prepared:
    """Draw the network of a situation and what befalls it.

    Args:
        situation: which.
        duration_s: of the recording; the odd thing begins somewhere between three and six tenths of it.
    """
    negative = situation.negative
    recipe = _RECIPE.model_copy(
        update={"duration_s": (duration_s, duration_s), "flows": tuple(n * duration_s / DAY_S for n in _RECIPE.flows)}
    )
    number = zlib.crc32(f"{negative.name}:{situation.number}".encode()) % 100_000
    schedule = draw_network(recipe, seed=situation.number, number=number)
    rng = random.Random(f"hard-negative:{negative.name}:{situation.number}")
    begins_s = round(rng.uniform(*_BEGINS_RATIO) * duration_s, 3)
    if not negative.event:
        return Prepared(schedule=schedule, begins_s=begins_s, allowed_macs=frozenset())
    cast = negative.cast(schedule.hosts, rng)
    hosts = tuple(
        replace(host, joins=negative.event == "new_device" and host.name in cast.by) for host in schedule.hosts
    )
    left_s = duration_s - begins_s - 1.0
    lasts_s = left_s if negative.is_lasting else min(left_s, log_uniform(rng, *_LASTS_S), negative.longest_s)
    occasion = Occasion(
        name=f"{negative.event}-1",
        by=cast.by,
        on=cast.on,
        ip_version=4,
        begins_s=begins_s,
        lasts_s=round(lasts_s, 3),
        settings=_settings(negative, rng),
        varies=True,
        hosts={host.name: host for host in hosts},
        rng=rng,
        place=f"hard negative {negative.name}",
    )
    planned = tuple(sorted(expand(negative.event, occasion), key=lambda item: item.at_s))
    owners = frozenset(host.mac for host in hosts if negative.is_allowed and host.name in cast.by)
    return Prepared(schedule=replace(schedule, hosts=hosts, planned=planned), begins_s=begins_s, allowed_macs=owners)


def _settings(negative: HardNegative, rng: random.Random) -> dict[str, object]:
    settings = draw_event_settings(negative.event, rng)
    return settings | {"mode": "silent"} if negative.is_lasting and "mode" in settings else settings
