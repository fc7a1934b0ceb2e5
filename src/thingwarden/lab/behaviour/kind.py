"""The form of a device kind: its habits, the services it uses, the ports it opens.

In: traits. Out: ``DeviceKind``, ``Habit``, ``Site``, ``Door``, and a habit's life of trying, failing and pausing.
Must never: let a failed connection end a habit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Behaviour, Handler, Identity, World

Transport: TypeAlias = Literal["tcp", "udp"]
Retry: TypeAlias = Literal["doubling", "fixed", "storm", "patient"]

_ACTIVITY_BY_HOUR: Final = (
    0.15, 0.06, 0.04, 0.03, 0.03, 0.08, 0.35, 0.8, 0.9, 0.5, 0.4, 0.4,
    0.6, 0.5, 0.4, 0.45, 0.6, 0.9, 1.2, 1.4, 1.5, 1.3, 0.9, 0.4,
)  # fmt: skip
TLS_PORTS: Final = frozenset((443, 993, 4070, 4443, 5228, 5349, 5671, 6690, 8443, 8883, 8884, 8886, 9443, 10443, 50443))
"""Where makers speak TLS; on other ports than these they may, and on these all do."""
_STORM_TRIES: Final = 6
_LONGEST_FIRST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a service of the internet listens.

    Attributes:
        service: key of ``directory.SERVICES``.
        is_tls: TLS right from the beginning; TCP only.
    """

    service: str
    port: int
    transport: Transport = "tcp"
    is_tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A service of the internet as a kind of device uses it; ``drawn`` says how one maker does.

    Attributes:
        services: the usual one first.
        port, others: usual port and other likely ones; over TLS where ``is_tls``.
        plain_port: used without TLS by those makers that do without; 0 where none does.
        is_fixed: whether everybody uses the usual port, as the protocol's registration says.
    """

    services: tuple[str, ...]
    port: int
    others: tuple[int, ...] = ()
    transport: Transport = "tcp"
    is_tls: bool = False
    plain_port: int = 0
    is_fixed: bool = False

    def drawn(self, role: str, traits: Traits) -> Endpoint:
        """What the maker of the device with these ``traits`` chose; ``role`` names the use."""
        service = traits.choice(f"{role}_service", self.services[0], self.services[1:])
        is_tls = self.is_tls and not (self.plain_port and traits.chance(f"{role}_is_plain", 0.3))
        usual = self.plain_port if self.is_tls and not is_tls else self.port
        others = (
            self.others
            if self.transport == "udp"
            else [other for other in self.others if (other in TLS_PORTS) == is_tls]
        )
        port = usual if self.is_fixed else traits.port(f"{role}_port", usual, others)
        return Endpoint(service=service, port=port, transport=self.transport, is_tls=is_tls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A port that a device opens to its LAN.

    Attributes:
        port, others: the usual one and other likely ones.
        about: what is spoken there, for people.
        open_share: how many makers open it.
        is_fixed: whether everybody uses the usual port, as the protocol's registration says.
    """

    port: int
    about: str
    others: tuple[int, ...] = ()
    transport: Transport = "tcp"
    open_share: float = 1.0
    is_fixed: bool = False

    def drawn(self, role: str, traits: Traits) -> int:
        """The port that the maker chose; 0 if this device does not open it."""
        if not traits.chance(f"{role}_is_open", self.open_share):
            return 0
        return self.port if self.is_fixed else traits.port(f"{role}_door", self.port, self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """Something that a device does again and again.

    Attributes:
        name: unique on the device.
        act: does it once, or as long as a session lasts; an OSError means that it failed.
        every_s: pause between two, on average.
        jitter: standard deviation of the pause over its mean; 1 or more draws exponential pauses.
        is_by_day: whether people cause it, so that pauses grow at night.
        retry: how failure is met, ``retry_s`` the first pause, ``retry_most_s`` the longest.
    """

    name: str
    act: Behaviour
    every_s: float
    jitter: float = 0.1
    is_by_day: bool = False
    retry: Retry = "doubling"
    retry_s: float = 5.0
    retry_most_s: float = 300.0

    async def live(self, world: World) -> None:
        """Act and pause until the host stops."""
        await world.sleep(self._first_pause_s(world))
        failures = 0
        while True:
            try:
                await self.act(world)
                failures = 0
            except OSError:
                failures += 1
            await world.sleep(self.retry_pause_s(world, failures) if failures else self.pause_s(world))

    def pause_s(self, world: World) -> float:
        """Seconds until the next time."""
        spread = world.rng.expovariate(1.0) if self.jitter >= 1.0 else max(0.05, world.rng.gauss(1.0, self.jitter))
        slowing = activity(world.hour_of_day()) if self.is_by_day else 1.0
        return self.every_s * spread / world.me.pace / slowing

    def retry_pause_s(self, world: World, failures: int) -> float:
        """Seconds until the next try after ``failures`` in a row, at least 1."""
        if self.retry == "patient":
            return self.pause_s(world)
        if self.retry == "storm" and failures % _STORM_TRIES:
            return world.rng.uniform(0.05, 0.5)
        rounds = failures // _STORM_TRIES if self.retry == "storm" else failures
        growth = 1.0 if self.retry == "fixed" else 2.0 ** min(rounds - 1, 16)
        return min(self.retry_most_s, self.retry_s * growth) * world.rng.uniform(0.8, 1.2) / world.me.pace

    def _first_pause_s(self, world: World) -> float:
        if world.me.is_booting:
            return world.rng.uniform(0.1, 3.0)
        return world.rng.uniform(0.1, min(self.every_s, _LONGEST_FIRST_PAUSE_S)) / world.me.pace


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKind:
    """One entry of the catalogue.

    Attributes:
        about: one sentence for ``lab describe``.
        habits: what the device with this identity does, its choices drawn once.
        handlers: what serves the doors that are open, by role; drawn once as well.
        sites: services of the internet by role; ``doors`` ports by role.
        lan: whom it talks to on the LAN, for people.
    """

    about: str
    habits: Callable[[Identity], Sequence[Habit]] = lambda _: ()
    handlers: Callable[[Identity], Mapping[str, Handler]] = lambda _: {}
    sites: Mapping[str, Site] = field(default_factory=dict)
    doors: Mapping[str, Door] = field(default_factory=dict)
    lan: tuple[str, ...] = ()

    @property
    def talks_to(self) -> tuple[str, ...]:
        """Whom a usual device of this kind contacts, in words, as a usage description (RFC 8520) would list it."""
        outside = (
            f"{' or '.join(site.services)}, {site.transport}/{site.port}{', TLS' if site.is_tls else ''}"
            for site in self.sites.values()
        )
        return (*self.lan, *outside)

    @property
    def opens(self) -> tuple[str, ...]:
        """Its usual open ports, in words."""
        return tuple(f"{door.transport}/{door.port} {door.about}" for door in self.doors.values())


def draw_habit(
    me: Identity,
    name: str,
    act: Behaviour,
    usual_s: float,
    low_s: float = 1.0,
    high_s: float = 7200.0,
    *,
    is_by_day: bool = False,
) -> Habit:
    """A habit whose period, jitter and way of retrying are this device's own."""
    traits = me.traits
    return Habit(
        name=name,
        act=act,
        every_s=traits.number(f"{name}_every_s", usual_s, low_s, high_s),
        jitter=traits.choice(f"{name}_jitter", 1.0 if is_by_day else 0.1, (0.0, 0.02, 0.1, 0.3, 1.0)),
        is_by_day=is_by_day,
        retry=traits.choice("retry", "doubling", ("fixed", "storm", "patient")),
        retry_s=traits.number(f"{name}_retry_s", 4.0, 1.0, 120.0),
        retry_most_s=traits.number("retry_most_s", 120.0, 10.0, 3600.0),
    )


def activity(hour: float) -> float:
    """How busy people are at that hour of the day, 0.03 to 1.5, their mean day about 0.55."""
    first = int(hour) % 24
    share = hour - int(hour)
    return _ACTIVITY_BY_HOUR[first] * (1 - share) + _ACTIVITY_BY_HOUR[(first + 1) % 24] * share
