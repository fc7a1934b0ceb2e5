"""A small simulated network in which each host does what a test gives it to do, seen packet by packet.

In: behaviours by host name. Out: the packets at the gateway and the flows that they make.
Must never: need the network, or run for longer than the test asks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATES, FlowBatch
from thingwarden.domain.packet import PacketBatch
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.condition import Condition, find_condition
from thingwarden.lab.simulated.capture import Meter, packets_from_rows
from thingwarden.lab.simulated.run import Simulation
from thingwarden.lab.timeline import Host, Planned, Schedule
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Behaviour, World

FIRST_ADDRESS = 10
_FLAGS = {0x02: "S", 0x12: "SA", 0x10: "A", 0x18: "PA", 0x11: "FA", 0x19: "FPA", 0x04: "R", 0x14: "RA"}


def address_of(number: int) -> str:
    """The IPv4 address of the host with that number, from 0 on."""
    return f"10.77.0.{FIRST_ADDRESS + number}"


def address6_of(number: int) -> str:
    """Its IPv6 address."""
    return f"2001:db8:77::{FIRST_ADDRESS + number:x}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a capture holds.

    Attributes:
        packets: in order, of the whole run.
        flows: metered and labelled, by their end.
        began_at_s: Unix seconds of the run's beginning.
    """

    packets: PacketBatch
    flows: FlowBatch
    began_at_s: float

    def states(self, port: int = 0) -> list[tuple[str, str]]:
        """State and history of each flow in the order of their beginning; of those to ``port`` where one is given."""
        order = np.argsort(self.flows.started_at_s, kind="stable")
        return [
            (CONN_STATES[self.flows.conn_state[row]], self.flows.history[row].decode())
            for row in order
            if not port or self.flows.resp_port[row] == port
        ]

    def of_port(self, port: int) -> PacketBatch:
        """The packets to or from a port."""
        return self.packets.take((self.packets.src_port == port) | (self.packets.dst_port == port))

    def flags(self, port: int) -> list[str]:
        """What each TCP packet to or from a port is, with ``<`` in front where it comes from the port."""
        packets = self.of_port(port)
        return [
            ("<" if source == port else "") + _FLAGS[int(flags)]
            for source, flags in zip(packets.src_port, packets.tcp_flags, strict=True)
        ]

    def moments_s(self, port: int) -> npt.NDArray[np.float64]:
        """Seconds since the beginning of the packets to or from a port."""
        return self.of_port(port).at_s - self.began_at_s


def text_of(words: npt.NDArray[np.uint64]) -> str:
    """An address from its two halves."""
    address = ipaddress.IPv6Address(int(words[0]) << 64 | int(words[1]))
    return str(address.ipv4_mapped or address)


def watch(
    duration_s: float = 30.0,
    *,
    condition: str | Condition = "wired",
    planned: Sequence[Planned] = (),
    acts: Mapping[str, ActKind[Any]] | None = None,
    seed: int = 1,
    kinds: Mapping[str, str] | None = None,
    joins: frozenset[str] = frozenset(),
    **parts: Behaviour,
) -> Seen:
    """What the gateway sees of hosts named by ``parts``, in their order at 10.77.0.10 and following.

    ``internet`` and ``gateway`` may be among the parts; they are no hosts of the LAN.
    """
    names = [name for name in parts if name not in ("internet", "gateway")]
    schedule = Schedule(
        scenario="test",
        seed=seed,
        duration_s=duration_s,
        starts_at_hour=12.0,
        condition=find_condition(condition) if isinstance(condition, str) else condition,
        hosts=tuple(
            Host(
                name=name,
                kind=(kinds or {}).get(name, "test"),
                address=address_of(number),
                address6=address6_of(number),
                mac=f"02:77:00:00:01:{number:02x}",
                pace=1.0,
                traits=Traits(seed=name),
                joins=name in joins,
            )
            for number, name in enumerate(names)
        ),
        planned=tuple(planned),
    )

    async def life(world: World) -> None:
        if part := parts.get(world.me.name):
            await part(world)

    simulation = Simulation(schedule, life, acts or {})
    meter = Meter(simulation.labels, simulation.began_at_s)
    batches: list[FlowBatch] = []
    packets: list[PacketBatch] = []
    for rows in simulation.packets():
        packets.append(packets_from_rows(rows, simulation.began_at_s))
        batches.append(meter.push(rows))
    batches.append(meter.finish())
    return Seen(_joined(packets), FlowBatch.concatenate(batches), simulation.began_at_s)


def _joined(parts: list[PacketBatch]) -> PacketBatch:
    if not parts:
        return packets_from_rows(np.zeros(0, dtype=_row_dtype()), 0.0)
    names = PacketBatch.__slots__
    return PacketBatch(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _row_dtype() -> np.dtype[Any]:
    from thingwarden.lab.simulated.capture import ROW

    return ROW
