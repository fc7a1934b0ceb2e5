"""What happens in a scenario, as a flat list of actions that either world carries out at their moments.

In: nothing. Out: ``Schedule`` and its parts, frozen; drawn by ``schedule.py``, told as truth by ``truth.py``.
Must never: hold anything that is known only after a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.condition import Condition
from thingwarden.lab.traits import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine on the LAN.

    Attributes:
        name: also part of its namespace's name.
        kind: of device.
        address: IPv4 inside the LAN, text; ``address6`` IPv6, empty where the network has none.
        mac: colon-separated.
        pace: how busy; 1 is usual.
        traits: see ``Identity``.
        joins: whether it is absent until a ``PowerOn`` brings it.
    """

    name: str
    kind: str
    address: str
    address6: str
    mac: str
    pace: float
    traits: Traits
    joins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Which flows belong to an act: pair, protocol and ports of the attacked side.

    Attributes:
        peer: address or prefix of the other side, text.
        proto: IANA number; 0 is any.
        ports: empty is any; of ICMP, which has none, not asked for.
        source: address or prefix that forged packets claim to come from; empty is the host's own.
    """

    peer: str
    proto: int = 6
    ports: tuple[int, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Perform:
    """A host does something beyond its habits: an attack, or something harmless that looks odd.

    Attributes:
        act: a key of ``behaviour.ACTS``.
        host: who does it; ``internet`` is the outside world.
        settings: what the act is given: numbers, text, and tuples of them; names of hosts already made addresses.
        lasts_s: at most.
        attack_class: benign for what is harmless.
        technique: MITRE ATT&CK id, empty where benign.
        aims: which flows it causes.
    """

    act: str
    host: str
    settings: Mapping[str, object] = field(default_factory=dict)
    lasts_s: float = 60.0
    attack_class: AttackClass = AttackClass.BENIGN
    technique: str = ""
    aims: tuple[Aim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A part of the network fails; ``silent`` drops packets, ``refusing`` answers with resets or unreachable.

    ``target`` is ``uplink``, ``resolver``, the name of an internet service, or the name of a host.
    """

    target: str
    mode: Literal["silent", "refusing"] = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Undoes the ``Cut`` of the same target."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOff:
    """A host loses its power: nothing is closed in an orderly way."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOn:
    """A host gets its power and boots: DHCP, then its habits; with another IPv4 address where one is given."""

    host: str
    address: str = ""


Action: TypeAlias = Perform | Cut | Restore | PowerOff | PowerOn


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An action at its moment, seconds since the beginning; ``event``, ``<kind>-<number>``, is what it belongs to."""

    at_s: float
    event: str
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All that a run will do, before it is run: the same for the same recipe, seed and duration.

    Attributes:
        starts_at_hour: local time of the beginning, which day rhythms go by.
        planned: ascending by ``at_s``.
    """

    scenario: str
    seed: int
    duration_s: float
    starts_at_hour: float
    condition: Condition
    hosts: tuple[Host, ...]
    planned: tuple[Planned, ...]


def describe(planned: Planned) -> str:
    """One line about an action, for people."""
    match planned.action:
        case Perform(act=act, host=host, attack_class=attack_class):
            what = "benign" if attack_class is AttackClass.BENIGN else f"attack, {attack_class.value}"
            return f"{host}: {act} ({what}; {planned.event})"
        case Cut(target=target, mode=mode):
            return f"{target}: cut, {mode} ({planned.event})"
        case Restore(target=target):
            return f"{target}: works again ({planned.event})"
        case PowerOff(host=host):
            return f"{host}: loses its power ({planned.event})"
        case PowerOn(host=host, address=address):
            return f"{host}: has power{f', now at {address}' if address else ''} ({planned.event})"
