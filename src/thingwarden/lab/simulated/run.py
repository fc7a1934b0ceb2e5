"""Carry out a schedule in simulated time: hosts live, acts are performed, parts fail, and flows come out.

In: a ``Schedule``, what hosts do, and what acts there are. Out: labelled ``FlowBatch``es, by the end of the flow.
Must never: depend on anything but its arguments: equal schedules give equal bytes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.packet import PROTO_TCP, PROTO_UDP
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks.hostile import expected_ports
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import GATEWAY, GATEWAY6, GATEWAY_MAC
from thingwarden.lab.simulated.capture import BENIGN_LABEL, LabelBook, Meter, Rows
from thingwarden.lab.simulated.clock import Clock, Task
from thingwarden.lab.simulated.network import Host, Network, Place
from thingwarden.lab.simulated.tools import use_tool
from thingwarden.lab.simulated.udp import DatagramPlane, LabelTo
from thingwarden.lab.simulated.world import SimulatedWorld, Surroundings, start_task
from thingwarden.lab.timeline import Aim, Cut, Perform, Planned, PowerOff, PowerOn, Restore, Schedule
from thingwarden.lab.timeline import Host as PlannedHost
from thingwarden.lab.traits import Traits
from thingwarden.lab.truth import label_detail
from thingwarden.lab.world import Behaviour, Identity

BEGAN_ON: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The day on which every simulated scenario begins, at the hour that its schedule says."""

INTERNET: Final = "internet"
_STRANGER: Final = "stranger.invalid"
"""Who on the internet does what a schedule lets ``internet`` do."""
_DNS: Final = (PROTO_UDP, 53)
_ACT_GRACE_S: Final = 5.0
_CHUNK_S: Final = 600.0
_CHUNK_PACKETS: Final = 200_000


def simulate(
    schedule: Schedule,
    life: Behaviour,
    acts: Mapping[str, ActKind[Any]],
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[FlowBatch]:
    """Run a schedule to its end.

    Args:
        schedule: what happens.
        life: what every host does from its first second, going by the kind that it is.
        acts: by the names that the schedule uses.
        on_progress: told the seconds done, now and then.

    Yields:
        Flows with labels, by the end of the flow.
    """
    run = Simulation(schedule, life, acts)
    meter = Meter(run.labels, run.began_at_s)
    for rows in run.packets(on_progress):
        flows = meter.push(rows)
        if len(flows):
            yield flows
    last = meter.finish()
    if len(last):
        yield last


class Simulation:
    """One run of a schedule.

    Args:
        schedule, life, acts: as for ``simulate``.

    Attributes:
        labels: what the labels in the packets mean.
        began_at_s: Unix seconds of its beginning.
    """

    def __init__(self, schedule: Schedule, life: Behaviour, acts: Mapping[str, ActKind[Any]]) -> None:
        self.labels = LabelBook()
        self.began_at_s = BEGAN_ON.timestamp() + schedule.starts_at_hour * 3600.0
        self._schedule = schedule
        self._life = life
        self._acts = acts
        self._clock = Clock()
        self._network = Network(self._clock, schedule.condition, str(schedule.seed))
        self._plane = DatagramPlane(self._network)
        self._surroundings: dict[str, Surroundings] = {}
        self._planned_hosts = {host.name: host for host in schedule.hosts}
        self._addresses = {host.name: host.address for host in schedule.hosts}
        self._expects = expected_ports(schedule.planned)
        self._build()

    def packets(self, on_progress: Callable[[float], None] | None = None) -> Iterator[Rows]:
        """The packets at the capture, in order, chunk by chunk; dtype ``capture.ROW``."""
        ends_s = self._schedule.duration_s
        while self._clock.now_s < ends_s:
            self._clock.run_until(min(self._clock.now_s + self._chunk_s(), ends_s))
            self._settle()
            if on_progress is not None:
                on_progress(self._clock.now_s)
            rows = self._network.capture.take_until(self._clock.now_s)
            if len(rows):
                yield rows

    def _chunk_s(self) -> float:
        return _CHUNK_S

    def _settle(self) -> None:
        for host in dict.fromkeys(self._network.hosts.values()):
            for side in host.sides:
                side.settle(self._clock.now_s)

    def _build(self) -> None:
        for service in SERVICES.values():
            if not service.is_absent:
                outside = (service.address, service.address6)
                host = self._network.add_host(service.name, Place.INTERNET, GATEWAY_MAC, outside)
                self._settle_in(host, self._service_identity(service.name), is_up=True)
        self._settle_in(self._network.gateway, self._gateway_identity(), is_up=True)
        for planned in self._schedule.hosts:
            addresses = tuple(address for address in (planned.address, planned.address6) if address)
            host = self._network.add_host(planned.name, Place.LAN, planned.mac, addresses)
            self._settle_in(host, self._identity(planned, is_booting=False), is_up=not planned.joins)
        for item in self._schedule.planned:
            self._clock.call_at(item.at_s, self._carry_out, item)

    def _settle_in(self, host: Host, me: Identity, *, is_up: bool) -> None:
        of = Surroundings(
            network=self._network,
            plane=self._plane,
            host=host,
            me=me,
            seed=str(self._schedule.seed),
            starts_at_hour=self._schedule.starts_at_hour,
            use_tool=use_tool,
        )
        self._surroundings[me.name] = of
        host.is_up = is_up
        if is_up:
            start_task(of, self._life, "main")

    def _identity(self, planned: PlannedHost, *, is_booting: bool) -> Identity:
        others = [host for host in self._schedule.hosts if host.name != planned.name]
        return Identity(
            name=planned.name,
            kind=planned.kind,
            mac=planned.mac,
            address=self._addresses[planned.name],
            address6=planned.address6,
            pace=planned.pace,
            traits=planned.traits,
            peers={host.name: self._addresses[host.name] for host in others},
            kinds={host.name: host.kind for host in others},
            peer_traits={host.name: host.traits for host in others},
            is_booting=is_booting,
        )

    def _service_identity(self, name: str) -> Identity:
        service = SERVICES[name]
        return Identity(
            name=name,
            kind=INTERNET,
            mac=GATEWAY_MAC,
            address=service.address,
            address6=service.address6,
            pace=1.0,
            traits=Traits(seed=f"{self._schedule.seed}:{name}"),
            peer_traits={host.name: host.traits for host in self._schedule.hosts},
            kinds={host.name: host.kind for host in self._schedule.hosts},
            peers=dict(self._addresses),
            expects=self._expects,
        )

    def _gateway_identity(self) -> Identity:
        return Identity(
            name="gateway",
            kind="gateway",
            mac=GATEWAY_MAC,
            address=str(GATEWAY),
            address6=str(GATEWAY6),
            pace=1.0,
            traits=Traits(seed=f"{self._schedule.seed}:gateway"),
            peers=dict(self._addresses),
            kinds={host.name: host.kind for host in self._schedule.hosts},
            peer_traits={host.name: host.traits for host in self._schedule.hosts},
        )

    def _carry_out(self, item: Planned) -> None:
        match item.action:
            case Perform():
                self._perform(item, item.action)
            case Cut(target=target, mode=mode):
                self._cut(target, is_silent=mode == "silent", is_cut=True)
            case Restore(target=target):
                self._cut(target, is_silent=True, is_cut=False)
            case PowerOff(host=name):
                self._power_off(self._surroundings[name].host)
            case PowerOn(host=name, address=address):
                self._power_on(name, address)

    def _perform(self, item: Planned, act: Perform) -> None:
        of = self._surroundings[_STRANGER if act.host == INTERNET else act.host]
        if not of.host.is_up:
            return
        kind = self._acts[act.act]
        settings = kind.settings.model_validate({"lasts_s": act.lasts_s, **act.settings})
        number = self.labels.add(act.attack_class, label_detail(item.event, act.attack_class))
        family: dict[Task, None] = {}
        name = f"{item.event} {item.at_s:.3f}"
        start_task(of, partial(_run_act, kind, settings), name, label_by_aims(number, act.aims), family)
        self._clock.call_at(item.at_s + act.lasts_s + _ACT_GRACE_S, _end_all, family)

    def _cut(self, target: str, *, is_silent: bool, is_cut: bool) -> None:
        network = self._network
        if target == "resolver":
            ports = network.gateway.silent_ports if is_silent else network.gateway.closed_ports
            for each in (network.gateway.silent_ports, network.gateway.closed_ports):
                each.pop(53, None)
            if is_cut:
                ports[53] = None
            return
        if target == "uplink":
            hosts = [host for host in dict.fromkeys(network.hosts.values()) if host.place is Place.INTERNET]
        else:
            hosts = [self._surroundings[target].host]
        for host in hosts:
            host.outward.is_cut = host.inward.is_cut = is_cut and is_silent
            host.refuses = is_cut and not is_silent

    def _power_off(self, host: Host) -> None:
        if not host.is_up:
            return
        host.is_up = False
        host.down_since_s = self._clock.now_s
        for side in list(host.sides):
            side.vanish()
        host.sides.clear()
        for task in list(host.tasks.values()):
            task.cancel()
        host.tasks.clear()
        for socket in list(host.sockets.values()):
            socket.close()
        host.listeners.clear()

    def _power_on(self, name: str, address: str) -> None:
        planned, of = self._planned_hosts[name], self._surroundings[name]
        if of.host.is_up:
            return
        if address:
            self._addresses[name] = address
            self._network.move(of.host, tuple(each for each in (address, planned.address6) if each))
        self._settle_in(of.host, self._identity(planned, is_booting=True), is_up=True)


async def _run_act(kind: ActKind[Any], settings: Any, world: SimulatedWorld) -> None:
    await kind.run(world, settings)


def _end_all(tasks: dict[Task, None]) -> None:
    for task in list(tasks):
        task.cancel()


def label_by_aims(number: int, aims: tuple[Aim, ...]) -> LabelTo:
    """The label of an act's packets: ``number`` where an aim says so, or, without aims, for all but DNS look-ups."""

    @lru_cache(maxsize=4096)
    def label_to(address: str, proto: int, port: int) -> int:
        if not aims:
            return BENIGN_LABEL if (proto, port) == _DNS else number
        return number if any(is_aimed_at(aim, address, proto, port) for aim in aims) else BENIGN_LABEL

    return label_to


def is_aimed_at(aim: Aim, address: str, proto: int, port: int) -> bool:
    """Whether what goes to that address, protocol and port is part of an aim."""
    if aim.proto not in (0, proto):
        return False
    if aim.ports and proto in (PROTO_TCP, PROTO_UDP) and port not in aim.ports:
        return False
    peer = ipaddress.ip_network(aim.peer, strict=False)
    one = ipaddress.ip_address(address)
    return one.version == peer.version and one in peer
