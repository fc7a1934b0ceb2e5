"""A small simulated network in which each host does what a test gives it to do.

In: behaviours by host name, or kinds of device. Out: their flows.
Must never: need the network, or run for longer than the test asks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch
from thingwarden.domain.packet import PROTO_ICMP6
from thingwarden.lab.behaviour.catalogue import live
from thingwarden.lab.condition import CONDITIONS
from thingwarden.lab.simulated.run import simulate
from thingwarden.lab.timeline import Host, Planned, Schedule
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Behaviour, World

FIRST_ADDRESS = 10
PROTO_IGMP = 2
FIRST_CHATTER_TYPE = 130
"""ICMPv6 types from here on are neighbours' and groups'; below are echoes and errors."""
_STATE = {code: name for name, code in CONN_STATE_CODE.items()}


def build_hosts(kinds: Sequence[str], *, seed: int = 1, breadth: float = 0.0) -> tuple[Host, ...]:
    """One host of each kind, named by its kind with a number, at 10.77.0.10 and following."""
    return tuple(
        Host(
            name=f"{kind}-{number}",
            kind=kind,
            address=f"10.77.0.{FIRST_ADDRESS + number}",
            address6=f"2001:db8:77::{FIRST_ADDRESS + number:x}",
            mac=f"02:77:00:00:01:{number:02x}",
            pace=1.0,
            traits=Traits(seed=f"{seed}:{kind}-{number}", breadth=breadth),
        )
        for number, kind in enumerate(kinds)
    )


def run_hosts(
    hosts: Sequence[Host],
    life: Behaviour = live,
    *,
    duration_s: float,
    planned: Sequence[Planned] = (),
    seed: int = 1,
    starts_at_hour: float = 18.0,
    condition: str = "fibre",
) -> FlowBatch:
    """The flows of these hosts."""
    schedule = Schedule(
        scenario="test",
        seed=seed,
        duration_s=duration_s,
        starts_at_hour=starts_at_hour,
        condition=CONDITIONS[condition],
        hosts=tuple(hosts),
        planned=tuple(sorted(planned, key=lambda item: item.at_s)),
    )
    return FlowBatch.concatenate(list(simulate(schedule, life, {})))


def play(duration_s: float = 60.0, **parts: Behaviour) -> FlowBatch:
    """The flows of hosts that do nothing but their part; the internet's services are there.

    Errors other than OSError fail the test; a part records what it saw in objects of the test.
    """

    async def life(world: World) -> None:
        part = parts.get(world.me.name.partition("-")[0])
        await (part or live)(world)

    return run_hosts(build_hosts(list(parts)), life, duration_s=duration_s)


def address_of(number: int) -> str:
    """The address of the host with that number, from 0 on."""
    return f"10.77.0.{FIRST_ADDRESS + number}"


def spoken(flows: FlowBatch) -> FlowBatch:
    """Without what kernels say of their own accord: finding IPv6 neighbours and joining groups."""
    is_chatter = (flows.proto == PROTO_ICMP6) & (flows.orig_port >= FIRST_CHATTER_TYPE)
    return flows.take(np.flatnonzero(~is_chatter & (flows.proto != PROTO_IGMP)))


def contacts(flows: FlowBatch) -> list[tuple[int, int, str, str]]:
    """Protocol, responder's port, state and service of each flow that a behaviour began."""
    flows = spoken(flows)
    return [
        (int(proto), int(port), _STATE[int(state)], service.decode())
        for proto, port, state, service in zip(
            flows.proto, flows.resp_port, flows.conn_state, flows.service, strict=True
        )
    ]
