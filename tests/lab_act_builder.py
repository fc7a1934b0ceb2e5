"""One act in a simulated network whose devices have open doors and no habits: every flow is the act's doing.

In: an act's name and settings. Out: the flows at the gateway.
Must never: let a device speak of its own accord.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
from collections.abc import Coroutine, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATES, FlowBatch
from thingwarden.lab.behaviour.catalogue import ACTS, DEVICES, live
from thingwarden.lab.condition import find_condition
from thingwarden.lab.prefix import GATEWAY, LAN
from thingwarden.lab.simulated.run import is_aimed_at, simulate
from thingwarden.lab.timeline import Aim, Host, Perform, Planned, Schedule
from thingwarden.lab.tool import Tool
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import World

BEGINS_S = 5.0
ICMP, DNS = (1, 58), 53
KINDS = {"bot": ("plug", 10), "camera": ("camera", 21), "hub": ("hub", 2), "plc": ("plc", 31), "nas": ("server", 41)}


def lan_address(name: str) -> str:
    """The IPv4 address of one of ``KINDS``."""
    return str(LAN.network_address + KINDS[name][1])


def perform(
    act: str,
    settings: Mapping[str, object],
    *,
    host: str = "bot",
    seed: int = 1,
    lasts_s: float = 60.0,
    condition: str = "wired",
    starts_at_hour: float = 12.0,
) -> FlowBatch:
    """The flows of one act by ``host``, in order of their beginning."""
    schedule = schedule_of(act, settings, host=host, seed=seed, lasts_s=lasts_s, condition=condition,
                           starts_at_hour=starts_at_hour)  # fmt: skip
    flows = FlowBatch.concatenate(list(simulate(schedule, keep_quiet, ACTS)))
    return flows.take(np.argsort(flows.started_at_s, kind="stable"))


def schedule_of(
    act: str,
    settings: Mapping[str, object],
    *,
    host: str = "bot",
    seed: int = 1,
    lasts_s: float = 60.0,
    condition: str = "wired",
    starts_at_hour: float = 12.0,
) -> Schedule:
    """A network of ``KINDS`` in which one act takes place."""
    kind = ACTS[act]
    checked = kind.settings.model_validate({"lasts_s": lasts_s, **settings})
    action = Perform(
        act=act,
        host=host,
        settings=dict(settings),
        lasts_s=lasts_s,
        attack_class=kind.attack_class,
        technique=kind.technique,
        aims=kind.aims(checked),
    )
    return Schedule(
        scenario="one-act",
        seed=seed,
        duration_s=BEGINS_S + lasts_s + 30.0,
        starts_at_hour=starts_at_hour,
        condition=find_condition(condition),
        hosts=tuple(_host(name, kind, number) for name, (kind, number) in KINDS.items()),
        planned=(Planned(at_s=BEGINS_S, event=f"{act}-1", action=action),),
    )


def _host(name: str, kind: str, number: int) -> Host:
    return Host(
        name=name,
        kind=kind,
        address=str(LAN.network_address + number),
        address6=f"2001:db8:77::{number:x}",
        mac=f"02:77:00:00:00:{number:02x}",
        pace=1.0,
        traits=Traits(seed=name),
    )


async def keep_quiet(world: World) -> None:
    """Open the doors of this kind of device; the internet serves as ever."""
    if world.me.kind in ("internet", "gateway"):
        await live(world)
        return
    kind = DEVICES[world.me.kind]
    for role, handler in kind.handlers(world.me).items():
        if port := kind.doors[role].drawn(role, world.me.traits):
            with contextlib.suppress(OSError):
                await world.listen(port, handler)


def states_of(flows: FlowBatch) -> list[str]:
    """Zeek's state of each flow."""
    return [CONN_STATES[code] for code in flows.conn_state]


def begun_at_s(flows: FlowBatch) -> npt.NDArray[np.float64]:
    """Seconds from the first flow to each."""
    return np.asarray(flows.started_at_s - flows.started_at_s[0])


def aims_of(act: str, settings: Mapping[str, object]) -> tuple[Aim, ...]:
    """Which flows belong to an act with these settings."""
    kind = ACTS[act]
    return kind.aims(kind.settings.model_validate(dict(settings)))


def strays(flows: FlowBatch, aims: tuple[Aim, ...]) -> list[tuple[str, str, int, int]]:
    """Originator, responder, protocol and port of flows that no aim, no look-up and no error message accounts for."""
    found = []
    for index in range(len(flows)):
        ends = [
            (_text(flows.resp_address[index]), int(flows.resp_port[index])),
            # An answer that outlives its flow is metered the other way round.
            (_text(flows.orig_address[index]), int(flows.orig_port[index])),
        ]
        proto = int(flows.proto[index])
        is_aimed = any(is_aimed_at(aim, address, proto, port) for aim in aims for address, port in ends)
        if not is_aimed and proto not in ICMP and ends[0] != (str(GATEWAY), DNS):
            found.append((ends[1][0], ends[0][0], proto, ends[0][1]))
    return found


def attack_of(flows: FlowBatch) -> FlowBatch:
    """Those that are labelled as an attack."""
    assert flows.labels is not None
    return flows.take(np.flatnonzero(flows.labels.malicious == 1))


def peers_of(flows: FlowBatch) -> set[str]:
    """The responders' addresses."""
    return {_text(words) for words in flows.resp_address}


def origins_of(flows: FlowBatch) -> set[str]:
    """The originators' addresses."""
    return {_text(words) for words in flows.orig_address}


def _text(words: npt.NDArray[np.uint64]) -> str:
    address = ipaddress.IPv6Address(int(words[0]) << 64 | int(words[1]))
    return str(address.ipv4_mapped or address)


class StillWorld:
    """A host alone: time passes when it sleeps, programs are noted instead of run."""

    def __init__(self, seed: int = 1, hour: float = 12.0) -> None:
        self.rng = random.Random(seed)
        self.used: list[Tool] = []
        self.slept_s: list[float] = []
        self._now_s = 0.0
        self._hour = hour

    def now_s(self) -> float:
        return self._now_s

    def hour_of_day(self) -> float:
        return (self._hour + self._now_s / 3600.0) % 24.0

    async def sleep(self, span_s: float) -> None:
        self.slept_s.append(span_s)
        self._now_s += span_s

    async def use(self, tool: Tool) -> None:
        self.used.append(tool)


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that awaits nothing but a ``StillWorld``."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for something")


def tools_of(act: str, settings: Mapping[str, object], seed: int = 1) -> list[Tool]:
    """The programs that an act runs."""
    kind = ACTS[act]
    world = StillWorld(seed)
    drive(kind.run(cast(World, world), kind.settings.model_validate(dict(settings))))
    return world.used
